"""Sweeps of any size whose scores a formula gives, as a journal's records."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from fmnist_sweep.config.train_schema import Objective
from fmnist_sweep.journal.records import Asked, Begun, EpochEnded, Record, Told, TrialStatus
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.space.domains import Choice, FloatRange, IntRange
from fmnist_sweep.space.space import Condition, Leaf, Space
from fmnist_sweep.training.results import RunResult

MAX = Objective(metric="val_accuracy", direction="max")
RATE, OPTIMIZER, MOMENTUM = "train.rate", "train.optimizer.name", "train.optimizer.momentum"
COUNT, CHANNELS, NOISE = "model.blocks.count", "model.blocks.1.channels", "model.noise"
HOSTILE = "$x_1^2$ & <b>b</b>\n" + "long " * 20
SPACE = Space(
    (
        Leaf(RATE, FloatRange(1e-4, 1e-1, None, True)),
        Leaf(OPTIMIZER, Choice(("adam", "sgd", HOSTILE))),
        Leaf(MOMENTUM, FloatRange(0.0, 0.9, None, False), (Condition(OPTIMIZER, ("sgd",)),)),
        Leaf(COUNT, IntRange(1, 2, None, False)),
        Leaf(CHANNELS, Choice((16, 32, 64)), (Condition(COUNT, (2,)),)),
        Leaf(NOISE, Choice((True, False, None))),
    ),
    {},
)


@dataclass
class DrawnSweep:
    """Its records, and the state after them."""

    records: list[Record]
    state: SweepState


@cache
def drawn_sweep(
    trials: int,
    *,
    seed: int = 0,
    hyperband: bool = False,
    failing: Collection[int] = (),
    constant: bool = False,
) -> DrawnSweep:
    """A sweep whose scores hang on the learning rate above all; every trial has 3 epochs, with
    `hyperband` one, and the best third of them 3."""
    sweep = _Writer(np.random.default_rng(seed), constant, hyperband)
    first = 1 if hyperband else 3
    scores = {number: sweep.train(number, 0, first, number in failing) for number in range(trials)}
    if hyperband:
        completed = [number for number in scores if number not in failing]
        for number in sorted(completed, key=lambda n: -scores[n])[: math.ceil(trials / 3)]:
            sweep.train(number, 1, 3, fails=False)
    state = SweepState(MAX)
    for record in sweep.records:
        state.apply(record)
    return DrawnSweep(sweep.records, state)


class _Writer:
    def __init__(self, draws: np.random.Generator, constant: bool, hyperband: bool) -> None:
        self._draws, self._constant, self._hyperband = draws, constant, hyperband
        self._points: dict[int, dict[str, Any]] = {}
        self._at = 1000.0
        self._asks = 0
        self.records: list[Record] = [Begun(2, "drawn", {}, "a command", self._at)]

    def train(self, number: int, first: int, last: int, fails: bool) -> float:
        point = self._points.setdefault(number, self._point())
        values = {"tuner/bracket": 1} if self._hyperband else {}
        ask, began = self._asks, self._at
        self._asks += 1
        self.records.append(
            Asked(ask, number, int(first > 0), first, last, str(ask), values, point, self._at)
        )
        if fails:
            self._at += 1.0
            self.records.append(
                Told(ask, number, TrialStatus.FAILED, None, None, "it broke", 1.0, self._at)
            )
            return -math.inf
        metrics: dict[str, float] = {}
        for epoch in range(first + 1, last + 1):
            self._at += 2.0 + number % 3
            score = 0.5 if self._constant else self._score(point) + 0.02 * epoch
            metrics = {
                "loss": 1.0 - score, "accuracy": score, "val_loss": 1.0 - score,
                "val_accuracy": score, "learning_rate": 0.1, "epoch_seconds": 2.0 + number % 3,
            }  # fmt: skip
            self.records.append(EpochEnded(number, epoch, metrics, self._at))
        score = metrics["val_accuracy"]
        result = RunResult(
            last_epoch=last,
            best_epoch=last,
            best_metrics=metrics,
            test_accuracy=score - 0.01,
            test_loss=0.5,
            train_seconds=last * (2.0 + number % 3),
            parameters=1000 * (1 + number % 7),
            stopped_early=False,
            weights_sha256="a" * 64,
            best_weights_sha256="b" * 64,
        )
        seconds = self._at - began
        self.records.append(
            Told(ask, number, TrialStatus.COMPLETED, score, result, None, seconds, self._at)
        )
        return score

    def _point(self) -> dict[str, Any]:
        point: dict[str, Any] = {}
        for leaf in SPACE.leaves:
            if leaf.exists_at(point):
                match leaf.domain:
                    case Choice(values):
                        point[leaf.path] = values[self._draws.integers(len(values))]
                    case IntRange(low, high):
                        point[leaf.path] = int(self._draws.integers(low, high + 1))
                    case FloatRange(low, high, _, log):
                        share = self._draws.random()
                        point[leaf.path] = (
                            low * (high / low) ** share if log else low + (high - low) * share
                        )
        return point

    def _score(self, point: dict[str, Any]) -> float:
        off = math.log10(point[RATE]) + 2.5
        return 0.8 - 0.1 * off**2 - 0.03 * (point[OPTIMIZER] == "sgd")
