"""The leaderboard: a sweep's trials, best first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from fmnist_sweep.config.metrics import PARAMETERS
from fmnist_sweep.files import canonical_json
from fmnist_sweep.journal.records import ON_REQUEST, TrialStatus
from fmnist_sweep.journal.scores import value_of
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.journal.trial import Trial

_SIGNIFICANCE = 0.05


def leaderboard(state: SweepState, metrics: Sequence[str] = ()) -> pd.DataFrame:
    """Return one row per trial: completed ones by rank, then the others by number.

    Columns: `rank`, `trial`, `status`, `pareto_front` (with several objectives: whether the trial
    is on it), the objective's name, the same with `_std` (if trials were trained on folds: the
    standard deviation over them), `confirmed_mean`, `confirmed_std` and `ties_with_best` (if
    trials were confirmed), `test_accuracy`, further objectives and `metrics` (see `also_shown`),
    `parameters`, `best_epoch`, `epochs`, `train_seconds`, `best_weights_sha256`, `reason`, and the
    searched values by config path (empty if a value does not exist for a trial).
    """
    ranking = state.ranking()
    ranked = {trial.number: rank for rank, trial in enumerate(ranking, start=1)}
    others = [t for t in state.trials.values() if t.status is not TrialStatus.COMPLETED]
    rows = [_row(trial, ranked.get(trial.number), ranking, state) for trial in ranking + others]
    more = also_shown(state, metrics)
    for trial, row in zip(ranking + others, rows, strict=True):
        row |= {name: metric_of_trial(trial, name) for name in more}
    return pd.DataFrame(rows, columns=_columns(state, more))


def also_shown(state: SweepState, metrics: Sequence[str]) -> list[str]:
    """Return which further objectives and which of `metrics`, such as `val_macro_f1` and
    `test_ece`, a leaderboard shows besides the objective, `test_accuracy` and `parameters`, each
    once."""
    always = (state.objective.metric, "test_accuracy", PARAMETERS)
    further = (objective.metric for objective in state.further_objectives)
    return [name for name in dict.fromkeys([*further, *metrics]) if name not in always]


def further_in_words(trial: Trial, state: SweepState) -> list[str]:
    """Return a completed trial's further scores, such as `parameters 12,000`, and whether it is on
    the Pareto front; nothing with one objective."""
    words = []
    for objective, score in zip(state.objectives[1:], trial.scores[1:], strict=True):
        shown = f"{score:,.0f}" if objective.metric == PARAMETERS else f"{score:.4f}"
        words.append(f"{objective.metric} {shown}")
    return [*words, "on the front"] if trial.number in state.front else words


def front_lines(state: SweepState) -> list[str]:
    """Say what the Pareto front is of, and within which bounds its winner is chosen; nothing with
    one objective."""
    if not state.further_objectives:
        return []
    names = ", ".join(objective.metric for objective in state.objectives)
    lines = [f"front: no other trial is as good in each of {names} and better in one"]
    if not state.bounds:
        return lines
    bounds = [
        f"{name} at {'most' if bound.max is not None else 'least'} {bound.limit:.15g}"
        for name, bound in state.bounds.items()
    ]
    words = " and ".join(bounds)
    if state.best is None or state.is_within_bounds(state.best):
        return [*lines, f"the winner is chosen among those with {words} (sweep.choose)"]
    best = f"the best {state.objective.metric} of the front wins"
    return [*lines, f"no trial has {words} (sweep.choose): {best}"]


def metric_of_trial(trial: Trial, name: str) -> float | None:
    """Return a trial's metric or cost, see `value_of`; None if it has none."""
    return None if trial.result is None else value_of(trial.result, name)


def metric_cells(trial: Trial, names: Sequence[str]) -> list[str]:
    """Return a trial's metrics as text, `-` for those that it does not have."""
    values = [metric_of_trial(trial, name) for name in names]
    return ["-" if value is None else f"{value:.4f}" for value in values]


def score_words(trial: Trial, metric: str) -> str:
    """Return a completed trial's score, by the metric of that name: the mean over new seeds or
    over folds, each with the standard deviation, or the only one."""
    if trial.confirmed_score is not None:
        return f"{trial.confirmed_score[0]:.4f} ± {trial.confirmed_score[1]:.4f}"
    spread = None if trial.result is None else trial.result.spread(metric)
    return f"{trial.score:.4f}" if spread is None else f"{trial.score:.4f} ± {spread:.4f}"


