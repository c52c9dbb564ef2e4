"""Metrics against NumPy's sums: over whole sets, each image weighing the same."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tiny_training import PLAIN, config_of, data_of, train_to

from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.config.train_schema import EarlyStopping, Objective
from fmnist_sweep.training.batches import ImageSet
from fmnist_sweep.training.evaluation import evaluate, probabilities
from fmnist_sweep.training.randomness import epoch_order
from fmnist_sweep.training.results import EpochRecord
from fmnist_sweep.training.rung import default_builder
from fmnist_sweep.training.train import best_epoch, stops_early, train

Probabilities = NDArray[np.float64]
# The weights stay as they were drawn, so that sums by hand hold for every step of an epoch.
STILL = (*PLAIN, "train.optimizer.name=sgd", "train.optimizer.learning_rate=1e-30")


def chances_by_hand(model: keras.Model, images: ImageSet) -> Probabilities:
    """All images in one batch, scaled here."""
    scaled = images.images.astype(np.float32) / np.float32(255)
    return np.asarray(model(scaled, training=False).numpy(), np.float64)


def losses_by_hand(chances: Probabilities, labels: NDArray[np.int64], smoothing: float) -> Any:
    """Return each image's cross-entropy, (n,)."""
    classes = chances.shape[1]
    targets = np.eye(classes)[labels] * (1 - smoothing) + smoothing / classes
    return -(targets * np.log(chances)).sum(axis=1)


def hits_by_hand(chances: Probabilities, labels: NDArray[np.int64]) -> Any:
    return chances.argmax(axis=1) == labels


@pytest.fixture(scope="module")
def trained_model() -> keras.Model:
    return train_to(config_of(), 1).model


@given(count=st.sampled_from([1, 7, 999, 1000, 1001, 2345]), seed=st.integers(0, 99))
@settings(max_examples=8, deadline=None)
def test_an_evaluation_is_over_the_whole_set(
    trained_model: keras.Model, count: int, seed: int
) -> None:
    draw = np.random.RandomState(seed)
    pixels = draw.randint(0, 256, (count, 8, 8, 1)).astype(np.uint8)
    images = ImageSet(pixels, draw.randint(0, 10, count).astype(np.int64), classes=10)

    measured = evaluate(trained_model, images)
    chances = probabilities(trained_model, images)

    expected = chances_by_hand(trained_model, images)
    assert chances.dtype == np.float64
    np.testing.assert_allclose(chances, expected, atol=1e-6)
    assert measured["accuracy"] == hits_by_hand(chances, images.labels).mean()
    loss = losses_by_hand(expected, images.labels, 0.0).mean()
    assert measured["loss"] == pytest.approx(loss, rel=1e-5)


def test_a_certain_mistake_costs_what_keras_says() -> None:
    image = keras.Input((8, 8, 1))
    sure = keras.layers.Lambda(lambda x: keras.ops.one_hot(keras.ops.cast(x[:, 0, 0, 0], int), 3))
    model = keras.Model(image, sure(image))
    images = ImageSet(np.zeros((2, 8, 8, 1), np.uint8), np.array([0, 1]), classes=3)

    measured = evaluate(model, images)

    reference = keras.losses.SparseCategoricalCrossentropy()
    assert measured["accuracy"] == 0.5
    expected = float(reference(images.labels, probabilities(model, images).astype(np.float32)))
    assert measured["loss"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("overrides", "smoothing"),
    [
        ((), 0.0),
        (("train.loss=categorical_crossentropy",), 0.0),
        (("train.label_smoothing=0.3",), 0.3),
    ],
    ids=["sparse", "one-hot", "smoothed"],
)
def test_training_metrics_weigh_each_image_the_same(
    overrides: tuple[str, ...], smoothing: float
) -> None:
    # 70 images in batches of 60 and 10: a mean of batch means would be far off.
    config = config_of(*STILL, "train.batch_size=60", *overrides)
    trained = train_to(config, 1)

    data = data_of(config)
    labels = data.train.labels
    chances = chances_by_hand(trained.model, data.train)
    losses = losses_by_hand(chances, labels, smoothing)
    hits = hits_by_hand(chances, labels)
    metrics = trained.checkpoint.history[0].metrics
    assert metrics["loss"] == pytest.approx(losses.mean(), rel=1e-5)
    assert metrics["accuracy"] == pytest.approx(hits.mean(), abs=1e-6)
    order = epoch_order(config.train.seed, 1, len(labels))
    mean_of_means = np.mean([losses[order[:60]].mean(), losses[order[60:]].mean()])
    assert abs(mean_of_means - losses.mean()) > 1e-3

    # Validation losses are without smoothing, so that trials compare.
    assert data.validation is not None
    chances = chances_by_hand(trained.model, data.validation)
    unsmoothed = losses_by_hand(chances, data.validation.labels, 0.0).mean()
    assert metrics["val_loss"] == pytest.approx(unsmoothed, rel=1e-5)
    assert metrics["val_accuracy"] == hits_by_hand(chances, data.validation.labels).mean()


