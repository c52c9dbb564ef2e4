"""Where a sweep stands, its ranking and its leaderboard."""

from __future__ import annotations

import io
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_fakes import config_with, run, train_at_once

from fmnist_sweep.config.train_schema import Objective
from fmnist_sweep.journal.leaderboard import cannot_be_told_apart, leaderboard
from fmnist_sweep.journal.records import (
    Asked,
    Confirmed,
    Ended,
    EpochEnded,
    LookedAtOfficialTest,
    Record,
    Told,
    TrialStatus,
)
from fmnist_sweep.journal.state import SweepState

RESULT = train_at_once(config_with().run, 1)[1]


def asked(number: int, trial: int | None = None, rung: int = 0, **overrides: Any) -> Asked:
    trial = number if trial is None else trial
    return Asked(number, trial, rung, rung, rung + 1, f"{number:04d}", {}, overrides, 0.0)


def answered(number: int, score: float | None, trial: int | None = None) -> Told:
    trial = number if trial is None else trial
    if score is None:
        return Told(number, trial, TrialStatus.FAILED, None, None, "it broke", 2.0, 0.0)
    return Told(number, trial, TrialStatus.COMPLETED, score, RESULT, None, 2.0, 0.0)


def confirmed(trial: int, *scores: float) -> list[Record]:
    return [Confirmed(trial, seed, score, RESULT, 0.0) for seed, score in enumerate(scores)]


def state_of(*records: Record, metric: str = "val_accuracy") -> SweepState:
    state = SweepState(Objective(metric=metric))
    for record in records:
        state.apply(record)
    return state


def scored(*scores: float | None) -> list[Record]:
    return [r for n, score in enumerate(scores) for r in (asked(n), answered(n, score))]


def order(state: SweepState) -> list[int]:
    return [trial.number for trial in state.ranking()]


@pytest.mark.parametrize(
    ("metric", "expected"), [("val_accuracy", [1, 3, 0, 4]), ("val_loss", [4, 0, 3, 1])]
)
def test_the_best_come_first_whichever_way_is_better(metric: str, expected: list[int]) -> None:
    state = state_of(*scored(0.5, 0.9, None, 0.7, 0.1), metric=metric)
    assert order(state) == expected
    assert state.best is state.ranking()[0]


@pytest.mark.parametrize("metric", ["val_accuracy", "val_loss"])
def test_of_equals_the_earlier_trial_comes_first(metric: str) -> None:
    assert order(state_of(*scored(0.5, 0.5, 0.5), metric=metric)) == [0, 1, 2]


@given(st.lists(st.none() | st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=12))
def test_a_ranking_is_a_stable_sort_of_what_completed(scores: list[float | None]) -> None:
    state = state_of(*scored(*scores))
    done = [n for n, score in enumerate(scores) if score is not None]
    assert order(state) == sorted(done, key=lambda n: -(scores[n] or 0.0))
    assert (state.best.number if state.best else None) == (order(state) or [None])[0]
    assert state.failed_trials == {n for n, score in enumerate(scores) if score is None}
    assert len(state.ended_trials) == len(scores)
    assert state.rung_seconds == 2.0 * len(scores)


def test_confirmed_trials_come_before_the_others_by_their_means() -> None:
    state = state_of(*scored(0.9, 0.8, 0.7, 0.6), *confirmed(2, 0.5, 0.6), *confirmed(1, 0.4, 0.5))
    assert order(state) == [2, 1, 0, 3]
    assert state.trials[2].confirmed_score == (
        statistics.mean([0.5, 0.6]), statistics.stdev([0.5, 0.6]),
    )  # fmt: skip


def test_one_fresh_seed_confirms_nothing_yet() -> None:
    state = state_of(*scored(0.9, 0.8), *confirmed(1, 0.95))
    assert state.trials[1].confirmed_score is None
    assert order(state) == [0, 1]


def test_confirmed_means_of_losses_rank_the_other_way() -> None:
    records = [*scored(0.1, 0.2), *confirmed(0, 0.4, 0.4), *confirmed(1, 0.3, 0.3)]
    assert order(state_of(*records, metric="val_loss")) == [1, 0]


def test_a_promotion_takes_the_new_score_and_a_running_one_is_not_ranked() -> None:
    first = [*scored(0.5, 0.9), asked(2, trial=0, rung=1)]
    running = state_of(*first)
    assert order(running) == [1]
    assert running.trials[0].status is TrialStatus.RUNNING
    done = state_of(*first, answered(2, 0.95, trial=0))
    assert order(done) == [0, 1]
    assert (done.trials[0].rung, done.trials[0].last_epoch, len(done.trials)) == (1, 2, 2)


