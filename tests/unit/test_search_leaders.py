"""The best so many: the same as sorting all of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnist_sweep.config.objective_schema import AnyObjective
from fmnist_sweep.config.train_schema import Objective
from fmnist_sweep.journal.leaders import Leaders
from fmnist_sweep.journal.scores import front_of


@given(
    offers=st.lists(st.tuples(st.integers(0, 9), st.sampled_from([0.1, 0.2, 0.3])), max_size=30),
    most=st.integers(1, 4),
    metric=st.sampled_from(["val_accuracy", "val_loss"]),
)
def test_those_with_a_place_are_the_best_of_all_that_were_not_displaced(
    offers: list[tuple[int, float]], most: int, metric: str
) -> None:
    leaders = Leaders([Objective(metric=metric)], most)
    sign = -1.0 if metric == "val_accuracy" else 1.0
    scores: dict[int, float] = {}
    for number, score in offers:
        scores[number] = score
        ranked = sorted(scores, key=lambda n: (sign * scores[n], n))
        beaten = leaders.take_in(number, [score])
        assert beaten == ranked[most:]
        for other in beaten:
            del scores[other]
        assert [n for n in range(10) if n in leaders] == sorted(scores)


@pytest.mark.parametrize("metric", ["val_accuracy", "val_loss"])
def test_who_is_left_out_makes_room(metric: str) -> None:
    leaders = Leaders([Objective(metric=metric)], 1)
    assert leaders.take_in(0, [0.5]) == []
    leaders.leave_out(0)
    leaders.leave_out(7)
    assert leaders.take_in(1, [0.5]) == []
    assert 1 in leaders
    assert 0 not in leaders


@given(
    offers=st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from([0.1, 0.2, 0.3]), st.integers(1, 4)),
        max_size=30,
    ),
    most=st.integers(1, 4),
)
def test_the_front_of_several_objectives_stays_however_large(
    offers: list[tuple[int, float, int]], most: int
) -> None:
    objectives = [Objective(metric="val_accuracy"), AnyObjective(metric="parameters")]
    leaders = Leaders(objectives, most)
    scores: dict[int, tuple[float, float]] = {}
    for number, accuracy, parameters in offers:
        scores[number] = (accuracy, float(parameters))
        beaten = leaders.take_in(number, scores[number])
        front = front_of(scores, objectives)
        assert not front & set(beaten)
        assert len(scores) - len(beaten) == min(len(scores), max(most, len(front)))
        for other in beaten:
            del scores[other]
        assert {n for n in range(10) if n in leaders} == set(scores)
