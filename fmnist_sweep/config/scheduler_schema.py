"""The `scheduler` part of a config: for how many epochs a point is trained."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from fmnist_sweep.config.model_schema import PositiveInt, Strict

Factor = Annotated[int, Field(ge=2)]


class _Scheduler(Strict):
    sets_epochs: ClassVar[bool] = True
    """Whether it decides for how many epochs a point is trained."""


class FullScheduler(_Scheduler):
    """Every point is trained to its end."""

    sets_epochs: ClassVar[bool] = False
    name: Literal["full"]


class AshaScheduler(_Scheduler):
    """Asynchronous successive halving (Li et al. 2020, arXiv 1810.05934): a new point is trained
    for `min_epochs`; the best 1/`factor` of a rung go on to `factor` times the epochs, at once."""

    name: Literal["asha"]
    min_epochs: PositiveInt
    factor: Factor


class HyperbandScheduler(_Scheduler):
    """Successive halving from several first rungs (Li et al. 2018, arXiv 1603.06560), around any
    tuner and without waiting: the more epochs a bracket's trials are given at first, the fewer
    they are."""

    name: Literal["hyperband"]
    min_epochs: PositiveInt
    factor: Factor


class MedianScheduler(_Scheduler):
    """The median rule (Golovin et al. 2017, Vizier): after `min_epochs`, a trial stops when its
    best score is worse than the median of the other trials' mean scores up to the same epoch, once
    `min_trials` of them came that far."""

    sets_epochs: ClassVar[bool] = False
    name: Literal["median"]
    min_epochs: PositiveInt
    min_trials: PositiveInt


SchedulerConfig = Annotated[
    FullScheduler | AshaScheduler | HyperbandScheduler | MedianScheduler,
    Field(discriminator="name"),
]
