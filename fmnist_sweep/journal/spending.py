"""How much of a sweep's budget is spent, and an estimate of the remaining time."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from fmnist_sweep.config.messages import counted
from fmnist_sweep.config.schema import Config, SweepConfig
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.provenance import command

_TOO_EARLY = 1 / 60  # minutes of training, before which the rest cannot be estimated


@dataclass(frozen=True)
class RunningEpoch:
    """The current epoch of a trial: the trained fraction (0..1), and its seconds."""

    part: float
    seconds: float


@dataclass(frozen=True)
class Spending:
    """The budget that will end a sweep first, in words ("7 of 20 trials"), and its spent fraction
    (0..1). `share` and `seconds_left`, an estimate, are None if unknown."""

    words: str
    share: float | None
    seconds_left: float | None


def spending(config: Config, state: SweepState, running: Mapping[int, RunningEpoch]) -> Spending:
    """Return what is spent. `running`: by trial, the current epochs; without them, epochs count
    when they have ended."""
    sweep = config.sweep
    minutes = state.minutes(sum(epoch.seconds for epoch in running.values()))
    epochs = state.epochs_total + sum(epoch.part for epoch in running.values())
    ended = len(state.ended_trials)
    all_of_them = counted(ended, "trial")
    budgets = []
    if sweep.max_trials is not None:
        done = ended + _parts_of_open_trials(state, running)
        budgets.append((done / sweep.max_trials, f"{ended} of {sweep.max_trials} trials"))
    if sweep.max_epochs_total is not None:
        words = f"{state.epochs_total} of {sweep.max_epochs_total} epochs, {all_of_them}"
        budgets.append((epochs / sweep.max_epochs_total, words))
    if sweep.max_minutes is not None:
        words = f"{minutes:.1f} of {sweep.max_minutes:g} min, {all_of_them}"
        budgets.append((minutes / sweep.max_minutes, words))
    if not budgets:
        words = f"{all_of_them}, {counted(state.epochs_total, 'epoch')}"
        return Spending(words, share=None, seconds_left=None)
    # At a constant pace, the budget with the largest spent fraction is used up first.
    share, words = max(budgets)
    left = None
    if share > 0.0 and minutes > _TOO_EARLY:
        left = max(0.0, 60 * minutes * (1.0 - share) / share)
    return Spending(words, min(1.0, share), left)


def _parts_of_open_trials(state: SweepState, running: Mapping[int, RunningEpoch]) -> float:
    """Return the sum of their done fractions; promoted trials have ended once and count already."""
    parts = 0.0
    for ask in state.open_asks.values():
        if ask.trial not in state.ended_trials:
            epochs = float(len(state.trials[ask.trial].history))
            if ask.trial in running:
                epochs += running[ask.trial].part
            parts += min(1.0, epochs / ask.last_epoch)
    return parts


def continued(typed: str, sweep: SweepConfig, reason: str) -> str | None:
    """Return the command that continues a finished sweep with its budgets doubled.

    `typed` is the command that began it, `reason` why it ended. None for a sweep started from
    Python, or if no budget ended it, so that a larger one would not help.
    """
    if not reason.startswith("sweep."):  # reasons of budgets begin with their keys
        return None
    words = shlex.split(typed)[3:]
    doubled: dict[str, str] = {}
    if sweep.max_epochs_total is not None:
        doubled["sweep.max_epochs_total"] = str(2 * sweep.max_epochs_total)
    if sweep.max_minutes is not None:
        doubled["sweep.max_minutes"] = f"{2 * sweep.max_minutes:g}"
    if sweep.max_trials is not None:
        doubled["sweep.max_trials"] = str(2 * sweep.max_trials)
    if not words or not doubled:
        return None
    kept = [word for word in words if word.partition("=")[0] not in doubled]
    return command((*kept, *(f"{name}={value}" for name, value in doubled.items())))
