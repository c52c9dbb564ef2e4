"""Sweeps in which no trial completed: they are not finished, and the same command restarts them."""

from __future__ import annotations

from pathlib import Path

from fmnist_sweep.config.schema import Config
from fmnist_sweep.journal.file import JOURNAL_FILE
from fmnist_sweep.journal.state import SweepState

_NAME = "failed-"


def why_failed(config: Config, state: SweepState) -> str | None:
    """Return why a sweep ended, or cannot continue, without a completed trial; None if it has one,
    or can continue."""
    if state.best is not None or state.open_asks:
        return None
    if state.ended is None and check_failures(config, state) is None:
        return None
    return no_trial_completed(state)


def no_trial_completed(state: SweepState) -> str:
    """Return this as a message, with the reason of the last failed trial."""
    if not state.failed_trials:
        return "no trial completed"
    last = state.trials[max(state.failed_trials)]
    return f"no trial completed; trial {last.number}: {last.reason}"


def set_aside(sweep: Path) -> Path:
    """Move a sweep's journal to its next folder `failed-<number>`, and return the folder."""
    number = 1 + len(attempts(sweep))
    aside = sweep / f"{_NAME}{number}"
    aside.mkdir(exist_ok=True)  # it exists if the process was killed before the journal was moved
    (sweep / JOURNAL_FILE).rename(aside / JOURNAL_FILE)
    return aside


def attempts(sweep: Path) -> list[Path]:
    """Return the journals of failed attempts."""
    return sorted(sweep.glob(f"{_NAME}*/{JOURNAL_FILE}"))


def check_failures(config: Config, state: SweepState) -> str | None:
    """Return why failures stop the sweep, or None. The first four trials never do."""
    ended, failed = len(state.ended_trials), len(state.failed_trials)
    if ended >= 5 and failed / ended > config.sweep.max_failure_rate:
        last = state.trials[max(state.failed_trials)]
        return (
            f"{failed} of {ended} trials failed, more than sweep.max_failure_rate="
            f"{config.sweep.max_failure_rate:g} allows; trial {last.number}: {last.reason}"
        )
    return None
