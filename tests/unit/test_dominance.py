"""Fronts, ranks, crowding and hypervolumes, against the definitions themselves."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fmnist_sweep.dominance import crowding_distance, hypervolume, on_front, ranks

Points = NDArray[np.float64]


def points(most: int, objectives: tuple[int, ...] = (1, 2, 3), least: int = 0) -> st.SearchStrategy:
    """Few different values, so that points share some of them, or all."""
    return st.sampled_from(objectives).flatmap(
        lambda m: st.lists(
            st.lists(st.integers(0, 5).map(float), min_size=m, max_size=m),
            min_size=least,
            max_size=most,
        ).map(lambda rows: np.array(rows, dtype=np.float64).reshape(-1, m))
    )


def dominates(a: Points, b: Points) -> bool:
    return all(x >= y for x, y in zip(a, b, strict=True)) and any(
        x > y for x, y in zip(a, b, strict=True)
    )


@given(points(12))
def test_the_front_is_what_nothing_dominates(scores: Points) -> None:
    expected = [not any(dominates(other, point) for other in scores) for point in scores]
    assert on_front(scores).tolist() == expected


@given(points(12))
def test_each_rank_is_the_front_of_what_those_before_leave(scores: Points) -> None:
    found = ranks(scores)
    for rank, point in zip(found, scores, strict=True):
        dominating = [found[n] for n, other in enumerate(scores) if dominates(other, point)]
        assert rank == max(dominating, default=-1) + 1


@given(points(5, (2, 3)), st.integers(0, 2))
def test_the_hypervolume_is_that_of_a_union_of_boxes(scores: Points, low: int) -> None:
    reference = [float(low)] * scores.shape[1]
    boxes = np.clip(scores - reference, 0.0, None)
    # By inclusion and exclusion.
    volume = sum(
        (-1) ** (size + 1) * np.prod(np.min(chosen, axis=0))
        for size in range(1, len(boxes) + 1)
        for chosen in combinations(boxes, size)
    )
    assert hypervolume(scores, reference) == pytest.approx(volume)


@pytest.mark.slow
@given(points(30, (2, 3)))
def test_the_hypervolume_counts_the_cells_that_are_dominated(scores: Points) -> None:
    cells = product(range(5), repeat=scores.shape[1])
    dominated = sum(bool((scores > np.array(cell)).all(axis=1).any()) for cell in cells)
    assert hypervolume(scores, [0.0] * scores.shape[1]) == pytest.approx(dominated)


def test_the_hypervolume_of_other_numbers_of_objectives_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^4 objectives; allowed: 2 or 3$"):
        hypervolume(np.zeros((1, 4)), [0.0] * 4)


@given(points(10, (2, 3), least=1))
def test_crowding_is_the_room_between_the_neighbours(scores: Points) -> None:
    distance = crowding_distance(scores)
    expected = np.zeros(len(scores))
    for column in scores.T:
        order = sorted(range(len(column)), key=lambda n: column[n])  # of equals the first first
        width = column.max() - column.min()
        for place, n in enumerate(order):
            if place in (0, len(order) - 1):
                expected[n] = np.inf
            elif width:
                expected[n] += (column[order[place + 1]] - column[order[place - 1]]) / width
    assert distance == pytest.approx(expected)
