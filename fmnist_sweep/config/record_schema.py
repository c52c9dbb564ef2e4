"""Earlier results in a config: what was recorded here, and what others reported."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from fmnist_sweep.config.model_schema import NonNegative, PositiveInt, Strict

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Numerics(Strict):
    """What the last bits of a training depend on, besides its config and data.

    `versions`: of the packages that compute; `settings`: environment variables that affect the
    computation; `accelerators`: names of GPUs and the like.
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
        # Recorded by earlier versions; Keras runs on TensorFlow regardless.
        return {name: value for name, value in settings.items() if name != "KERAS_BACKEND"}


class Environment(Strict):
    """The environment of a run: what its results depend on, and further information.

    `git_changed`: tracked files differed from `git_commit`; null if there is no commit.
    """

    numerics: Numerics
    packages: dict[str, str]
    platform: str
    git_commit: str | None
    git_changed: bool | None
    command: str

    def is_same_place(self, other: Environment) -> bool:
        """Whether two environments differ at most in the command."""
        return self.model_copy(update={"command": other.command}) == other


class ExpectedMetric(Strict):
    """A recorded metric, and its tolerance for runs in other environments."""

    value: float
    tolerance: NonNegative


class Expected(Strict):
    """The record that a rerun is compared with, by `reproduction.py`.

    `numerics` is null if the training ran in several environments or they are unknown: then exact
    reproduction cannot be expected. `config` is `model` and `train` as JSON, so that a search and
    replace does not change file and record alike.
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
    """The results reported by the authors of a published system; missing ones are absent.

    A pair is a range. `step_loss`: the loss every `tracking.every_steps` steps, in the authors'
    scale.
    `remark`: an explanation of differences to our results.
    """

    by: str
    accuracy: Share | None = None
    val_accuracy: Share | None = None
    test_accuracy: Share | Annotated[list[Share], Field(min_length=2, max_length=2)] | None = None
    epoch_seconds: NonNegative | None = None
    parameters: PositiveInt | None = None
    step_loss: list[NonNegative] | None = None
    remark: str | None = None
