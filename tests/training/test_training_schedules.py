"""Learning rates and optimizers against their formulas; a training's length in steps."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_training import PLAIN, STEPS, TRAIN_IMAGES, config_of, data_of, train_to

from fmnist_sweep.config.train_schema import ScheduleConfig, TrainConfig
from fmnist_sweep.training.optimizers import exclude_from_decay, learning_rate_at, make_optimizer
from fmnist_sweep.training.step_plan import StepPlan

rates = st.floats(1e-5, 1.0)


def train_config(**changed: Any) -> TrainConfig:
    return config_of().train.model_copy(update=changed)


@st.composite
def schedules(draw: st.DrawFn) -> ScheduleConfig:
    name = draw(
        st.sampled_from(["constant", "cosine", "linear", "one_cycle", "step", "exponential"])
    )
    return ScheduleConfig(
        name=name,
        warmup_epochs=draw(st.floats(0, 4)),
        final_fraction=draw(st.floats(0, 1)),
        every_epochs=draw(st.floats(0.1, 5)),
        factor=draw(st.floats(0.05, 1)),
    )


def rate_by_hand(
    schedule: ScheduleConfig, rate: float, per_epoch: int, horizon: int, step: int
) -> float:
    is_cycle = schedule.name == "one_cycle"
    warmup = round(schedule.warmup_epochs * per_epoch)
    if is_cycle and warmup == 0:
        warmup = round(0.3 * horizon)
    if step < warmup:
        start = 1 / 25 if is_cycle else 0.0
        return rate * (start + (1 - start) * step / warmup)
    step -= warmup
    done = min(1.0, step / max(1, horizon - warmup))
    match schedule.name:
        case "constant":
            return rate
        case "cosine" | "one_cycle":
            shape = (1 + math.cos(math.pi * done)) / 2
            return rate * (schedule.final_fraction + (1 - schedule.final_fraction) * shape)
        case "linear":
            return rate * (schedule.final_fraction + (1 - schedule.final_fraction) * (1 - done))
        case "step":
            return rate * schedule.factor ** (step // _every(schedule, per_epoch))
        case "exponential":
            return rate * schedule.factor ** (step / _every(schedule, per_epoch))


def _every(schedule: ScheduleConfig, per_epoch: int) -> int:
    return max(1, round(schedule.every_epochs * per_epoch))


@given(
    schedule=schedules(),
    rate=rates,
    per_epoch=st.integers(1, 50),
    epochs=st.integers(1, 8),
    part=st.floats(0, 1, exclude_max=True),
)
@settings(max_examples=200, deadline=None)
def test_each_steps_rate_is_the_formulas(
    schedule: ScheduleConfig, rate: float, per_epoch: int, epochs: int, part: float
) -> None:
    horizon = per_epoch * epochs
    step = int(part * horizon)
    optimizer = config_of().train.optimizer.model_copy(update={"learning_rate": rate})
    config = train_config(schedule=schedule, optimizer=optimizer)

    given_rate = learning_rate_at(config, per_epoch, horizon, step)

    expected = rate_by_hand(schedule, rate, per_epoch, horizon, step)
    assert given_rate == pytest.approx(expected, rel=1e-4, abs=1e-6 * rate)


SCHEDULES = {
    "constant": (),
    "cosine": ("train.schedule.final_fraction=0.2",),
    "cosine-warm-up": ("train.schedule.name=cosine", "train.schedule.warmup_epochs=1.4"),
    "step": ("train.schedule.every_epochs=0.6",),
    "step-warm-up": ("train.schedule.every_epochs=0.6", "train.schedule.warmup_epochs=0.7"),
    "linear": (),
    "one_cycle": (),
    "exponential": ("train.schedule.factor=0.3",),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_logged_rate_is_that_of_the_epochs_last_step(name: str) -> None:
    config = config_of(
        *PLAIN,
        f"train.schedule.name={name.partition('-')[0]}",
        *SCHEDULES[name],
        "train.epochs=null",
        f"train.steps={3 * STEPS - 2}",
    )
    trained = train_to(config, 3)

    def by_hand(step: int) -> float:
        rate = config.train.optimizer.learning_rate
        return rate_by_hand(config.train.schedule, rate, STEPS, 3 * STEPS - 2, step)

    last_steps = [STEPS - 1, 2 * STEPS - 1, 3 * STEPS - 3]
    logged = [record.metrics["learning_rate"] for record in trained.checkpoint.history]
    np.testing.assert_allclose(logged, [by_hand(step) for step in last_steps], rtol=1e-5)
    # The optimizer itself stands at the step after the last.
    optimizer = trained.model.optimizer
    assert int(optimizer.iterations) == 3 * STEPS - 2
    assert float(optimizer.learning_rate) == pytest.approx(by_hand(3 * STEPS - 2), abs=1e-9)


def one_step(weight: float, gradients: list[float], **changed: Any) -> float:
    """Return what an optimizer makes of a weight."""
    optimizer_config = config_of().train.optimizer.model_copy(update=changed)
    optimizer = make_optimizer(train_config(optimizer=optimizer_config), 1, 10)
    variable = keras.Variable(np.float32(weight))
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(np.float32(gradient))], [variable])
    return float(variable.numpy())


@given(weight=st.floats(-2, 2), first=st.floats(0.1, 3), second=st.floats(0.1, 3))
@settings(max_examples=10, deadline=None)
def test_optimizers_step_by_their_formulas(weight: float, first: float, second: float) -> None:
    rate, momentum, decay = 0.1, 0.8, 0.05
    gradients = [first, second]

    def check(expected: float, **changed: Any) -> None:
        after = one_step(weight, gradients, learning_rate=rate, **changed)
        assert after == pytest.approx(expected, abs=1e-5)

    velocity = [-rate * first, momentum * -rate * first - rate * second]
    check(weight - rate * (first + second), name="sgd", momentum=0.0)
    check(weight + sum(velocity), name="sgd", momentum=momentum)
    nesterov = sum(momentum * v - rate * g for v, g in zip(velocity, gradients, strict=True))
    check(weight + nesterov, name="sgd", momentum=momentum, nesterov=True)
    decayed = (weight * (1 - rate * decay) - rate * first) * (1 - rate * decay) - rate * second
    check(decayed, name="sgd", momentum=0.0, weight_decay=decay)
    clipped = sum(min(gradient, 1.0) for gradient in gradients)
    check(weight - rate * clipped, name="sgd", momentum=0.0, clip_norm=1.0)

    mean = [0.1 * first, 0.9 * 0.1 * first + 0.1 * second]
    square = [0.001 * first**2, 0.999 * 0.001 * first**2 + 0.001 * second**2]
    adam = [
        rate * (m / (1 - 0.9**t)) / (math.sqrt(s / (1 - 0.999**t)) + 1e-7)
        for t, (m, s) in enumerate(zip(mean, square, strict=True), start=1)
    ]
    check(weight - sum(adam), name="adam")
    for name in ("adam", "adamw"):
        shrunk = (weight * (1 - rate * decay) - adam[0]) * (1 - rate * decay) - adam[1]
        check(shrunk, name=name, weight_decay=decay)
    check(weight - sum(adam), name="adamw", weight_decay=0.0)

    square = [0.1 * first**2, 0.9 * 0.1 * first**2 + 0.1 * second**2]
    steps = [rate * g / math.sqrt(s + 1e-7) for g, s in zip(gradients, square, strict=True)]
    check(weight - sum(steps), name="rmsprop", momentum=0.0)
    check(weight - steps[0] - (momentum * steps[0] + steps[1]), name="rmsprop", momentum=momentum)


@given(
    images=st.integers(1, 500),
    batch_size=st.integers(1, 200),
    epochs=st.none() | st.integers(1, 20),
    steps=st.integers(1, 2000),
)
def test_a_plans_steps_add_up(images: int, batch_size: int, epochs: int | None, steps: int) -> None:
    config = train_config(
        batch_size=batch_size, epochs=epochs, steps=None if epochs is not None else steps
    )
    plan = StepPlan.of(config, images)
    of_each = [plan.of_epoch(epoch) for epoch in range(1, plan.epochs + 1)]

    assert (plan.per_epoch - 1) * batch_size < images <= plan.per_epoch * batch_size
    if epochs is not None:
        assert of_each == [plan.per_epoch] * epochs
    else:
        assert sum(of_each) == steps
    assert sum(of_each) == plan.total
    assert set(of_each[:-1]) <= {plan.per_epoch}
    assert 1 <= of_each[-1] <= plan.per_epoch
    assert [plan.before(epoch + 1) for epoch in range(len(of_each))] == [
        sum(of_each[:epoch]) for epoch in range(len(of_each))
    ]


def test_the_shrunk_training_has_a_smaller_last_batch() -> None:
    config = config_of()

    assert len(data_of(config).train) == TRAIN_IMAGES
    assert TRAIN_IMAGES % config.train.batch_size
    assert StepPlan.of(config.train, TRAIN_IMAGES).per_epoch == STEPS


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "rmsprop"])
def test_kernels_alone_decay_if_asked_for(name: str) -> None:
    def after(decays: str) -> list[float]:
        """Return the largest value of a kernel and of a bias after a step without gradient."""
        changed = {"name": name, "weight_decay": 0.5, "learning_rate": 0.1, "decays": decays}
        optimizer_config = config_of().train.optimizer.model_copy(update=changed)
        optimizer = make_optimizer(train_config(optimizer=optimizer_config), 1, 10)
        weights = [keras.Variable(np.ones(shape, np.float32)) for shape in ((2, 2), (2,))]
        exclude_from_decay(optimizer_config, optimizer, weights)
        optimizer.build(weights)
        optimizer.apply([keras.ops.zeros(weight.shape) for weight in weights], weights)
        return [float(weight.numpy().max()) for weight in weights]

    assert after("all") == pytest.approx([0.95, 0.95])
    assert after("kernels") == pytest.approx([0.95, 1.0])