def spread_words(state: SweepState) -> str | None:
    """Say what ± stands for; None if no score has it."""
    folds = max((len(t.result.folds) for t in state.ranking() if t.result is not None), default=0)
    seeds = "of confirmed trials over new seeds" if folds else "over new seeds"
    said = [f"over {folds} folds"] if folds else []
    said += [seeds] if any(trial.confirmed_score for trial in state.ranking()) else []
    return f"± is the standard deviation {', '.join(said)}" if said else None


def cannot_be_told_apart(trial: Trial, best: Trial) -> bool:
    """Whether two confirmed trials' means are not significantly different.

    Two-sided Welch's t-test on the scores of the new seeds, at 5 %.
    """
    from scipy.stats import ttest_ind

    scores = [[confirmed.score for confirmed in t.confirmations] for t in (trial, best)]
    if scores[0] == scores[1]:
        return True
    return bool(ttest_ind(*scores, equal_var=False).pvalue > _SIGNIFICANCE)


def stopped_words(by: str, epoch: int) -> str:
    """Say who stopped a trial, and when."""
    return f"stopped {'on request' if by == ON_REQUEST else f'by {by}'} after epoch {epoch}"


def paused_words(trial: Trial) -> str:
    """Say that the time budget ended a trial's training, and when."""
    return f"paused after epoch {len(trial.history)}: the time was used up"


def searched_paths(state: SweepState) -> list[str]:
    """Return the paths that any trial overrides, in the order of their first appearance."""
    return list(dict.fromkeys(path for trial in state.trials.values() for path in trial.overrides))


def _columns(state: SweepState, metrics: Sequence[str]) -> list[str]:
    confirmed = (
        ["confirmed_mean", "confirmed_std", "ties_with_best"] if _any_confirmed(state) else []
    )
    front = ["pareto_front"] if state.further_objectives else []
    of_folds = any(t.result is not None and t.result.folds for t in state.trials.values())
    spread = [f"{state.objective.metric}_std"] if of_folds else []
    return [
        "rank", "trial", "status", *front, state.objective.metric, *spread, *confirmed,
        "test_accuracy", *metrics, "parameters", "best_epoch", "epochs", "train_seconds",
        "best_weights_sha256", "reason",
        *searched_paths(state),
    ]  # fmt: skip


def _row(trial: Trial, rank: int | None, ranking: list[Trial], state: SweepState) -> dict[str, Any]:
    row: dict[str, Any] = {
        "rank": rank,
        "trial": trial.number,
        "status": trial.status.value,
        "pareto_front": trial.number in state.front,
        state.objective.metric: trial.score,
        "epochs": len(trial.history),
        "reason": trial.reason,
        **{path: _cell(value) for path, value in trial.overrides.items()},
    }
    if trial.stopped_at is not None:
        row["reason"] = stopped_words(trial.stopped_by, trial.stopped_at)
    elif trial.is_paused:
        row["reason"] = paused_words(trial)
    if trial.result is not None:
        row |= {
            f"{state.objective.metric}_std": trial.result.spread(state.objective.metric),
            "test_accuracy": trial.result.test_accuracy,
            "parameters": trial.result.parameters,
            "best_epoch": trial.result.best_epoch,
            "train_seconds": trial.result.train_seconds,
            "best_weights_sha256": trial.result.best_weights_sha256,
        }
    confirmed = trial.confirmed_score
    if confirmed is not None:
        row["confirmed_mean"], row["confirmed_std"] = confirmed
        if trial is not ranking[0] and ranking[0].confirmed_score is not None:
            row["ties_with_best"] = cannot_be_told_apart(trial, ranking[0])
    return row


def _any_confirmed(state: SweepState) -> bool:
    return any(trial.confirmed_score is not None for trial in state.trials.values())


def _cell(value: Any) -> Any:
    if isinstance(value, float) and math.isfinite(value):
        return value
    return value if isinstance(value, str | int) else canonical_json(value)
