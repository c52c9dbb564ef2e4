"""The `tuner` part of a config: the search algorithm."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from fmnist_sweep.config.model_schema import NonNegative, Positive, PositiveInt, Seed, Strict


class _Tuner(Strict):
    sets_epochs: ClassVar[bool] = False
    """Whether it decides for how many epochs a point is trained."""
    learns: ClassVar[bool] = False
    """Whether what it proposes depends on results, so that earlier ones help it."""
    several_objectives: ClassVar[bool] = False
    """Whether it can search for several objectives at once."""


class RandomTuner(_Tuner):
    """Points are drawn independently."""

    several_objectives: ClassVar[bool] = True
    name: Literal["random"]
    seed: Seed


class GridTuner(_Tuner):
    """Every combination in order; a range without a step has ten values."""

    several_objectives: ClassVar[bool] = True
    name: Literal["grid"]
    seed: Seed


class BayesianTuner(_Tuner):
    """`initial_points` random trials come before the surrogate's; `alpha` is the assumed noise of
    the scores, `beta` the weight of exploration (as in Keras Tuner)."""

    learns: ClassVar[bool] = True
    name: Literal["bayesian"]
    seed: Seed
    initial_points: PositiveInt
    alpha: Positive
    beta: NonNegative


class HyperbandTuner(_Tuner):
    """From rung to rung, trials are divided and epochs multiplied by `factor`, up to `train.epochs`
    (Li et al. 2018, arXiv 1603.06560); `iterations: null` repeats until a budget is used up."""

    sets_epochs: ClassVar[bool] = True
    name: Literal["hyperband"]
    seed: Seed
    factor: Annotated[int, Field(ge=2)]
    iterations: PositiveInt | None


class TpeTuner(_Tuner):
    """`initial_points` random trials come before the model's own; the best of `candidates` drawn
    from the good points' model is proposed."""

    learns: ClassVar[bool] = True
    several_objectives: ClassVar[bool] = True
    name: Literal["tpe"]
    seed: Seed
    initial_points: PositiveInt
    candidates: PositiveInt


class CmaesTuner(_Tuner):
    """`population`: points a generation, null: by the number of searched values; `sigma`: the
    first steps' size, as a share of each range."""

    learns: ClassVar[bool] = True
    name: Literal["cmaes"]
    seed: Seed
    population: Annotated[int, Field(ge=5)] | None
    sigma: Positive


class Nsga2Tuner(_Tuner):
    """The best `population` trials are the parents of what is proposed; so many random points come
    first."""

    several_objectives: ClassVar[bool] = True
    name: Literal["nsga2"]
    seed: Seed
    population: Annotated[int, Field(ge=2)]


class QmcTuner(_Tuner):
    """A scrambled Sobol sequence."""

    several_objectives: ClassVar[bool] = True
    name: Literal["qmc"]
    seed: Seed


_AnyTuner = (
    RandomTuner
    | GridTuner
    | BayesianTuner
    | HyperbandTuner
    | TpeTuner
    | CmaesTuner
    | Nsga2Tuner
    | QmcTuner
)
TunerConfig = Annotated[_AnyTuner, Field(discriminator="name")]
_BY_NAME: dict[str, type[_Tuner]] = {
    get_args(tuner.model_fields["name"].annotation)[0]: tuner for tuner in get_args(_AnyTuner)
}
NAMES_WITHOUT_EPOCHS = tuple(n for n, tuner in _BY_NAME.items() if not tuner.sets_epochs)
"""The tuners that train each point for all epochs of its config."""
NAMES_THAT_LEARN = tuple(n for n, tuner in _BY_NAME.items() if tuner.learns)
"""The tuners that `sweep.learn_from` helps."""
NAMES_FOR_SEVERAL_OBJECTIVES = tuple(n for n, tuner in _BY_NAME.items() if tuner.several_objectives)
"""The tuners that can search for several objectives at once."""
