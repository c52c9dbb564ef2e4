"""A sweep's own run: its start and its final files; and the params of its trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fmnist_sweep.config.schema import Config, RunConfig
from fmnist_sweep.config.yaml_text import to_yaml
from fmnist_sweep.data import Dataset, Split
from fmnist_sweep.data.split_report import classes_csv, indices_npz
from fmnist_sweep.errors import InfeasibleModel
from fmnist_sweep.journal.file import JOURNAL_FILE
from fmnist_sweep.journal.leaderboard import leaderboard
from fmnist_sweep.journal.records import Begun
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.model.plan import plan_cnn
from fmnist_sweep.space.overrides import apply_overrides
from fmnist_sweep.tracking.run_log import CONFIG_FILE, dataset_inputs, input_tags
from fmnist_sweep.tracking.sweep_views import sweep_views
from fmnist_sweep.tracking.tracker import RunStart, Tracker

SPLIT_FOLDER, CLASSES_FILE = "split", "classes.csv"


def start_sweep(
    tracker: Tracker,
    key: str,
    begun: Begun,
    config: Config,
    dataset: Dataset,
    split: Split,
    tags: Mapping[str, str],
    note: str,
    *,
    searched: Sequence[str],
) -> None:
    """Start a sweep's own run; its whole config with the search space, and its split (index arrays
    and images per class and set), are logged as artifacts. `searched`: the searched paths."""
    inputs = dataset_inputs(dataset, split)
    objective = config.sweep.objective.model_dump()
    tracker.start(
        RunStart(
            key=key,
            name=begun.name,
            started_at=begun.at,
            params=lambda: {
                **{f"tuner.{name}": value for name, value in config.tuner.model_dump().items()},
                **_scheduler_params(config),
                **{f"sweep.objective.{name}": value for name, value in objective.items()},
                **_objectives_param(config),
            },
            tags={
                **tags,
                **input_tags(inputs),
                **config.tracking.tags,
                "fmnist.role": "sweep",
                "sweep.name": begun.name,
                "sweep.command": begun.command,
            },
            inputs=inputs,
            note=note,
            views=sweep_views(begun.name, config.sweep.objective, searched),
        )
    )
    values = {**config.model_dump(), **config.as_given()}
    tracker.content(key, lambda: to_yaml(values), CONFIG_FILE)
    tracker.content(key, lambda: indices_npz(split), f"{SPLIT_FOLDER}/indices.npz")
    tracker.content(key, lambda: classes_csv(split, dataset), f"{SPLIT_FOLDER}/{CLASSES_FILE}")


def trial_params(
    base: RunConfig, overrides: Mapping[str, object], dataset: Dataset | None
) -> dict[str, object]:
    """Return a trial's params: its searched values and the size of its network for these images;
    `dataset` is None if no config describes the network."""
    params = dict(overrides)
    if dataset is not None:
        model = apply_overrides(base, overrides).model
        try:
            plan = plan_cnn(model, dataset.image_shape, dataset.classes)
        except InfeasibleModel:  # an infeasible trial of `sweep.start_with`
            return params
        params["model.parameters"] = plan.parameters
    return params


def log_summary(
    tracker: Tracker, key: str, folder: Path, state: SweepState, metrics: Sequence[str]
) -> None:
    """Log a sweep's final files: journal, leaderboard, and the winner's config."""
    tracker.file(key, folder / JOURNAL_FILE)
    table = leaderboard(state, metrics).to_csv(index=False)
    tracker.content(key, lambda: table, "leaderboard.csv")
    best = folder / "best.yaml"
    if best.exists():
        tracker.file(key, best)


def _objectives_param(config: Config) -> dict[str, Any]:
    """Return nothing for one objective, which has params of its own."""
    names = [objective.metric for objective in config.sweep.objectives or ()]
    return {"sweep.objectives": ", ".join(names)} if names else {}


def _scheduler_params(config: Config) -> dict[str, Any]:
    """Return nothing for the scheduler that there was before there were others."""
    settings = config.scheduler.model_dump()
    if settings["name"] == "full":
        return {}
    return {f"scheduler.{name}": value for name, value in settings.items()}
