"""Which points of a space can be tried at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fmnist_sweep.config.schema import Config
from fmnist_sweep.errors import ConfigError, InfeasibleModel
from fmnist_sweep.model.plan import plan_cnn
from fmnist_sweep.space.overrides import apply_overrides
from fmnist_sweep.space.space import Space
from fmnist_sweep.training.preparation import Prepared, epochs_of
from fmnist_sweep.tuners.protocol import WhyInfeasible


def feasibility(
    config: Config, space: Space, prepared: Prepared, *, on_paper: bool
) -> WhyInfeasible:
    """Return a function that says of a point why it cannot be tried, or None.

    A combination that the config refuses is infeasible, and so are, where networks are known
    `on_paper` (not those of a user's own builder), one that cannot be built and one over
    `sweep.max_parameters` or `sweep.max_mflops`. No network is built to find out.
    """
    base, sweep, dataset = config.run, config.sweep, prepared.dataset

    def why_infeasible(point: Mapping[str, Any]) -> str | None:
        try:
            trial = apply_overrides(base, space.overrides(point))
            epochs_of(trial, prepared)
            if not on_paper:
                return None
            plan = plan_cnn(trial.model, dataset.image_shape, dataset.classes)
        except (ConfigError, InfeasibleModel) as error:
            return str(error)
        if sweep.max_parameters is not None and plan.parameters > sweep.max_parameters:
            return f"{plan.parameters} parameters; sweep.max_parameters={sweep.max_parameters}"
        if sweep.max_mflops is not None and plan.mflops > sweep.max_mflops:
            return f"{plan.mflops:.1f} MFLOP an image; sweep.max_mflops={sweep.max_mflops:g}"
        return None

    return why_infeasible
