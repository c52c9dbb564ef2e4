"""From a config to its scheduler and tuner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fmnist_sweep.config.schema import Config
from fmnist_sweep.config.tuner_schema import NAMES_WITHOUT_EPOCHS
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.schedulers.full import Full
from fmnist_sweep.tuners.opening import open_tuner, open_tuner_that_schedules
from fmnist_sweep.tuners.protocol import SearchProblem, Tuner, TunerFactory
from fmnist_sweep.tuners.search import Scheduler

SchedulerFactory = Callable[[SearchProblem, Tuner], Scheduler]


@dataclass(frozen=True)
class OwnSearch:
    """The caller's own tuner and scheduler; None: those that the config names."""

    tuner: TunerFactory | None = None
    scheduler: SchedulerFactory | None = None


def open_scheduler(config: Config, problem: SearchProblem, own: OwnSearch) -> Scheduler:
    """Return the scheduler, around the tuner.

    Raises:
        ConfigError: they cannot search that problem, or do not go together.
    """
    if own.tuner is None and config.tuner.sets_epochs:
        if own.scheduler is not None:
            raise ConfigError(
                f"tuner={config.tuner.name} has a scheduler of its own; allowed with another one: "
                f"tuner={', '.join(NAMES_WITHOUT_EPOCHS)}"
            )
        return open_tuner_that_schedules(config.tuner, problem)
    tuner = own.tuner(problem) if own.tuner is not None else open_tuner(config.tuner, problem)
    return own.scheduler(problem, tuner) if own.scheduler is not None else Full(tuner)
