"""Whether a sweep's trials can train what the user's builder gives, found out before anything is
written."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.errors import ConfigError, RunError
from fmnist_sweep.journal.file import JOURNAL_FILE
from fmnist_sweep.space.overrides import apply_overrides
from fmnist_sweep.sweep.plan import SweepPlan
from fmnist_sweep.training.network_check import check_network
from fmnist_sweep.training.train import ModelBuilder
from fmnist_sweep.tuners.encoding import sample_points

_log = logging.getLogger(__name__)
_POINTS = 10


def check_builder(plan: SweepPlan, build_model: ModelBuilder) -> None:
    """Refuse a builder whose networks cannot be trained: neither that of the config as it is, nor
    those of points drawn from the space. One of them is enough to go on; each trial is looked at
    before its first epoch.

    A sweep that has begun is not looked at: it keeps what it has.

    Raises:
        ConfigError: says what is wrong with the first network and what is allowed.
        RunError: the network cannot be written into the folder for temporary files.
    """
    if (plan.folder / JOURNAL_FILE).exists():
        return
    refused: ConfigError | None = None
    with tempfile.TemporaryDirectory(prefix="fmnist-sweep-") as folder:
        for config in _configs(plan):
            try:
                was_compiled = check_network(config, plan.prepared.data, build_model, Path(folder))
            except ConfigError as error:
                refused = refused or error
                continue
            except OSError as error:
                raise RunError(f"build_model: its network cannot be written: {error}") from error
            if was_compiled:
                _log.warning(
                    "build_model: its compile() is not used: train.* says optimizer, loss and "
                    "metrics"
                )
            return
    assert refused is not None  # there is at least one config
    raise refused


def _configs(plan: SweepPlan) -> Iterator[RunConfig]:
    yield plan.config.run
    for point in sample_points(plan.space, _POINTS, seed=0):
        if plan.why_infeasible(point) is None:
            yield apply_overrides(plan.config.run, plan.space.overrides(point))
