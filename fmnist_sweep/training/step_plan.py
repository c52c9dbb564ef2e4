"""A training's length in steps."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fmnist_sweep.config.train_schema import TrainConfig


@dataclass(frozen=True)
class StepPlan:
    """The length of a training in steps. The last batch of an epoch may be smaller; with a budget
    in steps, the last epoch may have fewer steps."""

    per_epoch: int
    total: int

    @classmethod
    def of(cls, config: TrainConfig, images: int) -> StepPlan:
        """Return the plan for a number of training images."""
        per_epoch = math.ceil(images / config.batch_size)
        if config.epochs is not None:
            return cls(per_epoch, config.epochs * per_epoch)
        assert config.steps is not None  # ensured by the schema
        return cls(per_epoch, config.steps)

    @property
    def epochs(self) -> int:
        """The number of epochs, including a short last one."""
        return math.ceil(self.total / self.per_epoch)

    def of_epoch(self, epoch: int) -> int:
        """The number of steps of an epoch (from 1)."""
        return min(self.per_epoch, self.total - self.before(epoch))

    def before(self, epoch: int) -> int:
        """The number of steps before an epoch (from 1)."""
        return (epoch - 1) * self.per_epoch
