"""When a sweep has had enough."""

from __future__ import annotations

from fmnist_sweep.config.schema import Config
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.search.state import SweepState


def check_budget(config: Config, epochs: int) -> None:
    """Refuse a sweep that would never end, or not finish a single trial.

    Raises:
        ConfigError: no budget, or one that is smaller than a trial.
    """
    sweep, tuner = config.sweep, config.tuner
    ends_by_itself = tuner.name == "grid" or (
        tuner.name == "hyperband" and tuner.iterations is not None
    )
    budgets = (sweep.max_trials, sweep.max_epochs_total, sweep.max_minutes)
    if not ends_by_itself and all(budget is None for budget in budgets):
        raise ConfigError(
            f"sweep: tuner {tuner.name} needs a budget; set sweep.max_trials, "
            "sweep.max_epochs_total or sweep.max_minutes"
        )
    if tuner.name == "hyperband" and config.train.epochs is None:
        raise ConfigError("train.epochs=null: hyperband needs a budget in epochs")
    total = sweep.max_epochs_total
    if total is not None and total < epochs and tuner.name != "hyperband":
        raise ConfigError(f"sweep.max_epochs_total={total}: less than one trial's {epochs} epochs")


def why_spent(config: Config, state: SweepState) -> str | None:
    """Say which budget is used up, or None."""
    minutes = config.sweep.max_minutes
    if minutes is not None and state.rung_seconds >= 60 * minutes:
        return f"sweep.max_minutes={minutes:g} is used up"
    total = config.sweep.max_epochs_total
    if total is not None and state.epochs_total >= total:
        return f"sweep.max_epochs_total={total} is used up"
    return None


def why_not_affordable(
    config: Config, state: SweepState, *, is_new_trial: bool, epochs: int
) -> str | None:
    """Say which budget a rung of that many epochs would overrun, or None."""
    sweep = config.sweep
    if is_new_trial and sweep.max_trials is not None and len(state.trials) >= sweep.max_trials:
        return f"sweep.max_trials={sweep.max_trials} is reached"
    promised = state.epochs_total + sum(
        ask.last_epoch - ask.first_epoch for ask in state.open_asks.values()
    )
    if sweep.max_epochs_total is not None and promised + epochs > sweep.max_epochs_total:
        return f"sweep.max_epochs_total={sweep.max_epochs_total} is used up"
    return None


def check_failures(config: Config, state: SweepState) -> str | None:
    """Say why failures stop the sweep, or None. The first four trials never do."""
    ended, failed = len(state.ended_trials), len(state.failed_trials)
    if ended >= 5 and failed / ended > config.sweep.max_failure_rate:
        last = state.trials[max(state.failed_trials)]
        return (
            f"{failed} of {ended} trials failed, more than sweep.max_failure_rate="
            f"{config.sweep.max_failure_rate:g} allows; trial {last.number}: {last.reason}"
        )
    return None
