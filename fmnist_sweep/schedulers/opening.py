"""From a config to its scheduler and tuner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fmnist_sweep.config.schema import Config
from fmnist_sweep.config.tuner_schema import (
    NAMES_FOR_SEVERAL_OBJECTIVES,
    NAMES_WITHOUT_EPOCHS,
)
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.schedulers.full import Full
from fmnist_sweep.schedulers.halving import asha, hyperband
from fmnist_sweep.schedulers.median import Median
from fmnist_sweep.tuners.opening import open_tuner, open_tuner_that_schedules
from fmnist_sweep.tuners.protocol import SearchProblem, Tuner, TunerFactory
from fmnist_sweep.tuners.search import Scheduler

SchedulerFactory = Callable[[SearchProblem, Tuner], Scheduler]


@dataclass(frozen=True)
class OwnSearch:
    """The caller's own tuner and scheduler; None: those that the config names."""

    tuner: TunerFactory | None = None
    scheduler: SchedulerFactory | None = None


_SCHEDULERS: dict[str, Callable[[SearchProblem, Any, Tuner], Scheduler]] = {
    "full": lambda problem, settings, tuner: Full(tuner),
    "asha": asha,
    "hyperband": hyperband,
    "median": Median,
}


def open_scheduler(config: Config, problem: SearchProblem, own: OwnSearch) -> Scheduler:
    """Return the scheduler, around the tuner.

    Raises:
        ConfigError: they cannot search that problem, or do not go together.
    """
    settings = config.scheduler
    if len(problem.objectives) > 1:
        _check_several_objectives(config, own)
    if own.tuner is None and config.tuner.sets_epochs:
        if own.scheduler is not None or settings.name != "full":
            raise ConfigError(
                f"scheduler={'your own' if own.scheduler is not None else settings.name}: "
                f"tuner={config.tuner.name} sets the epochs itself; allowed: scheduler=full, or "
                f"tuner={', '.join(NAMES_WITHOUT_EPOCHS)}"
            )
        return open_tuner_that_schedules(config.tuner, problem)
    tuner = own.tuner(problem) if own.tuner is not None else open_tuner(config.tuner, problem)
    if own.scheduler is not None:
        return own.scheduler(problem, tuner)
    return _SCHEDULERS[settings.name](problem, settings, tuner)


def _check_several_objectives(config: Config, own: OwnSearch) -> None:
    if own.tuner is None and not config.tuner.several_objectives:
        raise ConfigError(
            f"tuner={config.tuner.name}: searches for one objective, not for several "
            f"(sweep.objectives); allowed: tuner={', '.join(NAMES_FOR_SEVERAL_OBJECTIVES)}"
        )
    if own.scheduler is None and config.scheduler.name != "full":
        raise ConfigError(
            f"scheduler={config.scheduler.name}: ranks trials by one objective, not by several "
            "(sweep.objectives); allowed: scheduler=full"
        )
