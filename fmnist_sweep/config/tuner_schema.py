"""The `tuner` part of a config: how a sweep searches."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fmnist_sweep.config.model_schema import NonNegative, Positive, PositiveInt, Seed, Strict


class RandomTuner(Strict):
    """Points drawn independently."""

    name: Literal["random"]
    seed: Seed


class GridTuner(Strict):
    """Every combination in order; of a range without a step, ten values."""

    name: Literal["grid"]
    seed: Seed


class BayesianTuner(Strict):
    """`initial_points` random trials come before the surrogate's own; `alpha` is the noise that
    it assumes in scores, `beta` its taste for the unknown (Keras Tuner's meanings)."""

    name: Literal["bayesian"]
    seed: Seed
    initial_points: PositiveInt
    alpha: Positive
    beta: NonNegative


class HyperbandTuner(Strict):
    """`factor` fewer trials and as many times the epochs from rung to rung, up to `train.epochs`
    (Li et al. 2018, arXiv 1603.06560); `iterations: null` repeats until a budget is used up."""

    name: Literal["hyperband"]
    seed: Seed
    factor: Annotated[int, Field(ge=2)]
    iterations: PositiveInt | None


TunerConfig = Annotated[
    RandomTuner | GridTuner | BayesianTuner | HyperbandTuner, Field(discriminator="name")
]
