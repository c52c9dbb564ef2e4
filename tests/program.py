"""The program in a folder of its own, and what it leaves there."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from forked import Forked, run_forked
from mlflow import MlflowClient
from mlflow.entities import Run

REPOSITORY = Path(__file__).parents[1]
SMALL = [
    "data=synthetic", "data.train_size=600", "data.test_size=100", "data.image_size=12",
    "split.validation=100", "split.test=100", "train.threads=1", "report=false",
    "tracking.registered_model=null",
]  # fmt: skip
"""Drawn garments, so that a sweep takes seconds; and no more seconds for what follows it."""
SHOWN = ["report=true", "tracking.registered_model=auto"]
"""What follows a sweep after all: report, pictures, and its winner in the registry."""
QUICK_SPACE = [
    "model=small_cnn", "model.conv_blocks=[{channels: 4}]", "model.fc_layers=[]", "train.epochs=2",
    "+space.train.optimizer.learning_rate={float: [1e-3, 1e-1], log: true}",
    "+space.train.batch_size={choice: [25, 50, 100]}",
    "+space.model.conv_blocks.count={int: [1, 2]}",
    "+space.model.conv_blocks.each.channels={choice: [2, 4]}",
]  # fmt: skip
EPOCH_METRICS = {
    "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "epoch_seconds",
}  # fmt: skip
LAST_METRICS = {"best_epoch", "best_val_accuracy", "test_accuracy", "test_loss", "train_seconds"}
PROGRAM = "from fmnist_sweep.__main__ import run; run()"
"""What `python -m fmnist_sweep` does."""


def program(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program in a folder of its own; what it prints comes back."""
    return run_forked(PROGRAM, folder, arguments, environment())


def started(folder: Path, *arguments: str, own_group: bool = False) -> Forked:
    """Start the program in a folder of its own; where asked, in a process group of its own."""
    before = "import os; os.setsid(); " if own_group else ""
    return Forked(before + PROGRAM, folder, arguments, environment())


@dataclass
class Called:
    """What one call of the program gave; `err` and `out` are what it printed."""

    exit_code: int
    out: str
    err: str


_DRIVER = """
import contextlib, io, json, os, sys
from fmnist_sweep.cli.app import main

for folder, arguments in json.load(sys.stdin):
    os.chdir(folder)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
"""


def calls(folder: Path, *each: Sequence[str], before: str = "") -> list[Called]:
    """Call the program several times in one process of its own, which spares starting TensorFlow
    for each; `before` is Python to run first."""
    return calls_in(*((folder, one) for one in each), before=before)


def calls_in(*each: tuple[Path, Sequence[str]], before: str = "") -> list[Called]:
    """Call the program several times in one process, each time in a folder of its own."""
    requests = json.dumps([(str(folder), list(arguments)) for folder, arguments in each])
    done = run_forked(before + _DRIVER, each[0][0], (), environment(), requests)
    assert done.returncode == 0, done.stderr
    return [Called(*json.loads(line)) for line in done.stdout.splitlines()]


def environment() -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    return {**ours, "PYTHONPATH": str(REPOSITORY)}


def sweep_folder(folder: Path) -> Path:
    (found,) = (folder / "mlruns" / "sweeps").iterdir()
    return found


def artifact(folder: Path, run: Run, path: str) -> Path:
    return Path(run.info.artifact_uri.removeprefix("file://")) / path


class Store:
    """What a folder's MLflow store says."""

    def __init__(self, folder: Path, experiment: str = "fmnist-sweep") -> None:
        self.client = MlflowClient(f"sqlite:///{folder / 'mlruns' / 'mlflow.db'}")
        found = self.client.get_experiment_by_name(experiment)
        assert found is not None
        runs = list(self.client.search_runs([found.experiment_id], max_results=500))
        self.parents = [run for run in runs if run.data.tags.get("fmnist.role") == "sweep"]
        self.children = sorted(
            (run for run in runs if run.data.tags.get("fmnist.role") == "trial"),
            key=lambda run: int(run.data.tags["trial"]),
        )
        self.runs = runs

    def steps(self, run: Run, metric: str) -> list[int]:
        history = self.client.get_metric_history(run.info.run_id, metric)
        return sorted(logged.step for logged in history)

    def values(self, run: Run, metric: str) -> list[tuple[int, float]]:
        history = self.client.get_metric_history(run.info.run_id, metric)
        return sorted((logged.step, logged.value) for logged in history)


def leaderboard(folder: Path) -> pd.DataFrame:
    """The leaderboard that MLflow has, times aside."""
    store = Store(folder)
    table = pd.read_csv(artifact(folder, store.parents[0], "leaderboard.csv"))
    return table.drop(columns="train_seconds")


def assert_same_outcome(one: Path, other: Path) -> None:
    """Leaderboards digit for digit, digests included, and every metric of every trial."""
    pd.testing.assert_frame_equal(leaderboard(one), leaderboard(other), check_exact=True)
    first, second = Store(one), Store(other)
    for mine, theirs in zip(first.children, second.children, strict=True):
        assert mine.data.params == theirs.data.params
        for metric in (EPOCH_METRICS | LAST_METRICS) - {"epoch_seconds", "train_seconds"}:
            assert first.values(mine, metric) == second.values(theirs, metric)


def wait_for_epochs(folder: Path, count: int) -> None:
    """Wait until a running sweep has journaled that many epochs."""
    for _ in range(3000):
        journals = list(folder.glob("mlruns/sweeps/*/journal.jsonl"))
        if journals and journals[0].read_text().count('"kind":"epoch"') >= count:
            return
        time.sleep(0.1)
    raise AssertionError(f"no {count} epochs in five minutes")
