"""Other tools by themselves in simulated searches, each with its own defaults.

Shared by the benchmarks. A peer that goes on with a trial is charged its further epochs only.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from datetime import datetime
from functools import partial
from importlib.util import find_spec
from typing import Any

import keras_tuner
import optuna
from simulation import METRIC, Curves, Job, Search

Peer = Callable[[Curves, int, int], Search]
"""(curves, seed, workers) -> its search."""


class Optuna:
    """Optuna's TPE, with its Hyperband pruner or with none."""

    def __init__(self, curves: Curves, seed: int, workers: int, *, prunes: bool) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._curves = curves
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=workers > 1)
        pruner = optuna.pruners.HyperbandPruner(1, curves.epochs, 3) if prunes else None
        self._study = optuna.create_study(
            study_name="curves",  # the pruner's brackets depend on it
            direction="maximize",
            sampler=sampler,
            pruner=pruner or optuna.pruners.NopPruner(),
        )
        self._last: dict[int, float] = {}

    def next_job(self) -> Job:
        """Ask the study."""
        trial = self._study.ask()
        point = {path: self._suggest(trial, path) for path in self._curves.choices}
        return Job(self._curves.key(point), 0, self._curves.epochs, trial)

    def end_epoch(self, job: Job, epoch: int, accuracy: float) -> bool:
        """Report, and ask whether to prune."""
        job.handle.report(accuracy, epoch)
        self._last[job.handle.number] = max(accuracy, self._last.get(job.handle.number, 0.0))
        return bool(epoch < job.last and job.handle.should_prune())

    def end_job(self, job: Job, epoch: int) -> None:
        """Tell the study."""
        if epoch < job.last:
            self._study.tell(job.handle, state=optuna.trial.TrialState.PRUNED)
        else:
            self._study.tell(job.handle, self._last[job.handle.number])

    def _suggest(self, trial: optuna.Trial, path: str) -> Any:
        choices = self._curves.choices[path]
        if isinstance(choices[0], str):
            return trial.suggest_categorical(path, choices)
        return choices[trial.suggest_int(path, 0, len(choices) - 1)]


class KerasTuner:
    """One of Keras Tuner's oracles: `Hyperband` or `BayesianOptimization`."""

    def __init__(self, curves: Curves, seed: int, workers: int, *, kind: str) -> None:
        space = keras_tuner.HyperParameters()
        for path, choices in curves.choices.items():
            space.Choice(path, choices)
        common = {
            "objective": keras_tuner.Objective(METRIC, "max"),
            "hyperparameters": space,
            "seed": seed + 1,  # 0 means none
        }
        self._oracle: Any
        if kind == "Hyperband":
            self._oracle = keras_tuner.oracles.HyperbandOracle(
                max_epochs=curves.epochs, hyperband_iterations=1000, **common
            )
        else:
            self._oracle = keras_tuner.oracles.BayesianOptimizationOracle(max_trials=None, **common)
        self._oracle.verbose = 0
        # Files of a search that is over in seconds.
        self._oracle.save = self._oracle._save_trial = lambda *_: None
        self._curves = curves
        self._asked = 0

    def next_job(self) -> Job | None:
        """Ask the oracle, each time as another worker."""
        self._asked += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python's own, and of scikit-learn's model
            trial = self._oracle.create_trial(f"worker {self._asked}")
        if trial.status != "RUNNING":
            return None
        values = trial.hyperparameters.values
        first = values.get("tuner/initial_epoch", 0)
        last = values.get("tuner/epochs", self._curves.epochs)
        return Job(self._curves.key(values), first, last, trial)

    def end_epoch(self, job: Job, epoch: int, accuracy: float) -> bool:
        """Update the trial, which trains to its last epoch."""
        self._oracle.update_trial(job.handle.trial_id, {METRIC: accuracy}, step=epoch)
        return False

    def end_job(self, job: Job, epoch: int) -> None:
        """End the trial."""
        job.handle.status = "COMPLETED"
        self._oracle.end_trial(job.handle)


class SyneTune:
    """One of Syne Tune's schedulers: `ASHA` or `BOHB`. A trial trains on until it is stopped."""

    def __init__(self, curves: Curves, seed: int, workers: int, *, kind: str) -> None:
        from syne_tune import config_space
        from syne_tune.optimizer import baselines

        space = {
            path: config_space.choice(choices)
            if isinstance(choices[0], str)
            else config_space.ordinal(choices, kind="equal")
            for path, choices in curves.choices.items()
        }
        self._scheduler: Any = getattr(baselines, kind)(
            space,
            metric=METRIC,
            do_minimize=False,
            time_attr="epoch",
            max_t=curves.epochs,
            random_seed=seed,
        )
        logging.getLogger("syne_tune").setLevel(logging.ERROR)
        self._curves = curves
        self._asked = 0

    def next_job(self) -> Job | None:
        """Ask the scheduler."""
        from syne_tune.backend.trial_status import Trial

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the statistics of very few points
            suggestion = self._scheduler.suggest()
        if suggestion is None:
            return None
        trial = Trial(self._asked, suggestion.config, datetime.now())
        self._asked += 1
        self._scheduler.on_trial_add(trial)
        return Job(self._curves.key(suggestion.config), 0, self._curves.epochs, trial)

    def end_epoch(self, job: Job, epoch: int, accuracy: float) -> bool:
        """Report, and do what the scheduler decides."""
        result = {METRIC: accuracy, "epoch": epoch}
        return bool(self._scheduler.on_trial_result(job.handle, result) == "STOP")

    def end_job(self, job: Job, epoch: int) -> None:
        """Remove the trial, stopped at its last epoch at the latest."""
        self._scheduler.on_trial_remove(job.handle)


def peers() -> dict[str, Peer]:
    """Return the peers that are installed, by name, the slowest last."""
    found: dict[str, Peer] = {
        "Optuna TPE": partial(Optuna, prunes=False),
        "Optuna TPE, Hyperband pruner": partial(Optuna, prunes=True),
        "Keras Tuner Hyperband": partial(KerasTuner, kind="Hyperband"),
    }
    if find_spec("syne_tune") is not None:
        found |= {f"Syne Tune {kind}": partial(SyneTune, kind=kind) for kind in ("ASHA", "BOHB")}
    return {**found, "Keras Tuner Bayesian": partial(KerasTuner, kind="BayesianOptimization")}
