"""Views of sweeps in MLflow's UI, whose default table shows no metrics and no params."""

from __future__ import annotations

from collections.abc import Sequence

from fmnist_sweep.config.train_schema import Objective
from fmnist_sweep.tracking.tracker import View

TABLE_VIEW, CURVES_VIEW = "sweeps", "curves"
"""The views' keys in links."""
_MOST_PATHS = 16  # tables with many columns are slow and unreadable


def sweep_views(name: str, objective: Objective, searched: Sequence[str]) -> tuple[View, View]:
    """Return a table of sweeps and their trials, and the learning curves of one sweep.

    Args:
        name: the sweep whose curves are shown.
        objective: its objective.
        searched: the paths of its searched values.
    """
    best = f"best_{objective.metric}"
    metrics = (
        best, "official_test_accuracy", "test_accuracy", "trials", "epochs",
        "search_minutes",
        "best_epoch",
    )  # fmt: skip
    params = ("model.parameters", *searched[:_MOST_PATHS])
    columns = [f"metrics.{each}" for each in metrics] + [f"params.{each}" for each in params]
    quote = '"' if "'" in name else "'"
    return (
        View(TABLE_VIEW, "Sweeps and their trials", columns),
        View(
            CURVES_VIEW,
            f"Learning curves of {name}",
            columns,
            filter=f"tags.`sweep.name` = {quote}{name}{quote} and tags.`fmnist.role` = 'trial'",
            best_first=best,
            lowest=objective.direction == "min",
            charts="^(val_)?(accuracy|loss)$",
        ),
    )
