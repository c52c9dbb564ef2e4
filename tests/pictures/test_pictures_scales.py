from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from fmnist_sweep.config.metrics import Direction
from fmnist_sweep.pictures.scales import log_ticks, round_ticks, time_unit, zoomed

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@given(SCORES, st.sampled_from(["max", "min"]))
@example([5e-324], "max")
def test_the_best_and_the_middle_are_always_shown(
    scores: list[float], direction: Direction
) -> None:
    array = np.array(scores)
    low, high = zoomed(array, direction)
    assert low < high
    best = array.max() if direction == "max" else array.min()
    assert low <= best <= high
    assert (((low <= array) & (array <= high)).sum()) * 2 >= len(scores)


def test_one_diverged_trial_does_not_squeeze_the_others() -> None:
    low, high = zoomed(np.array([0.1, 0.9, 0.91, 0.92]), "max")
    assert 0.88 < low < 0.9
    assert 0.92 < high < 0.95
    low, high = zoomed(np.array([9.0, 0.3, 0.31, 0.32]), "min")
    assert 0.25 < low < 0.3
    assert high < 0.4


@given(st.floats(1e-6, 1e6), st.floats(1.01, 1e8), st.integers(3, 8))
def test_ticks_are_few_ascending_and_inside(low: float, ratio: float, most: int) -> None:
    high = low * ratio
    for ticks in (log_ticks(low, high, most), round_ticks(low, high, most)):
        assert 1 <= len(ticks) <= most
        assert ticks == sorted(ticks)
        assert low * (1 - 1e-9) <= ticks[0]
        assert ticks[-1] <= high * (1 + 1e-9)


def test_a_unit_of_time_leaves_no_axis_with_a_single_number() -> None:
    assert [time_unit(s)[1] for s in (5, 119, 120, 7200, 200_000)] == [
        "seconds", "seconds", "minutes", "hours", "days",
    ]  # fmt: skip