def test_a_budget_in_steps_ends_with_a_short_epoch() -> None:
    config = config_of(*STILL, "train.epochs=null", "train.steps=7")
    history = train_to(config, 2)

    data = data_of(config)
    losses = losses_by_hand(chances_by_hand(history.model, data.train), data.train.labels, 0.0)
    seen = epoch_order(config.train.seed, 2, len(data.train))[: 2 * config.train.batch_size]
    last = history.checkpoint.history[-1].metrics["loss"]
    assert last == pytest.approx(losses[seen].mean(), rel=1e-5)
    assert abs(losses.mean() - losses[seen].mean()) > 1e-4
    assert int(history.model.optimizer.iterations) == 7


class Counting(keras.Model):
    """Counts how often its steps are traced: Python runs then, and only then."""

    def train_step(self, data: Any) -> Any:
        TRACED.append("train")
        return super().train_step(data)

    def predict_step(self, data: Any) -> Any:
        TRACED.append("predict")
        return super().predict_step(data)


TRACED: list[str] = []


def test_a_training_is_traced_once_however_many_epochs_and_batch_sizes() -> None:
    def build(config: RunConfig, input_shape: tuple[int, int, int], classes: int) -> keras.Model:
        model = default_builder(config, input_shape, classes)
        return Counting(model.inputs, model.outputs)

    TRACED.clear()
    train_to(config_of(*PLAIN), 3, build_model=build)

    assert sorted(TRACED) == ["predict", "train"]


def test_one_hot_and_sparse_targets_train_alike() -> None:
    # Adam would make whole steps of what the two differ by in the last bit.
    plain = ("train.optimizer.name=sgd", "train.optimizer.learning_rate=0.1")
    sparse, one_hot = (
        train_to(config_of(f"train.loss={name}_crossentropy", *plain), 2).checkpoint
        for name in ("sparse_categorical", "categorical")
    )

    for ours, theirs in zip(sparse.weights, one_hot.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    for one, other in zip(sparse.history, one_hot.history, strict=True):
        assert one.metrics["loss"] == pytest.approx(other.metrics["loss"], rel=1e-4)
        # One image of the 70 may lie on the border.
        assert one.metrics["accuracy"] == pytest.approx(other.metrics["accuracy"], abs=0.02)


@pytest.mark.parametrize("one_hot", [False, True])
def test_batches_are_the_images_in_their_order(one_hot: bool) -> None:
    draw = np.random.RandomState(0)
    pixels = draw.randint(0, 256, (10, 2, 3, 1)).astype(np.uint8)
    images = ImageSet(pixels, draw.randint(0, 4, 10).astype(np.int64), classes=4)
    order = draw.permutation(10).astype(np.int64)

    batches = list(images.shuffled(order, batch_size=4, steps=3, one_hot=one_hot))
    cut = list(images.shuffled(order, batch_size=4, steps=2, one_hot=one_hot))

    assert [len(batch) for batch, _ in batches] == [4, 4, 2]
    assert [len(batch) for batch, _ in cut] == [4, 4]
    seen = np.concatenate([batch.numpy() for batch, _ in batches])
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen, pixels[order] / 255, atol=1e-7)
    assert (seen.min() >= 0) & (seen.max() <= 1)
    labels = np.concatenate([labels.numpy() for _, labels in batches])
    expected = images.labels[order]
    assert np.array_equal(labels, np.eye(4)[expected] if one_hot else expected)
    assert labels.dtype == (np.float32 if one_hot else np.int64)
    for size in (4, 3, 4):  # as often as one likes
        in_order = [batch.numpy() for batch in images.in_order(size)]
        assert len(in_order[0]) == size
        np.testing.assert_allclose(np.concatenate(in_order), pixels / 255, atol=1e-7)


