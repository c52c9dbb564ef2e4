"""Which points of a space can be tried at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fmnist_sweep.config.schema import RunConfig, SweepConfig
from fmnist_sweep.errors import ConfigError, InfeasibleModel
from fmnist_sweep.model.plan import plan_cnn
from fmnist_sweep.space.overrides import apply_overrides
from fmnist_sweep.space.space import Space


def feasibility(
    base: RunConfig,
    space: Space,
    sweep: SweepConfig,
    image_shape: tuple[int, int, int],
    classes: int,
) -> Callable[[Mapping[str, Any]], str | None]:
    """Return a function that says of a point why it cannot be tried, or None.

    A network that cannot be built, one over `sweep.max_parameters` or `sweep.max_mflops`, and a
    combination that the config refuses are infeasible. Computed on paper: no network is built.
    """

    def why_infeasible(point: Mapping[str, Any]) -> str | None:
        try:
            config = apply_overrides(base, space.overrides(point))
            plan = plan_cnn(config.model, image_shape, classes)
        except (ConfigError, InfeasibleModel) as error:
            return str(error)
        if sweep.max_parameters is not None and plan.parameters > sweep.max_parameters:
            return f"{plan.parameters} parameters; sweep.max_parameters={sweep.max_parameters}"
        if sweep.max_mflops is not None and plan.mflops > sweep.max_mflops:
            return f"{plan.mflops:.1f} MFLOP an image; sweep.max_mflops={sweep.max_mflops:g}"
        return None

    return why_infeasible


def why_never_infeasible(point: Mapping[str, Any]) -> str | None:
    """Say None of every point: a user's own builder is not known on paper."""
    return None
