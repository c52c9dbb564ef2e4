"""What a search or a training optimises: one objective, or several and how to choose among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from fmnist_sweep.config.metrics import (
    Direction,
    direction_of,
    objective_names,
    sign_of,
    validation_metrics,
)
from fmnist_sweep.config.model_schema import Strict
from fmnist_sweep.config.one_of import OneOf


class AnyObjective(Strict):
    """A metric or a cost that is optimised. `direction` follows from it: null or a missing one is
    replaced by the metric's own, and another one is rejected."""

    metric: Annotated[str, OneOf(objective_names)]
    direction: Direction = Field(default=None, validate_default=True)

    @field_validator("direction", mode="before")
    @classmethod
    def _follows_from_the_metric(cls, direction: Any, others: ValidationInfo) -> Any:
        # An unknown metric has no direction; only the unknown metric is reported then.
        metric = others.data.get("metric", "val_accuracy")
        return direction_of(metric) if direction is None else direction

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        own = direction_of(self.metric)
        if self.direction != own:
            raise ValueError(
                f"direction={self.direction} with metric={self.metric}: the best {self.metric} is "
                f"the {'highest' if own == 'max' else 'lowest'}; allowed: {own}, or null, which "
                "follows from the metric"
            )
        return self

    @property
    def sign(self) -> float:
        """1.0 if higher is better, else -1.0: after multiplication, higher is better."""
        return sign_of(self.direction)

    def better(self, score: float, than: float | None) -> bool:
        """Whether `score` is better than `than` (None: no score yet)."""
        return than is None or self.sign * score > self.sign * than


class Bound(Strict):
    """How bad the winner may be in an objective: at most `max` where the lowest is the best, at
    least `min` where the highest is."""

    max: float | None = None
    min: float | None = None

    @property
    def limit(self) -> float | None:
        """The one of both that is set."""
        return self.min if self.max is None else self.max

    def allows(self, value: float) -> bool:
        """Whether a value is within the bound."""
        return (self.max is None or value <= self.max) and (self.min is None or value >= self.min)


def check_objectives(objectives: Sequence[AnyObjective], choose: Mapping[str, Bound]) -> None:
    """Reject objectives that are no search's, and bounds that are not theirs.

    Raises:
        ValueError: names the key below `sweep`, the value and what is allowed.
    """
    names = [objective.metric for objective in objectives]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise ValueError(f"objectives.{number}.metric={name} is listed twice")
    if names and names[0] not in validation_metrics():
        raise ValueError(
            f"objectives.0.metric={names[0]}: the first objective decides which epoch of a "
            f"training is the best; allowed: {', '.join(validation_metrics())}"
        )
    if choose and not names:
        raise ValueError("choose bounds the further ones of several objectives; set objectives")
    for name, bound in choose.items():
        if name not in names[1:]:
            raise ValueError(
                f"choose.{name}: must be one of the objectives after the first, "
                f"{', '.join(names[1:])}"
            )
        side = direction_of(name)
        allowed = "max" if side == "min" else "min"
        if [key for key, value in bound.model_dump().items() if value is not None] != [allowed]:
            better = "lower" if side == "min" else "higher"
            raise ValueError(f"choose.{name}: {better} is better; allowed: {{{allowed}: a number}}")