def test_what_follows_an_end_makes_the_sweep_go_on() -> None:
    ended = state_of(*scored(0.5), Ended("enough", 1.0))
    assert ended.ended is not None
    ended.apply(asked(1))
    assert ended.ended is None


def test_epochs_and_looks_are_counted() -> None:
    look = LookedAtOfficialTest(0, 0.9, 0.3, 10, "abc", 1.0)
    epoch = EpochEnded(0, 1, {"loss": 1.0}, 5.0)
    state = state_of(asked(0), epoch, answered(0, 0.5), look, look)
    assert (state.epochs_total, len(state.official)) == (1, 2)
    assert state.trials[0].history == [epoch.record]
    assert (epoch.record.epoch, epoch.record.ended_at) == (1, 5.0)


# --- the leaderboard ----------------------------------------------------------------------------


def test_a_leaderboard_has_a_row_a_trial_ranked_ones_first() -> None:
    records = [
        asked(0, **{"train.seed": 3, "a.pair": [3, 5], "a.none": None, "a.yes": True}),
        answered(0, 0.5),
        asked(1),
        answered(1, None),
        asked(2, **{"train.seed": 4}),
        answered(2, 0.9),
        asked(3),
    ]
    table = leaderboard(state_of(*records))
    assert list(table.columns) == [
        "rank", "trial", "status", "val_accuracy", "test_accuracy", "parameters", "best_epoch",
        "epochs", "train_seconds", "best_weights_sha256", "reason",
        "train.seed", "a.pair", "a.none", "a.yes",
    ]  # fmt: skip
    assert list(table["trial"]) == [2, 0, 1, 3]
    assert list(table["status"]) == ["completed", "completed", "failed", "running"]
    assert table["rank"].dropna().tolist() == [1, 2]
    assert table.loc[1, ["a.pair", "a.none", "a.yes"]].tolist() == ["[3,5]", "null", True]
    assert table["reason"][2] == "it broke"
    assert pd.isna(table["val_accuracy"][2])
    read = pd.read_csv(io.StringIO(table.to_csv(index=False)))
    assert read["val_accuracy"].tolist()[:2] == [0.9, 0.5]


def test_a_leaderboard_of_nothing_is_empty() -> None:
    table = leaderboard(state_of())
    assert len(table) == 0
    assert "val_accuracy" in table.columns


def test_a_leaderboard_marks_what_cannot_be_told_from_the_best() -> None:
    records = [
        *scored(0.9, 0.8, 0.7, 0.6),
        *confirmed(0, 0.90, 0.91, 0.92),
        *confirmed(1, 0.89, 0.91, 0.915),
        *confirmed(2, 0.10, 0.11, 0.12),
    ]
    table = leaderboard(state_of(*records)).set_index("trial")
    assert table["ties_with_best"].tolist()[1:3] == [True, False]
    assert pd.isna(table["ties_with_best"][0])
    assert pd.isna(table["ties_with_best"][3])
    assert table["confirmed_mean"][0] == pytest.approx(0.91)
    assert table["confirmed_std"][0] == pytest.approx(0.01)
    assert pd.isna(table["confirmed_mean"][3])


@pytest.mark.parametrize(
    ("first", "second", "tied"),
    [
        ((0.5, 0.5), (0.5, 0.5), True),
        ((0.5, 0.6, 0.55), (0.6, 0.5, 0.54), True),
        ((0.5, 0.501, 0.502), (0.9, 0.901, 0.902), False),
    ],
)
def test_welch_s_test_tells_means_apart(
    first: tuple[float, ...], second: tuple[float, ...], tied: bool
) -> None:
    state = state_of(*scored(0.5, 0.5), *confirmed(0, *first), *confirmed(1, *second))
    assert cannot_be_told_apart(state.trials[0], state.trials[1]) == tied
    assert cannot_be_told_apart(state.trials[1], state.trials[0]) == tied


@pytest.mark.parametrize("metric", ["val_loss", "val_accuracy"])
def test_a_sweep_is_ranked_by_its_objective(metric: str, tmp_path: Path) -> None:
    config = config_with(
        {"train": {"seed": {"int": [1, 50]}}},
        sweep__max_trials=6,
        sweep__objective={"metric": metric, "direction": None},
    )
    assert config.train.monitor == config.sweep.objective
    end = run(config, tmp_path)
    scores = leaderboard(end.state)[metric].tolist()
    assert scores == sorted(scores, reverse=metric == "val_accuracy")
    assert len(set(scores)) == 6
    best = end.state.best
    assert best is not None
    assert best.score == scores[0]


def test_records_are_values(tmp_path: Path) -> None:
    assert replace(asked(0), at=1.0) == replace(asked(0), at=1.0) != asked(0)
