"""Keras Tuner's real oracles: asks depend on the seed, the ask's number and the answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from driven_search import Driven
from search_fakes import config_with

from fmnist_sweep.config.schema import Config
from fmnist_sweep.errors import SweepStopped
from fmnist_sweep.files import canonical_json, digest_of
from fmnist_sweep.journal.records import Asked
from fmnist_sweep.tuners.protocol import Exhausted, Waiting
from fmnist_sweep.tuners.search import Suggestion

TUNERS = ("random", "grid", "bayesian", "hyperband")
Why = Callable[[Mapping[str, Any]], str | None]

# 3 + 3 x 2 = 9 points.
SMALL: dict[str, Any] = {
    "train": {
        "optimizer": {
            "name": {"choice": ["adam", "sgd"]},
            "nesterov": {"choice": [True, False], "when": {"train.optimizer.name": ["sgd"]}},
        },
        "batch_size": {"int": [16, 48], "step": 16},
    }
}
CONTINUOUS: dict[str, Any] = {
    "train": {
        "optimizer": {"learning_rate": {"float": [1e-4, 1e-2], "log": True}},
        "label_smoothing": {"float": [0.0, 0.5]},
    }
}


def config_of(tuner: str, space: dict[str, Any], seed: int = 1, **values: Any) -> Config:
    if tuner == "bayesian":
        values.setdefault("tuner__initial_points", 3)
    if tuner == "hyperband":
        values.setdefault("train__epochs", 9)
    return config_with(space, tuner=tuner, tuner__seed=seed, **values)


# Each form of leaf, conditions, blocks.
MIXED: dict[str, Any] = {
    "train": {
        "optimizer": {
            "name": {"choice": ["adam", "sgd", "rmsprop"]},
            "learning_rate": {"float": [1e-4, 1e-2], "log": True},
            "momentum": {
                "float": [0.0, 0.95], "step": 0.05, "when": {"train.optimizer.name": ["sgd"]},
            },
            "clip_norm": {"choice": [None, 1.0, 0.5]},
        },
        "label_smoothing": {"float": [0, 0.3], "step": 0.1},
        "batch_size": {"int": [4, 64], "step": 20},
        "seed": {"int": [1, 64], "log": True, "step": 4},
    },
    "model": {
        "conv_blocks": {
            "count": {"int": [0, 2]},
            "each": {
                "channels": {"int": [1, 16], "log": True},
                "batch_norm": {"choice": [True, False]},
            },
        },
        "head": {"dropout": {"fixed": 0.2}, "weight_init": {"choice": ["he_normal", "zeros"]}},
    },
}  # fmt: skip
# Ranges without a step.
TEN: dict[str, Any] = {
    "train": {
        "label_smoothing": {"float": [0, 0.3]},
        "batch_size": {"int": [1, 64], "log": True},
        "optimizer": {
            "learning_rate": {"float": [1e-4, 1e-2], "log": True}, "name": {"fixed": "sgd"},
        },
    }
}  # fmt: skip
# Not one of these ranges could be listed.
FINE: dict[str, Any] = {
    "train": {
        "batch_size": {"int": [1, 10**30]},
        "seed": {"int": [1, 2**31], "step": 3},
        "optimizer": {
            "learning_rate": {"float": [1e-4, 1e-2], "log": True, "step": 1.0000000001},
        },
        "label_smoothing": {"float": [0.1, 0.5], "step": 1e-12},
    }
}


@pytest.mark.parametrize("tuner", TUNERS)
@pytest.mark.parametrize("space", [SMALL, CONTINUOUS], ids=["small", "continuous"])
def test_the_same_seed_asks_the_same(tuner: str, space: dict[str, Any]) -> None:
    asks = 4 if tuner == "bayesian" else 9  # one of the surrogate's; they take a second each
    first, second = (Driven(config_of(tuner, space, seed=0)) for _ in range(2))
    for search in (first, second):
        search.go_on(asks)
    assert first.asked == second.asked
    assert len(first.asked) == asks


# Recorded before the values of a range were calculated one by one; a surrogate's would depend on
# the processor.
@pytest.mark.parametrize(
    ("tuner", "space", "digest"),
    [
        ("random", MIXED, "2a981dfa10d0e5880733769cabbb73f657dee7e85a421d9ad53af7f01a77cef5"),
        ("random", TEN, "0e20ee837f695810a96216dd1c78f470db81b9ec5644c668a24294de4228f782"),
        ("grid", MIXED, "834925298f4ff55a5ca723c6f3435594b32a2b6e38d160cbb9adf445363ef8e2"),
        ("grid", TEN, "46b66b22675e3e6d3416d19cb5c20ac326bab56b19d66389b0a828a2125ad009"),
        ("hyperband", MIXED, "180b3d7f0053040203ac79ce4d3095d673eb924c2ceabf88897bdb901d37a02f"),
        ("hyperband", TEN, "fa76ff9fa8f8e1cc1f8593ea5401f3865b8f23b752274bd870ac17526ebd5d9c"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value[:9],
)
def test_the_proposals_are_those_of_an_earlier_version(
    tuner: str, space: dict[str, Any], digest: str
) -> None:
    def why(point: Mapping[str, Any]) -> str | None:
        return "no" if len(canonical_json(dict(point))) % 3 == 0 else None

    search = Driven(config_of(tuner, space, seed=5), why)
    search.go_on(60)
    proposed = [[a.id, canonical_json(a.values), canonical_json(a.point)] for a in search.asked]
    assert digest_of(proposed) == digest


@pytest.mark.parametrize("tuner", TUNERS)
def test_ranges_of_billions_of_values_are_never_listed(tuner: str) -> None:
    search = Driven(config_of(tuner, FINE))
    search.go_on(4 if tuner == "bayesian" else 6)  # one of the surrogate's
    points = [suggestion.point for suggestion in search.asked if suggestion.trial is None]
    assert len({canonical_json(point) for point in points}) == len(points) > 3
    if tuner == "grid":  # in order; neighbours that six digits do not tell apart are one value
        smoothing = [point["train.label_smoothing"] for point in points]
        assert smoothing == [0.1, 0.100001, 0.100002, 0.100003, 0.100004, 0.100005]
    assert not search.scheduler.is_used_up


@pytest.mark.parametrize("tuner", ["random", "grid", "bayesian"])
def test_a_small_space_is_known_to_be_used_up(tuner: str) -> None:
    search = Driven(
        config_of(tuner, SMALL, **({"tuner__initial_points": 9} if tuner == "bayesian" else {}))
    )
    search.go_on(8)
    assert not search.scheduler.is_used_up
    search.go_on(1)
    assert search.scheduler.is_used_up
    search.go_on(1)
    assert len(search.asked) == 9


@pytest.mark.parametrize("tuner", ["random", "bayesian", "hyperband"])
def test_seeds_differ_and_the_least_and_the_greatest_are_seeds(tuner: str) -> None:
    asked = []
    for seed in (0, 1, 2**32 - 1):
        search = Driven(config_of(tuner, CONTINUOUS, seed=seed))
        search.go_on(3)
        asked.append(search.points)
    assert len(set(map(str, asked))) == 3


@pytest.mark.parametrize("tuner", ["random", "bayesian", "hyperband"])
def test_an_ask_s_draw_depends_on_its_number_not_on_how_often_was_asked(tuner: str) -> None:
    config = config_of(tuner, CONTINUOUS)
    straight, skipping = Driven(config), Driven(config)
    straight.go_on(3)
    answer = skipping.scheduler.ask(2, new_trials=True)
    assert isinstance(answer, Suggestion)
    assert answer.point == straight.asked[2].point


@pytest.mark.parametrize("tuner", ["random", "grid"])
def test_answers_do_not_change_what_random_and_grid_ask(tuner: str) -> None:
    told, failed = Driven(config_of(tuner, SMALL)), Driven(config_of(tuner, SMALL))
    told.go_on(9)
    failed.go_on(9, fails=lambda number: number % 2 == 0)
    assert told.points == failed.points


@pytest.mark.parametrize(
    ("tuner", "settings"),
    [
        ("random", {}),
        ("grid", {}),
        ("hyperband", {"tuner__iterations": 9}),
    ],
)
def test_a_small_space_is_used_up_completely_and_each_point_tried_once(
    tuner: str, settings: dict[str, Any]
) -> None:
    search = Driven(config_of(tuner, SMALL, **settings))
    search.go_on(100)
    new = [s for s in search.asked if s.trial is None]
    assert len(new) == len({canonical_json(s.point) for s in new}) == 9
    assert isinstance(search.ask(), Exhausted)


@pytest.mark.slow
def test_a_space_with_rare_points_is_used_up_completely_too() -> None:
    # One in 2 x 500 draws has the optimizer's points, and each of them is one of 300.
    space = {
        "train": {
            "seed": {"int": [1, 500]},
            "optimizer": {"name": {"choice": ["adam", "sgd"], "when": {"train.seed": [77]}}},
            "batch_size": {"int": [1, 300], "when": {"train.optimizer.name": ["sgd"]}},
        }
    }
    search = Driven(config_of("random", space))
    search.go_on(2000)
    assert len(set(search.points)) == len(search.points) == 499 + 1 + 300


@pytest.mark.parametrize("tuner", TUNERS)
def test_infeasible_points_are_told_once_and_replaced(tuner: str) -> None:
    def why(point: Mapping[str, Any]) -> str | None:
        return "too large" if point["train.batch_size"] == 32 else None

    search = Driven(config_of(tuner, SMALL), why)
    search.go_on(100)
    new = [s for s in search.asked if s.trial is None]
    assert len({canonical_json(s.point) for s in new}) == len(new) == 6
    assert all(s.point["train.batch_size"] != 32 for s in search.asked)
    assert len({str(values) for values in search.infeasible}) == len(search.infeasible) == 3


def test_a_space_without_a_feasible_point_is_used_up() -> None:
    search = Driven(config_of("random", SMALL), lambda point: "never")
    assert isinstance(search.ask(), Exhausted)
    assert len(search.infeasible) == 9


def test_a_grid_goes_through_the_combinations_in_their_order() -> None:
    search = Driven(config_of("grid", SMALL))
    search.go_on(100)
    names = [s.point["train.optimizer.name"] for s in search.asked]
    assert [s.point for s in search.asked if s.point["train.optimizer.name"] == "adam"] == [
        {"train.optimizer.name": "adam", "train.batch_size": size} for size in (16, 32, 48)
    ]
    assert names == sorted(names)


@pytest.mark.parametrize("seed", [1, 2])
def test_bayesian_proposals_are_new_and_feasible(seed: int) -> None:
    def why(point: Mapping[str, Any]) -> str | None:
        return "odd" if point["train.batch_size"] % 2 else None

    space = {"train": {"batch_size": {"int": [1, 12]}}}
    search = Driven(config_of("bayesian", space, seed=seed, tuner__initial_points=2), why)
    search.go_on(100)
    sizes = [s.point["train.batch_size"] for s in search.asked]
    assert sorted(sizes) == [2, 4, 6, 8, 10, 12]


@pytest.mark.slow
def test_bayesian_proposals_follow_the_answers() -> None:
    config = config_of("bayesian", {"train": {"label_smoothing": {"float": [0.0, 0.9]}}})
    searches = []
    for wanted in (0.1, 0.8):
        search = Driven(config)
        for number in range(6):
            answer = search.ask()
            assert isinstance(answer, Suggestion)
            assert answer.point is not None
            search.tell(number, 1.0 - abs(answer.point["train.label_smoothing"] - wanted))
        searches.append(search)
    low, high = searches
    assert low.points[:3] == high.points[:3]
    assert low.points[3:] != high.points[3:]
    nearest = [
        min(abs(s.point["train.label_smoothing"] - wanted) for s in search.asked[3:])
        for search, wanted in ((low, 0.1), (high, 0.8))
    ]
    assert max(nearest) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["val_accuracy", "val_loss"])
def test_what_is_not_told_yet_is_taken_for_something_like_the_rest(metric: str) -> None:
    config = config_of("bayesian", CONTINUOUS, sweep__objective={"metric": metric})
    search = Driven(config)
    search.go_on(4)
    pending = [search.ask() for _ in range(2)]
    assert all(isinstance(answer, Suggestion) for answer in pending)
    search.scheduler.ask(6, new_trials=True)
    _, scores = search.scheduler._tuner._oracle._vectorize_trials()
    told, made_up = scores[:4], scores[4:]
    spread = max(told) - min(told)
    for score in made_up:
        assert min(told) - spread <= score <= max(told) + 2 * spread


@pytest.mark.slow
def test_bayesian_proposals_stay_inside_a_logarithmic_range_of_whole_numbers() -> None:
    # Larger is better, so that the surrogate goes to the very end, and Keras Tuner beyond it.
    space = {"train": {"batch_size": {"int": [1, 64], "log": True}}}
    search = Driven(config_of("bayesian", space, tuner__initial_points=2))
    for number in range(6):
        answer = search.ask()
        assert isinstance(answer, Suggestion)
        assert answer.point is not None
        search.tell(number, answer.point["train.batch_size"] / 64)
    assert max(s.values["train.batch_size"] for s in search.asked) == 64


@pytest.mark.parametrize("tuner", TUNERS)
def test_a_space_with_nothing_left_to_choose_has_one_point(tuner: str) -> None:
    space = {"train": {"batch_size": {"fixed": 32}}}
    search = Driven(
        config_of(tuner, space, **({"tuner__initial_points": 1} if tuner == "bayesian" else {}))
    )
    search.go_on(20)
    assert {s.point["train.batch_size"] for s in search.asked} == {32}
    assert sum(s.trial is None for s in search.asked) == 1


def rungs(search: Driven) -> list[tuple[int, int | None]]:
    return [(s.first_epoch, s.last_epoch) for s in search.asked]


FIRST_BRACKET = [*[(0, 1)] * 9, *[(1, 3)] * 3, (3, 9)]


@pytest.mark.parametrize("failing", [0, 3, 8])
def test_a_bracket_with_failures_promotes_as_many(failing: int) -> None:
    search = Driven(config_of("hyperband", CONTINUOUS))
    search.go_on(13, fails=lambda number: number < failing)
    assert rungs(search) == FIRST_BRACKET
    promoted = [s.trial for s in search.asked[9:12]]
    survivors = 9 - failing
    assert sum(trial < failing for trial in promoted) == max(0, 3 - survivors)


def test_the_best_of_a_bracket_are_promoted() -> None:
    search = Driven(config_of("hyperband", CONTINUOUS))
    search.go_on(13)
    first = sorted(range(9), key=search.score, reverse=True)
    assert [s.trial for s in search.asked[9:12]] == first[:3]
    assert [s.point for s in search.asked[9:12]] == [search.asked[best].point for best in first[:3]]
    assert search.asked[12].trial == first[0]


def test_infeasible_points_take_no_place_in_a_bracket() -> None:
    def why(point: Mapping[str, Any]) -> str | None:
        return "too much" if point["train.label_smoothing"] > 0.1 else None

    search = Driven(config_of("hyperband", CONTINUOUS), why)
    search.go_on(13)
    assert rungs(search) == FIRST_BRACKET
    assert len(search.infeasible) > 9


def test_a_bracket_that_the_space_cannot_fill_still_promotes() -> None:
    space = {"train": {"batch_size": {"choice": [8, 16, 32, 64]}}}
    search = Driven(config_of("hyperband", space))
    search.go_on(50)
    assert rungs(search) == [*[(0, 1)] * 4, *[(1, 3)] * 2, (3, 9)]
    assert search.asked[-1].trial == max(range(4), key=search.score)


def test_hyperband_ends_after_its_iterations() -> None:
    search = Driven(config_of("hyperband", CONTINUOUS, tuner__iterations=1))
    search.go_on(100)
    sizes = [sum(s.last_epoch == epochs for s in search.asked) for epochs in (1, 3, 9)]
    assert sum(s.trial is None for s in search.asked) == 9 + 5 + 3
    assert sizes == [9, 3 + 5, 1 + 2 + 3]


def test_rungs_that_are_still_running_are_waited_for() -> None:
    search = Driven(config_of("hyperband", CONTINUOUS, train__epochs=3, tuner__iterations=1))
    for _ in range(5):  # 3 of the first bracket, 2 of the second: all that can begin
        assert isinstance(search.ask(), Suggestion)
    assert isinstance(search.ask(), Waiting)
    for number in range(3):
        search.tell(number, search.score(number))
    promoted = search.ask()
    assert isinstance(promoted, Suggestion)
    assert promoted.trial in range(3)


def test_failures_never_stop_an_oracle_by_themselves() -> None:
    search = Driven(config_of("random", CONTINUOUS))
    search.go_on(10, fails=lambda number: True)
    assert len(search.asked) == 10


@pytest.mark.parametrize("tuner", ["grid", "hyperband"])
def test_an_ask_that_is_not_the_journal_s_is_noticed(tuner: str) -> None:
    search = Driven(config_of(tuner, SMALL))
    search.go_on(1)
    asked = search.records[0]
    assert isinstance(asked, Asked)
    other = replace(asked, values={**search.asked[0].values, "train.batch_size": 999})
    with pytest.raises(
        SweepStopped, match=rf"^ask 0 of the journal is not what tuner {tuner} asks"
    ):
        Driven(config_of(tuner, SMALL)).record(other)


@pytest.mark.parametrize("tuner", TUNERS)
def test_no_file_is_written_and_nothing_printed(
    tuner: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    search = Driven(config_of(tuner, SMALL))
    search.go_on(5, fails=lambda number: number == 1)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""
