"""`sweep.objectives` and `sweep.choose`: what is taken, and what is refused in one line."""

from __future__ import annotations

import pytest

from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.config.metrics import COSTS, objective_names
from fmnist_sweep.config.objective_schema import AnyObjective
from fmnist_sweep.config.schema import Config
from fmnist_sweep.config.train_schema import Objective
from fmnist_sweep.config.upgrade import upgraded
from fmnist_sweep.errors import ConfigError

SPACE = "+space.train.batch_size={choice: [32, 64]}"
TWO = "sweep.objectives=[{metric: val_loss}, {metric: parameters}]"
NAMES = "val_accuracy, val_loss, val_balanced_accuracy, val_macro_f1, val_top3_accuracy, val_ece"


def test_the_first_of_several_is_the_objective_and_the_monitor() -> None:
    config = compose_config([SPACE, TWO, "sweep.objective.metric=val_accuracy"])
    loss = Objective(metric="val_loss")
    assert config.sweep.objective == config.train.monitor == loss
    assert config.sweep.further_objectives == (AnyObjective(metric="parameters"),)
    again = compose_config([SPACE, TWO])
    assert again.sweep == config.sweep


@pytest.mark.parametrize("name", COSTS)
def test_costs_are_the_better_the_lower_they_are(name: str) -> None:
    assert AnyObjective(metric=name).direction == "min"
    assert AnyObjective(metric=name).better(1.0, 2.0)
    assert name in objective_names()


def test_one_objective_is_as_before() -> None:
    config = compose_config([SPACE])
    assert config.sweep.objectives is config.sweep.choose is None
    assert config.sweep.further_objectives == config.sweep.measured_costs == ()
    plain = {**config.model_dump(), **config.as_given()}
    del plain["sweep"]["objectives"], plain["sweep"]["choose"]
    assert Config.model_validate(upgraded(plain)).model_dump() == config.model_dump()


def test_only_costs_that_a_result_lacks_are_measured() -> None:
    costs = "[{metric: val_loss}, {metric: parameters}, {metric: predict_ms}]"
    config = compose_config([SPACE, f"sweep.objectives={costs}"])
    assert config.sweep.measured_costs == ("predict_ms",)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["sweep.objectives=[{metric: val_loss}]"],
            'sweep.objectives=[{"metric": "val_loss"}]: must be a list of 2 to 3 or null',
        ),
        (
            ["sweep.objectives=[{metric: parameters}, {metric: val_loss}]"],
            "sweep.objectives.0.metric=parameters: the first objective decides which epoch of a "
            f"training is the best; allowed: {NAMES}",
        ),
        (
            ["sweep.objectives=[{metric: val_loss}, {metric: val_loss}]"],
            "sweep.objectives.1.metric=val_loss is listed twice",
        ),
        (
            ["sweep.objectives=[{metric: val_loss}, {metric: test_loss}]"],
            f"sweep.objectives.1.metric=test_loss: must be one of {NAMES}, parameters, mflops, "
            "predict_ms",
        ),
        (
            ["sweep.objectives=[{metric: val_loss}, {metric: mflops, direction: max}]"],
            "sweep.objectives.1.direction=max with metric=mflops: the best mflops is the lowest; "
            "allowed: min, or null, which follows from the metric",
        ),
        (
            ["sweep.choose={parameters: {max: 10}}"],
            "sweep: choose bounds the further ones of several objectives; set objectives",
        ),
        (
            [TWO, "sweep.choose={mflops: {max: 10}}"],
            "sweep: choose.mflops: must be one of the objectives after the first, parameters",
        ),
        (
            [TWO, "sweep.choose={val_loss: {max: 10}}"],
            "sweep: choose.val_loss: must be one of the objectives after the first, parameters",
        ),
        (
            [TWO, "sweep.choose={parameters: {min: 10}}"],
            "sweep: choose.parameters: lower is better; allowed: {max: a number}",
        ),
        (
            [TWO, "sweep.choose={parameters: {}}"],
            "sweep: choose.parameters: lower is better; allowed: {max: a number}",
        ),
        (
            [TWO, "sweep.choose={parameters: {max: many}}"],
            "sweep.choose.parameters.max=many: must be a number or null",
        ),
        (["train.monitor.metric=parameters"], None),
        (["sweep.objective.metric=parameters"], None),
        (["sweep.metrics=[parameters]"], None),
    ],
)
def test_what_cannot_be_is_refused(overrides: list[str], message: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        compose_config([SPACE, *overrides])
    told = str(caught.value)
    assert "\n" not in told
    if message is not None:
        assert told == message
