"""How much each searched value mattered, by Optuna's fANOVA over a sweep's trials.

fANOVA (Hutter et al., 2014) rather than PED-ANOVA: it learns from all trials, not from the best
tenth alone, and found the values that matter in far smaller sweeps. It is given the ranks of the
scores, so that one diverged trial does not count for all there is to explain.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.analysis.searched import SearchedValue, searched_values
from fmnist_sweep.config.schema import Objective
from fmnist_sweep.journal.state import SweepState, Trial
from fmnist_sweep.space.space import Space
from fmnist_sweep.training.autologging import autologging_off

if TYPE_CHECKING:
    from optuna.study import Study

FEWEST_SCORES = 10
"""So many different scores at least, or the importances would be noise."""
_TREES = 32


@dataclass(frozen=True)
class Importances:
    """`shares`: of each value's path, how much of the variance of the trials' ranks it explains by
    itself, 0..1, the largest first; what is left to 1 is how values act together, and luck. They
    are of `trials` trials, ranked by the best `metric` up to and with `epoch`."""

    shares: dict[str, float]
    metric: str
    epoch: int
    trials: int


@dataclass(frozen=True)
class Unknown:
    """Nothing can be said of what mattered, for that reason."""

    reason: str


@autologging_off()
def importances(state: SweepState, space: Space, seed: int = 0) -> Importances | Unknown:
    """Return what mattered, the same for the same trials and seed.

    Scores after different numbers of epochs are not compared: each trial counts with its best
    epoch up to the last one that all of them reached. A trial that early stopping ended counts as
    trained to the end; failed ones, and those stopped on request, are left out. That a value does
    not exist for a trial is put down to the value it hangs on.
    """
    compared = [t for t in state.ranking() if t.stopped_at is None and t.history]
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
            f"from {FEWEST_SCORES} on, what mattered can be told from luck"
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
    """Return places, (n,), with those that are nan drawn from the others, each about as often.

    fANOVA leaves a trial out that lacks a value. A place beside the others would tell what its
    parent's value is, and take the parent's credit; a drawn one tells nothing.
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
    """Return a study in memory, whose making Optuna would tell the console of."""
    import optuna

    log = logging.getLogger("optuna.storages._in_memory")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        return optuna.create_study(direction="maximize")
    finally:
        log.setLevel(level)
