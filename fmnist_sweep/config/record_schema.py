"""What a config says of earlier runs: what was recorded of it here, what others reported."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from fmnist_sweep.config.model_schema import NonNegative, PositiveInt, Strict

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Numerics(Strict):
    """What the last bits of a training depend on, beside its config and its data.

    `versions` of the packages that calculate; `settings`: environment variables that change how
    they do; `accelerators`: names of GPUs and the like.
    """

    versions: dict[str, str]
    cpu: str
    cpu_features: list[str]
    accelerators: list[str]
    threads: PositiveInt
    settings: dict[str, str]

    @field_validator("settings")
    @classmethod
    def _without_what_changes_nothing(cls, settings: dict[str, str]) -> dict[str, str]:
        # Recorded by earlier versions; Keras runs on TensorFlow whatever it says.
        return {name: value for name, value in settings.items() if name != "KERAS_BACKEND"}


class Environment(Strict):
    """Where a run was made: what its numbers depend on, and what is good to know besides.

    `git_changed`: tracked files differed from `git_commit`; null where there is no commit.
    """

    numerics: Numerics
    packages: dict[str, str]
    platform: str
    git_commit: str | None
    git_changed: bool | None
    command: str

    def is_same_place(self, other: Environment) -> bool:
        """Whether the two differ in nothing but the command."""
        return self.model_copy(update={"command": other.command}) == other


class ExpectedMetric(Strict):
    """A recorded metric, and how far a run elsewhere may be from it."""

    value: float
    tolerance: NonNegative


class Expected(Strict):
    """The record that a rerun is held to; `reproduction.py` compares.

    `numerics` is null where a training was done in parts in several environments, or where that is
    not known: its last bits cannot be promised anywhere. `config` has `model` and `train` as they
    were, as JSON, so that no search and replace reaches file and record alike.
    """

    metrics: dict[str, ExpectedMetric]
    data_sha256: Sha256
    split_sha256: Sha256
    weights_sha256: Sha256
    best_weights_sha256: Sha256
    numerics: Numerics | None
    config: str

    @model_validator(mode="after")
    def _something_to_compare(self) -> Self:
        if "test_accuracy" not in self.metrics:
            raise ValueError("metrics: test_accuracy is missing, so there is nothing to compare")
        return self


class Reported(Strict):
    """What the authors of a published system say of it; what they left out is absent.

    A pair is a range. `step_loss`: the loss every so many steps, as `tracking.every_steps` says,
    in the authors' own scale. `remark`: what was found out about a difference to ours.
    """

    by: str
    accuracy: Share | None = None
    val_accuracy: Share | None = None
    test_accuracy: Share | Annotated[list[Share], Field(min_length=2, max_length=2)] | None = None
    epoch_seconds: NonNegative | None = None
    parameters: PositiveInt | None = None
    step_loss: list[NonNegative] | None = None
    remark: str | None = None
