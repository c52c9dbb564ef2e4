"""Continued equals straight, bit for bit; a seed decides, and nothing outside a training does."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest
from tiny_training import PLAIN, config_of, contents, through_disk, train_to

from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.training import interrupts
from fmnist_sweep.training import train as training
from fmnist_sweep.training.checkpoint import Checkpoint
from fmnist_sweep.training.rung import default_builder
from fmnist_sweep.training.train import ModelBuilder

ADAM = ("train.optimizer.name=adam",)
ADAMW = ("train.optimizer.name=adamw", "train.optimizer.weight_decay=0.01")
SGD = (
    "train.optimizer.name=sgd",
    "train.optimizer.momentum=0.9",
    "train.optimizer.nesterov=true",
    "train.optimizer.clip_norm=0.5",
)
RMSPROP = ("train.optimizer.name=rmsprop", "train.optimizer.weight_decay=1e-3")
CONSTANT = ("train.schedule.name=constant",)
COSINE = ("train.schedule.name=cosine", "train.schedule.final_fraction=0.1")
WARM_COSINE = ("train.schedule.name=cosine", "train.schedule.warmup_epochs=1.5")
STEP = ("train.schedule.name=step", "train.schedule.every_epochs=0.7")
EXPONENTIAL = ("train.schedule.name=exponential", "train.schedule.factor=0.5")
SMOOTHED = ("train.label_smoothing=0.1",)
IN_STEPS = ("train.epochs=null", "train.steps=13")
MIXED = ("train.precision=mixed_bfloat16",)
AUGMENTED = (
    "train.augment.flip=alternating", "train.augment.shift=1", "train.augment.rotation=10",
    "train.augment.zoom=0.1", "train.augment.erase=0.5", "train.augment.mixup=0.4",
    "train.augment.cutmix=1.0",
)  # fmt: skip
AVERAGED = ("train.ema=0.8", "train.test_flip=true", "train.class_weights=balanced")
ONE_CYCLE = ("train.schedule.name=one_cycle", "train.optimizer.decays=kernels")
BLOCKS = (
    "model.conv_blocks=[{channels: 4, convs: 2, residual: add, squeeze_excite: 0.5, "
    "stochastic_depth: 0.5, stride: 2}, {channels: 4, separable: true, residual: add, "
    "residual_activation: pre, stochastic_depth: 0.2, repeat: 2, dropout: 0.2}]",
    "model.width=1.5",
)
WARM_LINEAR = ("train.schedule.name=linear", "train.schedule.warmup_epochs=0.5")


EACH_OPTIMIZER = pytest.mark.parametrize(
    "overrides",
    [
        pytest.param((*ADAM, *CONSTANT, *MIXED), id="adam-constant-mixed-bfloat16"),
        pytest.param(
            (*ADAM, *WARM_COSINE, *IN_STEPS),
            id="adam-cosine-warm-up-in-steps",
            marks=pytest.mark.release,
        ),
        pytest.param(
            (*ADAMW, *COSINE, *SMOOTHED), id="adamw-cosine-smoothed", marks=pytest.mark.release
        ),
        pytest.param((*SGD, *STEP), id="sgd-step"),
        pytest.param((*RMSPROP, *EXPONENTIAL), id="rmsprop-exponential", marks=pytest.mark.release),
        pytest.param(
            (*SGD, *WARM_LINEAR, *AVERAGED, *IN_STEPS),
            id="sgd-linear-averaged-in-steps",
            marks=pytest.mark.release,
        ),
    ],
)


def test_straight_equals_continued_with_everything_on(tmp_path: Path) -> None:
    config = config_of(*ADAMW, *ONE_CYCLE, *AUGMENTED, *AVERAGED, *SMOOTHED, *BLOCKS)
    assert_continues_exactly(config, tmp_path, build_model=default_builder)


@EACH_OPTIMIZER
def test_straight_equals_continued_from_disk(overrides: tuple[str, ...], tmp_path: Path) -> None:
    assert_continues_exactly(config_of(*overrides), tmp_path, build_model=default_builder)


@EACH_OPTIMIZER
def test_steps_at_once_are_the_same_as_one_by_one(
    overrides: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_same_at_once(config_of(*overrides), default_builder, monkeypatch)


def test_whatever_is_drawn_in_steps_at_once_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    assert_same_at_once(config_of(), augmenting_builder, monkeypatch)


@pytest.mark.parametrize(
    "build_model", [default_builder, lambda *given: augmenting_builder(*given)]
)
def test_slow_steps_go_one_by_one_and_are_the_same(
    build_model: ModelBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    def looked() -> None:
        nonlocal looks
        looks += 1

    monkeypatch.setattr(interrupts, "stop_if_asked", looked)
    found = []
    for slow in (1e9, 0.0):
        monkeypatch.setattr(interrupts, "SLOW", slow)
        looks = 0
        found.append(contents(train_to(config_of(), 3, build_model=build_model).checkpoint))
        # 5 steps an epoch: in two calls each, but one by one once the second call was slow. And
        # one for the validation images.
        assert looks == (3 * 2 if slow else 2 + 5 + 5) + 3
    assert found[0] == found[1]


def assert_same_at_once(
    config: RunConfig, build_model: ModelBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for steps in (1, 4):  # of the 5 of an epoch
        monkeypatch.setattr(training, "STEPS_AT_ONCE", steps)
        found.append(contents(train_to(config, 2, build_model=build_model).checkpoint))
    assert found[0] == found[1]


@keras.saving.register_keras_serializable("fmnist_sweep_tests")
class Jitter(keras.layers.Layer):
    """Draws from Keras's global generator: it has none of its own."""

    def call(self, images: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        if not training:
            return images
        return images + keras.random.normal(keras.ops.shape(images), stddev=0.1)


def augmenting_builder(
    config: RunConfig, input_shape: tuple[int, int, int], classes: int
) -> keras.Model:
    """As a user may write it: every way to draw, and not built before it sees images."""
    del config, input_shape
    layers = keras.layers
    return keras.Sequential(
        [
            layers.RandomFlip("horizontal"),
            layers.RandomTranslation(0.2, 0.2),
            layers.RandomErasing(value_range=(0, 1)),
            layers.AugMix(value_range=(0, 1)),
            Jitter(),
            layers.Conv2D(3, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.SpatialDropout2D(0.2),
            layers.GlobalAveragePooling2D(),
            layers.GaussianNoise(0.1),
            layers.Dense(classes, activation="softmax"),
        ]
    )


def test_a_users_augmenting_network_continues_exactly(tmp_path: Path) -> None:
    assert_continues_exactly(config_of(*ADAM), tmp_path, build_model=augmenting_builder)


def bfloat16_builder(
    config: RunConfig, input_shape: tuple[int, int, int], classes: int
) -> keras.Model:
    keras.config.set_dtype_policy("bfloat16")
    return default_builder(config, input_shape, classes)


def test_weights_in_bfloat16_continue_exactly(tmp_path: Path) -> None:
    assert_continues_exactly(config_of(*PLAIN, *SGD), tmp_path, build_model=bfloat16_builder)


def assert_continues_exactly(config: RunConfig, folder: Path, *, build_model: ModelBuilder) -> None:
    """Hold epochs 0..3 straight against 1..3 from the checkpoint, as if in another process."""
    states: list[Checkpoint] = []
    keras.utils.set_random_seed(1)
    straight = train_to(config, 3, build_model=build_model, on_epoch=states.append).checkpoint

    keras.utils.set_random_seed(2)
    keras.utils.clear_session()
    after_one = through_disk(states[0], folder)
    continued = train_to(config, 3, after_one, build_model=build_model).checkpoint

    assert contents(continued) == contents(straight)
    losses = [record.metrics["loss"] for record in straight.history]
    assert len(set(losses)) == 3


def test_each_epoch_draws_anew() -> None:
    # With a rate too small to change a weight, epochs differ in their masks and orders alone.
    overrides = ("train.optimizer.name=sgd", "train.optimizer.learning_rate=1e-30")
    history = train_to(config_of(*overrides), 3).checkpoint.history

    assert len({record.metrics["loss"] for record in history}) == 3


def test_the_seed_decides() -> None:
    zero, zero_again, one = (
        contents(train_to(config_of(*PLAIN, f"train.seed={seed}"), 1).checkpoint)
        for seed in (0, 0, 1)
    )

    assert zero == zero_again
    assert zero["weights"] != one["weights"]


def test_the_schedule_does_not_know_where_a_rung_ends() -> None:
    overrides = (*PLAIN, "train.schedule.name=cosine", "train.schedule.warmup_epochs=1")
    states: list[Checkpoint] = []
    train_to(config_of(*overrides), 3, on_epoch=states.append)

    stopped = train_to(config_of(*overrides, "train.stop_epoch=2"), 2).checkpoint

    assert contents(stopped) == contents(states[1])
    other_horizon = train_to(config_of(*overrides, "train.epochs=2"), 2).checkpoint
    assert contents(other_horizon)["weights"] != contents(states[1])["weights"]


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_precision_is_the_networks_own_and_the_callers_stays(precision: str) -> None:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = train_to(config_of(*PLAIN, f"train.precision={precision}"), 1).model
        assert keras.config.dtype_policy().name == "mixed_float16"
    finally:
        keras.config.set_dtype_policy("float32")

    assert model.get_layer("conv0").dtype_policy.name == precision
    assert {str(variable.dtype) for variable in model.weights} == {"float32"}
