"""From a tuner's name in the config to the tuner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fmnist_sweep.config.tuner_schema import TunerConfig
from fmnist_sweep.tuners.keras_tuner import KerasHyperband, KerasTuner
from fmnist_sweep.tuners.protocol import SearchProblem, Tuner
from fmnist_sweep.tuners.search import Scheduler


def _tpe(problem: SearchProblem, settings: Any) -> Tuner:
    from fmnist_sweep.tuners.tpe import Tpe  # Optuna takes a second to import

    return Tpe(problem, settings)


def _cmaes(problem: SearchProblem, settings: Any) -> Tuner:
    from fmnist_sweep.tuners.cmaes import CmaEs

    return CmaEs(problem, settings)


def _nsga2(problem: SearchProblem, settings: Any) -> Tuner:
    from fmnist_sweep.tuners.nsga2 import Nsga2

    return Nsga2(problem, settings)


def _qmc(problem: SearchProblem, settings: Any) -> Tuner:
    from fmnist_sweep.tuners.sobol import Sobol

    return Sobol(problem)


_TUNERS: dict[str, Callable[[SearchProblem, Any], Tuner]] = {
    "random": KerasTuner,
    "grid": KerasTuner,
    "bayesian": KerasTuner,
    "tpe": _tpe,
    "cmaes": _cmaes,
    "nsga2": _nsga2,
    "qmc": _qmc,
}
_SCHEDULERS: dict[str, Callable[[SearchProblem, Any], Scheduler]] = {"hyperband": KerasHyperband}


def open_tuner(settings: TunerConfig, problem: SearchProblem) -> Tuner:
    """Return the tuner that a config names.

    Raises:
        ConfigError: it cannot search that problem.
    """
    return _TUNERS[settings.name](problem, settings)


def open_tuner_that_schedules(settings: TunerConfig, problem: SearchProblem) -> Scheduler:
    """Return the same where the tuner decides the epochs as well (`settings.sets_epochs`).

    Raises:
        ConfigError: it cannot search that problem.
    """
    return _SCHEDULERS[settings.name](problem, settings)