scores = st.lists(st.sampled_from([0.1, 0.2, 0.25, 0.3, 0.5]), min_size=1, max_size=12)
objectives = st.sampled_from([Objective(metric="val_loss"), Objective(metric="val_accuracy")])


def history_of(scores: list[float], metric: str = "val_loss") -> tuple[EpochRecord, ...]:
    return tuple(
        EpochRecord(epoch, {metric: score}, ended_at=0.0)
        for epoch, score in enumerate(scores, start=1)
    )


@given(
    scores=scores,
    monitor=objectives,
    patience=st.integers(1, 4),
    min_delta=st.sampled_from([0.0, 0.07]),
)
def test_early_stopping_counts_as_kerass_callback_does(
    scores: list[float], monitor: Objective, patience: int, min_delta: float
) -> None:
    callback = keras.callbacks.EarlyStopping(
        monitor.metric, patience=patience, min_delta=min_delta, mode=monitor.direction
    )
    callback.set_model(model := keras.Sequential([keras.Input((1,))]))
    model.stop_training = False
    callback.on_train_begin()
    rule = EarlyStopping(patience=patience, min_delta=min_delta)
    for epoch, score in enumerate(scores):
        callback.on_epoch_end(epoch, {monitor.metric: score})
        history = history_of(scores[: epoch + 1], monitor.metric)
        assert stops_early(history, rule, monitor) == model.stop_training
        if model.stop_training:
            break


@given(scores=scores, monitor=objectives)
def test_the_best_epoch_is_the_earliest_of_the_best(
    scores: list[float], monitor: Objective
) -> None:
    best = max(scores) if monitor.metric == "val_accuracy" else min(scores)

    assert best_epoch(history_of(scores, monitor.metric), monitor) == scores.index(best) + 1


def test_without_the_metric_the_last_epoch_is_best_and_nothing_stops() -> None:
    history = history_of([0.5, 0.4, 0.3])
    monitor = Objective(metric="val_accuracy", direction="max")

    assert best_epoch(history, monitor) == 3
    assert not stops_early(history, EarlyStopping(patience=1, min_delta=0.0), monitor)


def test_epochs_that_do_not_follow_each_other_are_refused() -> None:
    config = config_of()
    state = train_to(config, 1).checkpoint

    def run(first: int, last: int, checkpoint: Any, of: RunConfig = config) -> None:
        train(of, data_of(of), first, last, checkpoint, build_model=default_builder)

    with pytest.raises(ValueError, match="epoch 2 is not the checkpoint's epoch"):
        run(2, 3, state)
    with pytest.raises(ValueError, match="epoch 1 is not"):
        run(1, 3, None)
    with pytest.raises(ValueError, match="epochs 1 to 4 of 3"):
        run(1, 4, state)
    with pytest.raises(ValueError, match="epochs 0 to 0 of 3"):
        run(0, 0, None)
