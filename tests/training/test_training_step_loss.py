"""The loss between the ends of epochs."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_training import PLAIN, STEPS, TRAIN_IMAGES, config_of, data_of, through_disk

from fmnist_sweep.training.checkpoint import Checkpoint
from fmnist_sweep.training.rung import default_builder
from fmnist_sweep.training.train import train

BATCH, BUDGET = 16, 8  # 5 steps an epoch, the last with 6 images; the second epoch has 3
IN_STEPS = (*PLAIN, "train.epochs=null", f"train.steps={BUDGET}")


def step_loss(
    every: int | None, *overrides: str, last_epoch: int = 2, checkpoint: Checkpoint | None = None
) -> tuple[list[tuple[int, float]], Checkpoint]:
    config = config_of(*(overrides or IN_STEPS))
    done = train(
        config,
        data_of(config),
        0 if checkpoint is None else checkpoint.epoch,
        last_epoch,
        checkpoint,
        build_model=default_builder,
        every_steps=every,
    ).checkpoint
    return [pair for record in done.history for pair in record.step_loss], done


def images(step: int) -> int:
    return TRAIN_IMAGES - (STEPS - 1) * BATCH if step == STEPS else BATCH


def test_every_step_adds_up_to_the_epochs_loss() -> None:
    pairs, done = step_loss(1)
    assert [step for step, _ in pairs] == list(range(1, BUDGET + 1))
    for record, steps in zip(done.history, (range(1, 6), range(6, 9)), strict=True):
        losses = dict(pairs)
        mean = sum(losses[s] * images(s) for s in steps) / sum(images(s) for s in steps)
        assert mean == pytest.approx(record.metrics["loss"], rel=1e-5)


@pytest.mark.parametrize("every", [2, 3, 4, 7])
def test_it_is_the_mean_since_the_last_one_or_the_epochs_beginning(every: int) -> None:
    single, pairs = dict(step_loss(1)[0]), step_loss(every)[0]
    assert [step for step, _ in pairs] == list(range(every, BUDGET + 1, every))
    for step, loss in pairs:
        first = max(step - every, STEPS if step > STEPS else 0) + 1
        since = range(first, step + 1)
        mean = sum(single[s] * images(s) for s in since) / sum(images(s) for s in since)
        assert loss == pytest.approx(mean, rel=1e-4)


def test_a_continued_training_takes_down_what_a_straight_one_does(tmp_path: Path) -> None:
    straight, _ = step_loss(2)
    _, first = step_loss(2, last_epoch=1)
    continued, _ = step_loss(2, checkpoint=through_disk(first, tmp_path))
    assert continued == straight


def test_looking_changes_nothing() -> None:
    (_, looked), (_, not_looked) = step_loss(1), step_loss(None)
    assert all(
        (mine == theirs).all()
        for mine, theirs in zip(looked.weights, not_looked.weights, strict=True)
    )
    assert step_loss(None)[0] == []


def test_a_budget_in_epochs_has_none() -> None:
    assert step_loss(1, *PLAIN)[0] == []
