"""The files of a sweep's own run: its config, its split, and what stands at its end."""

from __future__ import annotations

from pathlib import Path

from fmnist_sweep.config.schema import Config
from fmnist_sweep.config.yaml_text import to_yaml
from fmnist_sweep.data import Dataset, Split
from fmnist_sweep.data.split_report import indices_npz, split_table
from fmnist_sweep.search.journal import JOURNAL_FILE
from fmnist_sweep.search.leaderboard import leaderboard
from fmnist_sweep.search.state import SweepState
from fmnist_sweep.tracking.run_log import CONFIG_FILE
from fmnist_sweep.tracking.tracker import Tracker


def log_sweep_config(tracker: Tracker, key: str, config: Config) -> None:
    """Write the whole config, what is searched included."""
    values = {**config.model_dump(), **config.as_given()}
    tracker.content(key, lambda: to_yaml(values), CONFIG_FILE)


def log_split(tracker: Tracker, key: str, split: Split, dataset: Dataset) -> None:
    """Write the split's index arrays, and how often each class is in each set."""
    tracker.content(key, lambda: indices_npz(split), "split/indices.npz")
    tracker.content(
        key, lambda: split_table(split, dataset).to_csv(index=False), "split/classes.csv"
    )


def log_summary(tracker: Tracker, key: str, folder: Path, state: SweepState) -> None:
    """Write what stands at a sweep's end: journal, leaderboard, and the winner's config."""
    tracker.file(key, folder / JOURNAL_FILE)
    table = leaderboard(state).to_csv(index=False)
    tracker.content(key, lambda: table, "leaderboard.csv")
    best = folder / "best.yaml"
    if best.exists():
        tracker.file(key, best)
