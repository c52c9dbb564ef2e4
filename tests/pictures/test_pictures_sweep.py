"""The pictures of a sweep: best_so_far, parallel_coordinates, what_mattered, trade_offs, rungs."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_material import check_picture
from drawn_sweeps import MAX, SPACE, DrawnSweep, drawn_sweep
from hypothesis import given
from hypothesis import strategies as st

from fmnist_sweep.analysis.fronts import front_history
from fmnist_sweep.analysis.history import brackets, by_time, by_trial
from fmnist_sweep.analysis.importance import Importances, importances
from fmnist_sweep.config.objective_schema import AnyObjective, Bound
from fmnist_sweep.config.train_schema import Objective
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.pictures.best_so_far import best_by_time, best_by_trial
from fmnist_sweep.pictures.parallel_coordinates import parallel_coordinates
from fmnist_sweep.pictures.pareto_front import front_and_hypervolume
from fmnist_sweep.pictures.rungs import rung_survival
from fmnist_sweep.pictures.style import NothingToShow, to_png
from fmnist_sweep.pictures.trade_offs import (
    accuracy_against_parameters,
    accuracy_against_time,
    pareto_front,
)
from fmnist_sweep.pictures.what_mattered import importances as draw_importances
from fmnist_sweep.space.space import Space

SWEEPS = [
    drawn_sweep(1),
    drawn_sweep(4, failing=(1,)),
    drawn_sweep(30, hyperband=True, failing=(2, 3)),
    pytest.param(drawn_sweep(200), marks=pytest.mark.release),
    drawn_sweep(5, constant=True),
]


@pytest.mark.parametrize("drawn", SWEEPS, ids=["one", "four", "hyperband", "200", "constant"])
def test_every_size_of_sweep_has_pictures(drawn: DrawnSweep) -> None:
    best = drawn.state.best
    assert best is not None
    for figure in (
        best_by_trial({"$one_1": by_trial(drawn.records, MAX)}),
        best_by_time({"$one_1": by_time(drawn.records, MAX)}),
    ):
        assert f"{best.score:.4f}" in check_picture(figure)
    texts = check_picture(parallel_coordinates(drawn.state, SPACE))
    assert any(f"trial {best.number}" in text for text in texts)
    for figure in (accuracy_against_parameters(drawn.state), accuracy_against_time(drawn.state)):
        texts = check_picture(figure)
        assert any(text.isdigit() and int(text) in drawn.state.trials for text in texts)


@pytest.mark.parametrize("drawn", SWEEPS, ids=["one", "four", "hyperband", "200", "constant"])
@pytest.mark.parametrize("further", [("parameters",), ("parameters", "val_loss"), ("val_loss",)])
def test_every_size_of_front_has_a_picture(drawn: DrawnSweep, further: tuple[str, ...]) -> None:
    state = SweepState(MAX, further_objectives=tuple(AnyObjective(metric=name) for name in further))
    for record in drawn.records:
        state.apply(record)
    assert state.best is not None
    state.bounds = {"parameters": Bound(max=3000.0)} if "parameters" in further else {}
    history = front_history(drawn.records, state)
    texts = check_picture(front_and_hypervolume(history))
    assert {"hypervolume", *further} <= set(texts)
    assert f"{history.hypervolumes[-1]:.3f}" in texts
    assert any(text.isdigit() and int(text) in state.front for text in texts)


def test_several_sweeps_stand_beside_each_other_by_name() -> None:
    names = ("cnn-1a2b3c", "$other_$", "<third>")
    sweeps = [drawn_sweep(n, seed=n) for n in (5, 20, 40)]
    for figure in (
        best_by_trial({n: by_trial(s.records, MAX) for n, s in zip(names, sweeps, strict=True)}),
        best_by_time({n: by_time(s.records, MAX) for n, s in zip(names, sweeps, strict=True)}),
    ):
        texts = check_picture(figure)
        for name, sweep in zip(names, sweeps, strict=True):
            assert sweep.state.best is not None
            assert f"{name}: {sweep.state.best.score:.4f}" in texts


def test_a_sweep_without_a_result_stands_beside_one_that_has_some() -> None:
    failed, fine = drawn_sweep(2, failing=(0, 1)), drawn_sweep(5)
    check_picture(best_by_trial({s: by_trial(d.records, MAX) for s, d in
                                 (("failed", failed), ("fine", fine))}))  # fmt: skip
    check_picture(best_by_time({s: by_time(d.records, MAX) for s, d in
                                (("failed", failed), ("fine", fine))}))  # fmt: skip


def test_other_objectives_are_not_compared() -> None:
    records = drawn_sweep(5).records
    other = Objective(metric="val_loss", direction="min")
    series = {"a": by_trial(records, MAX), "b": by_trial(records, other)}
    with pytest.raises(ValueError, match=r"val_accuracy \(max\), val_loss \(min\)"):
        best_by_trial(series)


def test_the_lower_the_better_works_too() -> None:
    drawn = drawn_sweep(12)
    objective = Objective(metric="val_loss", direction="min")
    check_picture(best_by_trial({"x": by_trial(drawn.records, objective)}))
    state = SweepState(objective)
    for record in drawn.records:
        state.apply(record)
    check_picture(parallel_coordinates(state, SPACE))


@pytest.mark.parametrize("failing", [(), (0, 1, 2)])
def test_nothing_to_show(failing: tuple[int, ...]) -> None:
    """A sweep without trials, and one whose trials all failed."""
    drawn = drawn_sweep(len(failing), failing=failing, hyperband=True)
    several = SweepState(MAX, further_objectives=(PARAMETERS,))
    for draw in (
        lambda: best_by_trial({"x": by_trial(drawn.records, MAX)}),
        lambda: best_by_time({"x": by_time(drawn.records, MAX)}),
        lambda: best_by_trial({}),
        lambda: parallel_coordinates(drawn.state, SPACE),
        lambda: accuracy_against_parameters(drawn.state),
        lambda: accuracy_against_time(drawn.state),
        lambda: front_and_hypervolume(front_history(drawn.records, drawn.state)),
        lambda: front_and_hypervolume(front_history(drawn.records, several)),
        lambda: rung_survival(brackets(drawn.records), MAX),
        lambda: draw_importances(Importances({}, "val_accuracy", 1, 10)),
    ):
        with pytest.raises(NothingToShow):
            draw()


def test_an_axis_for_every_value_that_differs() -> None:
    texts = check_picture(parallel_coordinates(drawn_sweep(30).state, SPACE))
    names = [text.removesuffix(" (log)") for text in texts]
    assert {"rate", "optimizer.name", "momentum", "blocks.count", "channels", "noise"} <= set(names)
    assert "\N{EN DASH}" in texts
    nothing = check_picture(parallel_coordinates(drawn_sweep(30).state, Space((), {})))
    assert "val_accuracy" in nothing


def test_rungs_tell_how_many_trials_they_had() -> None:
    found = brackets(drawn_sweep(9, hyperband=True, failing=(1,)).records)
    texts = check_picture(rung_survival(found, MAX))
    assert {"begun with 1 epoch", "n = 9", "n = 3"} <= set(texts)


def test_importances_name_every_value_and_what_they_are_of() -> None:
    found = importances(drawn_sweep(30).state, SPACE)
    assert isinstance(found, Importances)
    texts = check_picture(draw_importances(found))
    assert set(found.shares) <= set(texts)
    assert any("30 trials" in text and "3 epochs" in text for text in texts)


def test_many_importances_are_cut_and_say_so() -> None:
    found = Importances({f"$value_{i}": 0.04 for i in range(25)}, "val_accuracy", 1, 40)
    assert any("5 smaller omitted" in text for text in check_picture(draw_importances(found)))


def test_pictures_of_a_sweep_are_the_same_bytes_when_made_twice() -> None:
    drawn = drawn_sweep(20)
    for draw in (
        lambda: parallel_coordinates(drawn.state, SPACE),
        lambda: accuracy_against_time(drawn.state),
        lambda: best_by_time({"x": by_time(drawn.records, MAX)}),
    ):
        assert to_png(draw()) == to_png(draw())


PARAMETERS = AnyObjective(metric="parameters")
POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=20)


@given(POINTS)
def test_the_front_holds_just_those_that_no_other_beats(points: list[tuple[int, int]]) -> None:
    costs, gains = np.array(points, dtype=np.float64).T
    front = [points[place] for place in pareto_front(costs, gains)]
    beaten = {
        (c, g)
        for c, g in points
        if any((x <= c and y >= g) and (x, y) != (c, g) for x, y in points)
    }
    assert sorted(front) == sorted(set(points) - beaten)
    assert [cost for cost, _ in front] == sorted(cost for cost, _ in front)
