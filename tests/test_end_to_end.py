"""Whole sweeps, as a user runs them: real processes, real MLflow, real Keras Tuner."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

REPOSITORY = Path(__file__).parents[1]
SMALL = [
    "data=synthetic", "data.train_size=600", "data.test_size=100", "data.image_size=12",
    "split.validation=100", "split.test=100", "train.threads=1",
]  # fmt: skip
"""Drawn garments, so that a sweep takes seconds."""
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


def program(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program in a folder of its own; what it prints comes back."""
    return subprocess.run(
        [sys.executable, "-m", "fmnist_sweep", *arguments],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=500,
    )  # fmt: skip


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


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `+sweep=smoke` ran on the real data."""
    folder = tmp_path_factory.mktemp("smoke")
    done = program(folder, "+sweep=smoke")
    assert done.returncode == 0, done.stderr
    (folder / "printed").write_text(done.stdout)
    return folder


def test_smoke_leaves_one_parent_and_its_children_all_finished(smoke: Path) -> None:
    store = Store(smoke)
    (parent,) = store.parents
    assert len(store.children) >= 4
    assert {run.info.status for run in store.runs} == {"FINISHED"}
    for child in store.children:
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert child.info.run_name == f"{parent.info.run_name}-{child.data.tags['trial']}"


def test_smoke_logs_every_name_of_a_trial(smoke: Path) -> None:
    store = Store(smoke)
    for child in store.children:
        epochs = store.steps(child, "loss")
        assert epochs == list(range(1, len(epochs) + 1))
        for metric in EPOCH_METRICS:
            assert store.steps(child, metric) == epochs
        for metric in LAST_METRICS:
            assert store.steps(child, metric)[-1] == epochs[-1]
        assert {
            "model.conv_blocks.count", "model.conv_blocks.0.channels", "model.parameters",
            "train.optimizer.learning_rate",
        } <= set(child.data.params)  # fmt: skip
        assert {"data.sha256", "split.sha256"} <= set(child.data.tags)
        assert artifact(smoke, child, "config.yaml").exists()
        assert artifact(smoke, child, "checkpoints/best.keras").exists()


def test_smoke_logs_every_name_of_the_sweep(smoke: Path) -> None:
    (parent,) = Store(smoke).parents
    for name in (
        "journal.jsonl", "leaderboard.csv", "split/indices.npz", "split/classes.csv", "best.yaml",
    ):  # fmt: skip
        assert artifact(smoke, parent, name).exists(), name
    assert parent.data.metrics["official_test_looks"] == 1
    assert 0.5 < parent.data.metrics["official_test_accuracy"] < 1
    contexts = {tag.value for given in parent.inputs.dataset_inputs for tag in given.tags}
    assert contexts == {"train", "validation", "test", "official_test"}
    for context in contexts:
        assert re.fullmatch("[0-9a-f]{64}", parent.data.tags[f"data.{context}.sha256"])


def test_smoke_promotes_and_says_what_to_do_next(smoke: Path) -> None:
    printed = (smoke / "printed").read_text()
    assert "promoted" in printed
    assert "official_test_accuracy" in printed
    for command in ("+best=smoke-", "+sweep=smoke sweep.max_trials=", "mlflow ui"):
        assert command in printed


def test_smoke_in_another_folder_gives_the_same_digits(smoke: Path, tmp_path: Path) -> None:
    assert program(tmp_path, "+sweep=smoke").returncode == 0
    assert_same_outcome(smoke, tmp_path)


def test_the_winner_reproduces_from_its_saved_config(smoke: Path) -> None:
    (best,) = (smoke / "experiments" / "best").glob("*.yaml")
    done = program(smoke, f"+best={best.stem}")
    assert done.returncode == 0, done.stderr
    (run,) = Store(smoke, "fmnist-train").runs
    assert run.info.status == "FINISHED"
    winner = leaderboard(smoke).iloc[0]
    assert run.data.tags["best_weights.sha256"] == winner["best_weights_sha256"]
    assert run.data.metrics["test_accuracy"] == winner["test_accuracy"]


def test_running_a_finished_sweep_again_changes_nothing(smoke: Path) -> None:
    before = (sweep_folder(smoke) / "journal.jsonl").read_bytes()
    done = program(smoke, "+sweep=smoke")
    assert done.returncode == 0, done.stderr
    assert "go on" in done.stdout
    assert (sweep_folder(smoke) / "journal.jsonl").read_bytes() == before
    assert {run.info.status for run in Store(smoke).runs} == {"FINISHED"}


@pytest.mark.parametrize("tuner", ["random", "grid", "bayesian"])
def test_a_raised_budget_ends_where_the_larger_one_would_have(tuner: str, tmp_path: Path) -> None:
    whole, raised = tmp_path / "whole", tmp_path / "raised"
    for folder, budgets in ((whole, [5]), (raised, [2, 5])):
        folder.mkdir()
        for budget in budgets:
            points = ["tuner.initial_points=3"] if tuner == "bayesian" else []
            done = program(
                folder, *SMALL, *QUICK_SPACE, f"tuner={tuner}", *points,
                f"sweep.max_trials={budget}",
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
    assert_same_outcome(whole, raised)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_sweep_that_was_stopped_goes_on_as_if_it_never_was(
    number: signal.Signals, tmp_path: Path
) -> None:
    arguments = [*SMALL, *QUICK_SPACE, "tuner=hyperband", "train.epochs=3", "sweep.max_trials=5"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for folder in (whole, stopped):
        folder.mkdir()
    assert program(whole, *arguments).returncode == 0

    with subprocess.Popen(
        [sys.executable, "-m", "fmnist_sweep", *arguments],
        cwd=stopped, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as running:  # fmt: skip
        wait_for_epochs(stopped, 3)
        running.send_signal(number)
        printed, _ = running.communicate(timeout=60)
    if number is signal.SIGKILL:
        assert running.returncode == -signal.SIGKILL
    else:
        assert running.returncode == 128 + number
        assert "To go on: python -m fmnist_sweep" in printed
        assert "KILLED" in {run.info.status for run in Store(stopped).runs}
        assert "RUNNING" not in {run.info.status for run in Store(stopped).runs}
    assert program(stopped, *arguments).returncode == 0
    assert_same_outcome(whole, stopped)
    assert {run.info.status for run in Store(stopped).runs} == {"FINISHED"}


def wait_for_epochs(folder: Path, count: int) -> None:
    """Wait until a running sweep has journaled that many epochs."""
    for _ in range(600):
        journals = list(folder.glob("mlruns/sweeps/*/journal.jsonl"))
        if journals and journals[0].read_text().count('"kind":"epoch"') >= count:
            return
        time.sleep(0.1)
    raise AssertionError(f"no {count} epochs in a minute")


def test_synthetic_runs_cannot_be_taken_for_the_real_thing(tmp_path: Path) -> None:
    done = program(tmp_path, *SMALL, *QUICK_SPACE, "sweep.max_trials=1", "train.epochs=1")
    assert done.returncode == 0, done.stderr
    store = Store(tmp_path)
    assert all(run.info.run_name.startswith("synthetic-") for run in store.runs)
    assert all(run.data.tags["data.synthetic"] == "true" for run in store.runs)


def test_confirmation_has_mean_and_spread(tmp_path: Path) -> None:
    done = program(
        tmp_path, *SMALL, *QUICK_SPACE, "train.epochs=1", "sweep.max_trials=2",
        "sweep.confirm={top: 1, seeds: 2}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "confirmation will take up to 2 further epochs" in done.stdout
    assert re.search(r"0\.\d{4} ± 0\.\d{4}", done.stdout)
    store = Store(tmp_path)
    confirmations = [r for r in store.runs if r.data.tags["fmnist.role"] == "confirmation"]
    assert len(confirmations) == 2
    assert {run.info.status for run in store.runs} == {"FINISHED"}


def test_a_diverging_trial_fails_and_the_sweep_goes_on(tmp_path: Path) -> None:
    done = program(
        tmp_path, *SMALL, "model=small_cnn", "model.conv_blocks=[]", "model.fc_layers=[]",
        "model.head.batch_norm=false", "train.epochs=1", "train.optimizer.name=sgd", "tuner=grid",
        "+space.train.optimizer.learning_rate={choice: [0.01, 1e38]}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "not finite in epoch 1" in done.stdout
    statuses = {run.data.tags["trial"]: run.info.status for run in Store(tmp_path).children}
    assert statuses == {"0": "FINISHED", "1": "FAILED"}


def test_the_readmes_own_sweep_runs(tmp_path: Path) -> None:
    readme = (REPOSITORY / "README.md").read_text()
    (shown,) = re.findall(r"```yaml\n(# @package _global_\n.*?)```", readme, flags=re.DOTALL)
    assert shown == (REPOSITORY / "experiments" / "sweep" / "mine.yaml").read_text()
    (tmp_path / "experiments" / "sweep").mkdir(parents=True)
    (tmp_path / "experiments" / "sweep" / "mine.yaml").write_text(shown)
    done = program(tmp_path, "+sweep=mine", *SMALL, "train.epochs=1", "sweep.max_trials=2")
    assert done.returncode == 0, done.stderr
    assert "synthetic-mine-" in done.stdout


@pytest.mark.parametrize("name", [path.stem for path in (REPOSITORY / "conf/sweep").glob("*.yaml")])
def test_each_shipped_sweep_runs_on_little_data(name: str, tmp_path: Path) -> None:
    done = program(tmp_path, f"+sweep={name}", *SMALL, "train.epochs=1", "sweep.max_trials=2")
    assert done.returncode == 0, done.stderr
    assert {run.info.status for run in Store(tmp_path).runs} == {"FINISHED"}


BAD = {
    "space.train.bach_size": ["+space.train.bach_size={choice: [1]}"],
    "space.data": ["+space.data.limit={choice: [100]}"],
    "train.threads": ["+space.train.threads={choice: [1, 2]}"],
    "the range is empty": ["+space.train.optimizer.learning_rate={float: [1e-2, 1e-4]}"],
    "is not searched": [
        "+space.train.batch_size={choice: [32], when: {train.optimizer.name: [sgd]}}"
    ],
    "in a circle": [
        "+space.train.batch_size={choice: [32], when: {train.label_smoothing: [0.1]}}",
        "+space.train.label_smoothing={choice: [0.1], when: {train.batch_size: [32]}}",
    ],
    "model.conv_blocks.0.activation": ["model.conv_blocks=[{activation: rleu}]"],
    "train.optimizer.name": ["train.optimizer.name=adagrad"],
    "conv block 0": ["model.conv_blocks=[{filter: 40, pad: valid}]"],
    "sweep.name": ["+sweep=smoke", "sweep.name=../elsewhere"],
    "split.test": ["split.test=55"],
    "/nowhere": ["data=fashion_mnist", "data.limit=null", "data.dir=/nowhere"],
    "needs a budget": ["+space.train.batch_size={choice: [32]}"],
    "objective.metric": ["+sweep=smoke", "sweep.objective.metric=test_accuracy"],
    "pixel3": ["data=csv", "data.train_file={folder}/column.csv"],
    "label": ["data=csv", "data.train_file={folder}/label.csv"],
    "pixel1": ["data=csv", "data.train_file={folder}/pixel.csv"],
    "train-images": ["data=fashion_mnist", "data.limit=null", "data.dir={folder}"],
    "cannot be written": ["model=small_cnn"],
}
CSV = {
    "column.csv": "label,pixel1,pixel2,pixel4\n0,1,2,4\n",
    "label.csv": "label,pixel1,pixel2,pixel3,pixel4\n-1,1,2,3,4\n",
    "pixel.csv": "label,pixel1,pixel2,pixel3,pixel4\n0,256,2,3,4\n",
}


def bad_files(folder: Path) -> None:
    """Write data files with one thing wrong in each, and a truncated Fashion-MNIST."""
    for name, text in CSV.items():
        (folder / name).write_text(text)
    real = Path("/usr/share/datasets/fashion-mnist")
    for path in real.glob("*.gz"):
        content = path.read_bytes()
        half = "train-images" in path.name
        (folder / path.name).write_bytes(content[: len(content) // 2] if half else content)


@pytest.mark.parametrize("named", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(
    named: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("data")
    bad_files(elsewhere)
    overrides = [override.format_map({"folder": elsewhere}) if "{folder}" in override else override
                 for override in BAD[named]]  # fmt: skip
    small = SMALL
    if overrides[0].startswith("data=csv"):
        small = ["data.image_size=[2, 2]"]
    elif overrides[0] in ("data=fashion_mnist", "+sweep=smoke"):
        small = []
    if named == "cannot be written":
        (tmp_path / "mlruns").write_text("a file, where a folder is to be")
    before = list(tmp_path.iterdir())
    done = program(tmp_path, *overrides[:1], *small, *overrides[1:])
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert named in line
    assert list(tmp_path.iterdir()) == before


def test_help_needs_neither_tensorflow_nor_mlflow() -> None:
    code = (
        "import sys\n"
        "from fmnist_sweep.app import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'tensorflow', 'keras', 'mlflow', 'pandas'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
