"""The report of a sweep that has come to its end."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from fmnist_sweep.interrupts import stop_if_asked
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.provenance import command
from fmnist_sweep.report.gathering import gather
from fmnist_sweep.report.reporting import up_to_date_report
from fmnist_sweep.runs.best_file import best_config
from fmnist_sweep.sweep.best_models import best_model_files
from fmnist_sweep.sweep.plan import SweepPlan

_log = logging.getLogger(__name__)


def final_report(
    plan: SweepPlan, state: SweepState, best_file: Path | None, *, is_registered: bool
) -> Path | None:
    """Make a sweep's report when all else is done, and return its file; where that fails, log why
    and how to make it, and return None: no picture is worth a sweep's success.

    Args:
        plan: of the sweep, with its data.
        state: of the sweep, which has ended.
        best_file: the winner's config in `experiments/best`; None where there is none.
        is_registered: whether MLflow's model registry has the winner.
    """
    begun = state.begun
    assert begun is not None  # it has ended
    try:
        with tempfile.TemporaryDirectory(prefix="fmnist-sweep-") as place:
            gather(
                plan.folder,
                plan.prepared,
                state.best,
                None if state.best is None else best_config(plan.config, state.best),
                None if best_file is None else best_file.stem,
                # Where there is one: a report is not worth training the winner again.
                lambda number: best_model_files(
                    plan.config, begun, plan.folder, number, Path(place)
                ),
                is_registered=is_registered,
                metrics=tuple(plan.config.sweep.metrics),
            )
        return up_to_date_report(plan.folder, plan.name)
    except Exception as error:  # noqa: BLE001 - whatever draws it, and the user's settings, may raise
        stop_if_asked()
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        again = command(("report", plan.name))
        _log.warning("no report was made: %s; to make it: %s", reason, again)
        return None
