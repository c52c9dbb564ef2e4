"""The importance of each searched value, computed by Optuna's fANOVA from a sweep's trials.

fANOVA (Hutter et al., 2014) learns from all trials, PED-ANOVA only from the best tenth; fANOVA
found the important values in much smaller sweeps. It is given the ranks of the scores, so that a
single diverged trial does not dominate the variance.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.analysis.searched import SearchedValue, searched_values
from fmnist_sweep.config.train_schema import Objective
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.journal.trial import Trial
from fmnist_sweep.space.space import Space
from fmnist_sweep.training.autologging import autologging_off

if TYPE_CHECKING:
    from optuna.study import Study

FEWEST_SCORES = 10
"""The minimum number of different scores; with fewer, the importances would be noise."""
_TREES = 32


@dataclass(frozen=True)
class Importances:
    """`shares`: by path, the share of the variance of the trials' ranks that a value explains by
    itself, 0..1, the largest first; the remainder is interactions and noise. The `trials` trials
    are ranked by their best `metric` up to `epoch`, inclusive."""

    shares: dict[str, float]
    metric: str
    epoch: int
    trials: int


@dataclass(frozen=True)
class Unknown:
    """The importances cannot be computed, for the given reason."""

    reason: str


@autologging_off()
def importances(state: SweepState, space: Space, seed: int = 0) -> Importances | Unknown:
    """Return the importances, the same for the same trials and seed.

    Scores after different numbers of epochs are not compared: each trial counts with its best epoch
    up to the last one that all trials reached. A trial that early stopping ended counts as fully
    trained; failed, stopped and paused trials are omitted. Whether a value exists for a trial is
    attributed to the value it depends on.
    """
    compared = [t for t in state.ranking() if not (t.is_over or t.is_paused) and t.history]
    compared.sort(key=lambda trial: trial.number)
    if not compared:
        return Unknown("no trial was trained to its end")
    epoch = min(_reached(trial) for trial in compared)
    scores = np.array([_best_until(trial, epoch, state.objective) for trial in compared])
    compared = [t for t, score in zip(compared, scores, strict=True) if np.isfinite(score)]
    scores = scores[np.isfinite(scores)]
    different = len(np.unique(scores))
    if different < FEWEST_SCORES:
        return Unknown(
            f"different scores after epoch {epoch}: {different}, of {len(compared)} trials; "
            f"at least {FEWEST_SCORES} are needed to tell importances from noise"
        )
    values = searched_values(compared, space)
    varying = [value for value in values if len(value.levels) > 1]
    if not varying:
        return Unknown("no searched value differs between the trials")
    shares = dict.fromkeys((value.path for value in values), 0.0)
    shares |= _fanova(varying, _ranks(scores), seed)
    ordered = sorted(shares.items(), key=lambda share: -share[1])
    return Importances(dict(ordered), state.objective.metric, epoch, len(compared))


def _reached(trial: Trial) -> int:
    stopped_early = trial.result is not None and trial.result.stopped_early
    return trial.last_epoch if stopped_early else len(trial.history)


def _best_until(trial: Trial, epoch: int, objective: Objective) -> float:
    scores = np.array([e.metrics.get(objective.metric, np.nan) for e in trial.history[:epoch]])
    if not np.isfinite(scores).any():
        return np.nan
    return objective.sign * float(np.nanmax(objective.sign * scores))


def _ranks(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.stats import rankdata

    ranks: NDArray[np.float64] = rankdata(scores) / len(scores)
    return ranks


def _fanova(
    values: Sequence[SearchedValue], ranks: NDArray[np.float64], seed: int
) -> dict[str, float]:
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        FloatDistribution,
    )
    from optuna.importance import FanovaImportanceEvaluator
    from optuna.trial import create_trial

    distributions: dict[str, BaseDistribution] = {}
    columns: dict[str, list[float]] = {}
    for value in values:
        places = _filled(value.places, seed).tolist()
        columns[value.path] = places
        distributions[value.path] = (
            FloatDistribution(min(places), max(places))
            if value.is_number
            else CategoricalDistribution(sorted(set(places)))
        )
    study = _quiet_study()
    study.add_trials(
        [
            create_trial(
                params={path: column[row] for path, column in columns.items()},
                distributions=distributions,
                value=float(rank),
            )
            for row, rank in enumerate(ranks)
        ]
    )
    found = FanovaImportanceEvaluator(n_trees=_TREES, seed=seed).evaluate(study)
    return {path: float(found[path]) for path in columns}


def _filled(places: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Return positions, (n,), with nan replaced by draws from the others, each about as often.

    fANOVA omits trials that lack a value. A fixed position outside the others would reveal the
    parent's value and take its credit; a drawn one reveals nothing.
    """
    missing = np.isnan(places)
    known = np.sort(places[~missing])
    filled = places.copy()
    draws = np.random.default_rng(seed)
    whole, rest = divmod(int(missing.sum()), len(known))
    drawn = np.concatenate([np.tile(known, whole), draws.choice(known, rest, replace=False)])
    filled[missing] = draws.permutation(drawn)
    return filled


def _quiet_study() -> Study:
    """Return a study in memory, without Optuna's log line."""
    import optuna

    log = logging.getLogger("optuna.storages._in_memory")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        return optuna.create_study(direction="maximize")
    finally:
        log.setLevel(level)
