"""When a sweep has had enough."""

from __future__ import annotations

import time

from fmnist_sweep.config.schema import Config
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.journal.records import Asked, Ended
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.tuners.search import Scheduler


def check_budget(config: Config, epochs: int, scheduler: Scheduler) -> None:
    """Refuse a sweep that would never end, or not finish a single rung.

    `epochs` are those of a full training.

    Raises:
        ConfigError: no budget, or one that is smaller than the first rung.
    """
    sweep = config.sweep
    budgets = (sweep.max_trials, sweep.max_epochs_total, sweep.max_minutes)
    if not scheduler.ends_by_itself and all(budget is None for budget in budgets):
        raise ConfigError(
            f"sweep: {scheduler.name} needs a budget; set sweep.max_trials, "
            "sweep.max_epochs_total or sweep.max_minutes"
        )
    first = scheduler.start_with_epochs if sweep.start_with else scheduler.first_rung_epochs
    total, least = sweep.max_epochs_total, epochs if first is None else first
    if total is not None and total < least:
        raise ConfigError(
            f"sweep.max_epochs_total={total}: must be at least {least}, "
            "the epochs of the first trial"
        )


def why_spent(config: Config, state: SweepState) -> str | None:
    """Say which budget is used up, or None."""
    if is_out_of_time(config, state):
        return f"sweep.max_minutes={config.sweep.max_minutes:g} is used up"
    total = config.sweep.max_epochs_total
    if total is not None and state.epochs_total >= total:
        return f"sweep.max_epochs_total={total} is used up"
    return None


def is_out_of_time(config: Config, state: SweepState) -> bool:
    """Whether `sweep.max_minutes` is used up, with the epochs of open rungs that have ended."""
    minutes = config.sweep.max_minutes
    return minutes is not None and state.minutes() >= minutes


def why_no_new_trial(config: Config, state: SweepState) -> str | None:
    """Say which budget allows no further trial, or None."""
    most = config.sweep.max_trials
    if most is not None and len(state.trials) >= most:
        return f"sweep.max_trials={most} is reached"
    return None


def why_not_affordable(config: Config, state: SweepState, asked: Asked) -> str | None:
    """Say which budget a rung would overrun, or None."""
    trial = state.trials.get(asked.trial)
    if trial is None:
        reached = why_no_new_trial(config, state)
        if reached is not None:
            return reached
    elif trial.is_over:  # its promotion is not trained
        return None
    promised = sum(
        max(0, ask.last_epoch - len(state.trials[ask.trial].history))
        for ask in state.open_asks.values()
        if not state.trials[ask.trial].is_over
    )
    needed = state.epochs_total + promised + asked.last_epoch - asked.first_epoch
    total = config.sweep.max_epochs_total
    if total is not None and needed > total:
        return f"sweep.max_epochs_total={total} is used up: {needed} are needed to go on"
    return None


def finished_already(name: str, ended: Ended, reason: str) -> str:
    """Say of a sweep that is handed back as it was since when it is so, and what lets it go on.
    `reason` is why nothing is left to do today."""
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(ended.at))
    key = reason.partition("=")[0]  # a budget's reason begins with its key
    advice = f"; raise {key} to go on" if key.startswith("sweep.") else ""
    return f"sweep {name} is finished since {since}: nothing was trained{advice}"
