"""Sweeps with several objectives: the front, the winner, the leaderboard and the tuners."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_fakes import InstantExecutor, config_with, journal_of, plan_of, run, told

from fmnist_sweep.analysis.fronts import front_history
from fmnist_sweep.config.objective_schema import AnyObjective, Bound
from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.config.train_schema import Objective
from fmnist_sweep.config.tuner_schema import NAMES_FOR_SEVERAL_OBJECTIVES
from fmnist_sweep.dominance import hypervolume
from fmnist_sweep.errors import ConfigError, JournalError
from fmnist_sweep.executors.protocol import OnEpoch, Rung
from fmnist_sweep.journal.file import Journal
from fmnist_sweep.journal.identity import sweep_identity
from fmnist_sweep.journal.leaderboard import front_lines, leaderboard
from fmnist_sweep.journal.records import (
    SCHEMA,
    Asked,
    Begun,
    Bounded,
    Confirmed,
    Record,
    Told,
    TrialStatus,
)
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.space.reading import read_space
from fmnist_sweep.tracking.front_tags import FRONT_TAG, FrontTags
from fmnist_sweep.training.results import RunResult

ACCURACY = Objective(metric="val_accuracy")
OTHERS = {"parameters": AnyObjective(metric="parameters"), "ece": AnyObjective(metric="val_ece")}
SPACE: dict[str, Any] = {
    "train": {"optimizer": {"learning_rate": {"float": [1e-4, 1e-1], "log": True}}},
    "model": {"conv_blocks": {"0": {"channels": {"int": [2, 64]}}}},
}
TWO = [{"metric": "val_accuracy"}, {"metric": "mflops"}]


def records_of(scores: list[tuple[float, ...]], objectives: list[AnyObjective]) -> list[Record]:
    """A sweep with those scores, in that order, and a failed trial in between."""
    identity = {"objectives": [each.model_dump() for each in objectives]}
    records: list[Record] = [Begun(SCHEMA, "mine", identity, "python", 0.0)]
    for number, own in enumerate(scores):
        at = 10.0 * number
        records.append(Asked(number, number, 0, 0, 1, str(number), {}, {"n": number}, at))
        by_name = {each.metric: score for each, score in zip(objectives, own, strict=True)}
        records.append(
            Told(number, number, TrialStatus.COMPLETED, own[0], result(by_name), None, 5.0, at + 5)
        )
    failed = len(scores)
    records.append(Asked(failed, failed, 0, 0, 1, "failed", {}, {}, 10.0 * failed))
    records.append(
        Told(failed, failed, TrialStatus.FAILED, None, None, "it broke", 1.0, 10.0 * failed + 1)
    )
    return records


def result(values: dict[str, float]) -> RunResult:
    parameters = int(values.get("parameters", 7))
    return RunResult(1, 1, values, 0.5, 0.5, 1.0, parameters, False, "a" * 64, "b" * 64)


def state_after(records: list[Record]) -> SweepState:
    state = SweepState(ACCURACY)
    for record in records:
        state.apply(record)
    return state


def sweeps(further: int = 2) -> st.SearchStrategy[tuple[list[tuple[float, ...]], list[Any]]]:
    """Scores that are often equal, of two objectives or three."""
    values = (
        st.sampled_from([0.5, 0.6, 0.7]),
        st.sampled_from([10.0, 20.0, 30.0]),
        st.sampled_from([0.1, 0.2]),
    )
    objectives = [ACCURACY, OTHERS["parameters"], OTHERS["ece"]]
    return st.integers(2, 1 + further).flatmap(
        lambda m: st.lists(st.tuples(*values[:m]), min_size=1, max_size=10).map(
            lambda scores: (scores, objectives[:m])
        )
    )


def dominates(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    pairs = [(a[0], b[0]), *((-x, -y) for x, y in zip(a[1:], b[1:], strict=True))]
    return all(x >= y for x, y in pairs) and any(x > y for x, y in pairs)


@given(sweeps(), st.sampled_from([None, 10, 15, 20, 5]))
def test_the_winner_is_the_front_s_best_within_the_bounds(
    sweep: tuple[list[tuple[float, ...]], list[AnyObjective]], most: int | None
) -> None:
    scores, objectives = sweep
    records = records_of(scores, objectives)
    if most is not None:
        records.append(Bounded({"parameters": {"max": float(most)}}, 999.0))
    state = state_after(records)
    front = {
        n for n, own in enumerate(scores) if not any(dominates(other, own) for other in scores)
    }
    assert state.front == front
    allowed = {n for n in front if most is None or scores[n][1] <= most} or front
    assert state.best is not None
    best = state.best.number
    assert best in allowed
    assert scores[best][0] == max(scores[n][0] for n in allowed)
    ranking = [trial.number for trial in state.ranking()]
    assert ranking[0] == best
    assert set(ranking[: len(front)]) == front
    if most is not None:
        outside = not any(own[1] <= most for own in scores)
        assert ("no trial has" in front_lines(state)[-1]) == outside


@given(sweeps())
def test_the_leaderboard_marks_the_front(
    sweep: tuple[list[tuple[float, ...]], list[AnyObjective]],
) -> None:
    scores, objectives = sweep
    state = state_after(records_of(scores, objectives))
    table = leaderboard(state)
    marked = set(table.loc[table["pareto_front"], "trial"])
    assert marked == state.front
    for objective in objectives:
        place = list(objectives).index(objective)
        completed = table[table["status"] == "completed"]
        shown = dict(zip(completed["trial"], completed[objective.metric], strict=True))
        assert shown == {number: own[place] for number, own in enumerate(scores)}
    assert len(table.columns) == len(set(table.columns))


def test_with_one_objective_nothing_is_marked() -> None:
    state = state_after(records_of([(0.5,), (0.6,), (0.6,)], [ACCURACY]))
    assert state.front == frozenset()
    assert "pareto_front" not in leaderboard(state).columns
    assert front_lines(state) == []
    assert [trial.number for trial in state.ranking()] == [1, 2, 0]


def test_only_the_front_is_confirmed_and_its_means_decide() -> None:
    scores = [(0.9, 30.0), (0.8, 30.0), (0.7, 10.0), (0.6, 20.0)]
    records = records_of(scores, [ACCURACY, OTHERS["parameters"]])
    state = state_after(records)
    assert [trial.number for trial in state.to_confirm(3)] == [0, 2]
    for trial, score in ((0, 0.5), (2, 0.6)):
        for seed in (1, 2):
            state.apply(Confirmed(trial, seed, score, result({}), 999.0))
    assert [trial.number for trial in state.ranking()] == [2, 0, 1, 3]
    assert [trial.number for trial in state.to_confirm(3)] == [0, 2]


def test_bounds_of_something_else_do_not_fit_the_journal(tmp_path: Path) -> None:
    records = [*records_of([(0.5, 10.0)], [ACCURACY, OTHERS["parameters"]])]
    path = journal_of([*records, Bounded({"mflops": {"max": 1.0}}, 1.0)], tmp_path)
    with pytest.raises(JournalError, match=rf"^{path}, line {len(records) + 1}: bounds of mflops"):
        SweepState.after(Journal(path), ACCURACY)
    (tmp_path / "journal.jsonl").unlink()
    path = journal_of([*records, Bounded({"parameters": {"max": 0.1 + 0.2}}, 1.0)], tmp_path)
    bounds = SweepState.after(Journal(path), ACCURACY).bounds
    assert bounds == {"parameters": Bound(max=0.1 + 0.2)}


def test_an_objective_that_is_not_registered_here_is_named(tmp_path: Path) -> None:
    plain = [{"metric": "val_accuracy", "direction": "max"}, {"metric": "val_mine"}]
    path = journal_of([Begun(SCHEMA, "mine", {"objectives": plain}, "python", 0.0)], tmp_path)
    with pytest.raises(JournalError, match=r"line 1: objectives.1.metric=val_mine: must be one of"):
        SweepState.after(Journal(path), ACCURACY)


def test_objectives_are_part_of_the_identity_and_the_choice_among_them_is_not() -> None:
    def identity(**values: Any) -> dict[str, Any]:
        config = config_with(SPACE, **values)
        return sweep_identity(config, read_space(config)[0], "data", "split", None)

    assert "objectives" not in identity()
    several = identity(sweep__objectives=TWO)
    assert [each["metric"] for each in several.pop("objectives")] == ["val_accuracy", "mflops"]
    assert several == identity()
    chosen = identity(sweep__objectives=TWO, sweep__choose={"mflops": {"max": 1.0}})
    assert chosen == identity(sweep__objectives=TWO)


@pytest.mark.parametrize("tuner", ["bayesian", "cmaes", "hyperband"])
def test_a_tuner_for_one_objective_is_refused(tuner: str) -> None:
    plan = plan_of(config_with(SPACE, tuner=tuner, sweep__objectives=TWO), Path())
    with pytest.raises(ConfigError) as caught:
        plan.open_scheduler(lambda values, reason: None)
    assert str(caught.value) == (
        f"tuner={tuner}: searches for one objective, not for several (sweep.objectives); allowed: "
        "tuner=random, grid, tpe, nsga2, qmc"
    )


@pytest.mark.parametrize("scheduler", ["asha", "hyperband", "median"])
def test_a_scheduler_that_ranks_by_one_objective_is_refused(scheduler: str) -> None:
    config = config_with(SPACE, scheduler=scheduler, sweep__objectives=TWO)
    with pytest.raises(ConfigError) as caught:
        plan_of(config, Path()).open_scheduler(lambda values, reason: None)
    assert str(caught.value) == (
        f"scheduler={scheduler}: ranks trials by one objective, not by several "
        "(sweep.objectives); allowed: scheduler=full"
    )


class Unmeasured(InstantExecutor):
    """Trains by formula, and measures no costs."""

    def submit(self, rung: Rung, on_epoch: OnEpoch) -> Any:
        return super().submit(replace(rung, costs=()), on_epoch)


def test_an_executor_that_measures_no_costs_is_told_so(tmp_path: Path) -> None:
    config = config_with(SPACE, sweep__objectives=TWO, sweep__max_trials=2, train__epochs=1)
    end = run(config, tmp_path, Unmeasured())
    reasons = {trial.reason for trial in end.state.trials.values()}
    assert reasons == {"its result has no mflops, which is one of sweep.objectives"}


class Tags:
    """The tags that runs have."""

    def __init__(self) -> None:
        self.of: dict[str, str] = {}

    def tags(self, key: str, tags: dict[str, str]) -> None:
        self.of[key] = tags[FRONT_TAG]


@given(sweeps())
def test_tags_follow_the_front(
    sweep: tuple[list[tuple[float, ...]], list[AnyObjective]],
) -> None:
    scores, objectives = sweep
    tracker = Tags()
    tags, state = FrontTags(tracker, str), SweepState(ACCURACY)  # type: ignore[arg-type]
    for record in records_of(scores, objectives):
        state.apply(record)
        if isinstance(record, Told) and record.status is TrialStatus.COMPLETED:
            tags.follow(record.trial, state)
            seen = {key for key, on_front in tracker.of.items() if on_front == "true"}
            assert seen == {str(number) for number in state.front}
    assert tracker.of.keys() == {str(number) for number in range(len(scores))}


@given(sweeps())
def test_hypervolumes_are_those_of_the_trials_so_far(
    sweep: tuple[list[tuple[float, ...]], list[AnyObjective]],
) -> None:
    scores, objectives = sweep
    records = records_of(scores, objectives)
    history = front_history(records, state_after(records))
    assert history.trials.tolist() == list(range(len(scores)))
    assert set(history.trials[history.is_on_front]) == state_after(records).front
    signed = np.array(scores) * [1.0, *[-1.0] * (len(objectives) - 1)]
    low, high = signed.min(axis=0), signed.max(axis=0)
    shares = np.where(high > low, (signed - low) / np.where(high > low, high - low, 1.0), 1.0)
    for count, volume in enumerate(history.hypervolumes, start=1):
        direct = hypervolume(shares[:count], [0.0] * len(objectives))
        assert volume == pytest.approx(direct)


class Formula(InstantExecutor):
    """Wide networks are better, up to a point, at one learning rate."""

    def submit(self, rung: Rung, on_epoch: OnEpoch) -> Any:
        future = super().submit(rung, on_epoch)
        outcome = future.result()
        assert outcome.result is not None
        score, mflops = formula(rung.config)
        metrics = {**outcome.result.best_metrics, "val_accuracy": score}
        better = replace(outcome.result, best_metrics=metrics, costs={"mflops": mflops})
        future = type(future)()
        future.set_result(replace(outcome, result=better))
        return future


def formula(config: RunConfig) -> tuple[float, float]:
    """Accuracy and cost of a network with that learning rate and width."""
    off = np.log10(config.train.optimizer.learning_rate) + 2.0
    channels = config.model.conv_blocks[0].channels
    return float(1.0 - 0.2 * off**2 - 1.0 / channels), float(channels)


def mean_hypervolume(folder: Path, tuner: str, **values: Any) -> float:
    found = []
    for seed in range(1, 6):
        config = config_with(
            SPACE, tuner=tuner, tuner__seed=seed, sweep__objectives=TWO, sweep__max_trials=40,
            train__epochs=1, **values,
        )  # fmt: skip
        end = run(config, folder / f"{tuner}-{seed}", Formula())
        scores = np.array([trial.scores for trial in end.state.ranking()]) * [1.0, -1.0]
        found.append(hypervolume(scores, [0.0, -64.0]))
    return fmean(found)


@pytest.mark.slow
def test_tpe_and_nsga2_find_better_fronts_than_chance(tmp_path: Path) -> None:
    at_random = mean_hypervolume(tmp_path, "random")
    assert mean_hypervolume(tmp_path, "nsga2", tuner__population=8) > at_random
    assert mean_hypervolume(tmp_path, "tpe", tuner__initial_points=8) > at_random


@pytest.mark.parametrize("tuner", NAMES_FOR_SEVERAL_OBJECTIVES)
def test_a_resume_with_other_bounds_only_chooses_anew(tuner: str, tmp_path: Path) -> None:
    config = config_with(
        SPACE, tuner=tuner, sweep__objectives=TWO, sweep__max_trials=8, train__epochs=1
    )
    whole = run(config, tmp_path)
    before = told(whole.journal.records)
    journal_of([*whole.journal.records, Bounded({"mflops": {"max": 0.5}}, 1.0)], tmp_path)
    again = run(config, tmp_path)
    assert told(again.journal.records)[:-1] == before
    assert again.executor.rungs == []
    assert again.state.front == whole.state.front
