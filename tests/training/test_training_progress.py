"""How far a training is, told to whoever watches; and that it trains the same."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest
from tiny_training import STEPS, config_of, contents, data_of

from fmnist_sweep.training import progress
from fmnist_sweep.training.progress import StepProgress
from fmnist_sweep.training.rung import default_builder, run_rung
from fmnist_sweep.training.train import STEPS_AT_ONCE, Trained, train

ENDS_OF_CALLS = [*range(STEPS_AT_ONCE, STEPS, STEPS_AT_ONCE), STEPS]


def trained(on_step: progress.OnStep | None) -> Trained:
    config = config_of()
    return train(config, data_of(config), 0, 3, build_model=default_builder, on_step=on_step)


def test_a_watched_training_is_the_same_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LEAST_SECONDS", 0.0)
    heard: list[StepProgress] = []
    watched, alone = trained(heard.append), trained(None)
    assert contents(watched.checkpoint) == contents(alone.checkpoint)
    assert [(told.epoch, told.step) for told in heard] == [
        (epoch, step) for epoch in (1, 2, 3) for step in ENDS_OF_CALLS
    ]
    assert {(told.last_epoch, told.steps) for told in heard} == {(3, STEPS)}
    for told in heard[
        len(ENDS_OF_CALLS) - 1 :: len(ENDS_OF_CALLS)
    ]:  # at an epoch's end it is the epoch's own
        metrics = watched.checkpoint.history[told.epoch - 1].metrics
        assert (told.loss, told.accuracy) == (metrics["loss"], metrics["accuracy"])


def test_it_is_looked_at_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock) / 10)
    heard: list[StepProgress] = []
    trained(heard.append)
    # A tenth of a second a call: every third is heard of, over the ends of epochs too.
    calls = [(epoch, step) for epoch in (1, 2, 3) for step in ENDS_OF_CALLS]
    assert [(told.epoch, told.step) for told in heard] == calls[::3]


@pytest.mark.parametrize("watches", [True, False])
def test_nothing_is_put_around_a_step_unless_somebody_watches(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, watches: bool
) -> None:
    fit, seen = keras.Model.fit, []

    def looking(model: keras.Model, *arguments: object, **named: object) -> object:
        before = model.train_function
        seen.append((before, named["callbacks"]))
        return fit(model, *arguments, **named)

    monkeypatch.setattr(keras.Model, "fit", looking)
    config = config_of()
    run_rung(
        config, data_of(config), 2, tmp_path, build_model=default_builder,
        on_epoch=lambda record: False, on_step=(lambda told: None) if watches else None,
    )  # fmt: skip
    functions = {id(function) for function, _ in seen}
    assert len(seen) == 2
    assert all(callbacks == [] for _, callbacks in seen)
    assert len(functions) == (2 if watches else 1)
