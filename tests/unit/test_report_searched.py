from __future__ import annotations

import numpy as np
from drawn_sweeps import CHANNELS, COUNT, MOMENTUM, OPTIMIZER, RATE, SPACE, drawn_sweep
from hypothesis import given
from hypothesis import strategies as st

from fmnist_sweep.analysis.searched import searched_values, short_names
from fmnist_sweep.journal.trial import Trial
from fmnist_sweep.space.domains import Choice, FloatRange
from fmnist_sweep.space.space import Leaf, Space

PATHS = st.lists(
    st.lists(st.sampled_from(["a", "b", "0", "1", "name"]), min_size=1, max_size=4).map(".".join),
    unique=True,
    min_size=1,
    max_size=8,
)


@given(PATHS)
def test_short_names_are_ends_that_no_two_paths_share(paths: list[str]) -> None:
    names = short_names(paths)
    assert len(set(names.values())) == len(paths)
    for path, name in names.items():
        assert path == name or path.endswith(f".{name}")


def test_places_are_between_0_and_1_and_none_where_a_value_does_not_exist() -> None:
    trials = list(drawn_sweep(40).state.trials.values())
    values = {value.path: value for value in searched_values(trials, SPACE)}
    assert list(values) == [leaf.path for leaf in SPACE.leaves]
    for path, value in values.items():
        missing = np.array([path not in trial.overrides for trial in trials])
        assert np.array_equal(np.isnan(value.places), missing)
        assert ((value.places[~missing] >= 0) & (value.places[~missing] <= 1)).all()
        assert set(value.places[~missing]) <= set(value.levels)
        assert list(value.levels) == sorted(value.levels)
        assert len(value.levels) == len(value.texts)
    assert np.isnan(values[MOMENTUM].places).any()
    assert values[RATE].is_log
    assert values[CHANNELS].is_number
    assert not values[OPTIMIZER].is_number
    assert values[COUNT].name == "blocks.count"


def test_numbers_keep_their_order_and_a_logarithm_is_even_in_ratios() -> None:
    leaf = Leaf("rate", FloatRange(1e-4, 1e-2, None, True))
    trials = [Trial(i, {"rate": rate}) for i, rate in enumerate((1e-4, 1e-3, 1e-2))]
    (value,) = searched_values(trials, Space((leaf,), {}))
    assert np.allclose(value.places, [0.0, 0.5, 1.0])
    assert np.isclose(value.place_of(1e-3), 0.5)


def test_true_and_1_are_two_values_and_one_from_outside_the_domain_stands_last() -> None:
    leaf = Leaf("x", Choice((True, 1, None)))
    trials = [Trial(i, {"x": x}) for i, x in enumerate(("other", 1, True))]
    (value,) = searched_values(trials, Space((leaf,), {}))
    assert value.texts == ("true", "1", "other")
    assert value.places.tolist() == [1.0, 0.5, 0.0]


def test_what_is_the_same_for_all_trials_does_not_vary() -> None:
    leaves = (Leaf("same", Choice((1, 2))), Leaf("some", Choice((1, 2))))
    trials = [Trial(0, {"same": 1, "some": 1}), Trial(1, {"same": 1})]
    same, some = searched_values(trials, Space(leaves, {}))
    assert not same.varies
    assert some.varies
    assert same.places.tolist() == [0.5, 0.5]
