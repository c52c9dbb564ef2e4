"""Whole sweeps, as a user runs them: real processes, real MLflow, real Keras Tuner."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from program import (
    EPOCH_METRICS,
    LAST_METRICS,
    QUICK_SPACE,
    REPOSITORY,
    SMALL,
    Called,
    Store,
    artifact,
    assert_same_outcome,
    calls,
    calls_in,
    leaderboard,
    program,
    sweep_folder,
)  # fmt: skip

MINE = REPOSITORY / "experiments" / "sweep" / "mine.yaml"


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
    for command in ("+best=smoke-", "fmnist_sweep ui"):
        assert command in printed
    # The machine's threads with it, so that it goes on with this sweep on any machine.
    assert re.search(r"\+sweep=smoke train\.threads=\d+ sweep\.max_trials=", printed)


@pytest.mark.release
def test_smoke_in_another_folder_gives_the_same_digits(smoke: Path, tmp_path: Path) -> None:
    assert program(tmp_path, "+sweep=smoke").returncode == 0
    assert_same_outcome(smoke, tmp_path)


@pytest.fixture(scope="module")
def later(smoke: Path) -> list[Called]:
    """The winner's saved config, and the same sweep once more; the journal as it was before."""
    (best,) = (smoke / "experiments" / "best").glob("*.yaml")
    (smoke / "before").write_bytes((sweep_folder(smoke) / "journal.jsonl").read_bytes())
    return calls(smoke, [f"+best={best.stem}"], ["+sweep=smoke"])


def test_the_winner_reproduces_from_its_saved_config(smoke: Path, later: list[Called]) -> None:
    assert later[0].exit_code == 0, later[0]
    (run,) = Store(smoke, "fmnist-train").runs
    assert run.info.status == "FINISHED"
    winner = leaderboard(smoke).iloc[0]
    assert run.data.tags["best_weights.sha256"] == winner["best_weights_sha256"]
    assert run.data.metrics["test_accuracy"] == winner["test_accuracy"]


def test_running_a_finished_sweep_again_changes_nothing(smoke: Path, later: list[Called]) -> None:
    assert later[1].exit_code == 0, later[1]
    assert "continue" in later[1].out
    before = (smoke / "before").read_bytes()
    assert (sweep_folder(smoke) / "journal.jsonl").read_bytes() == before
    assert {run.info.status for run in Store(smoke).runs} == {"FINISHED"}


SWEEPS = {
    "synthetic": [*SMALL, *QUICK_SPACE, "sweep.max_trials=1", "train.epochs=1"],
    "confirmed": [
        *SMALL, *QUICK_SPACE, "train.epochs=1", "sweep.max_trials=2",
        "sweep.confirm={top: 1, seeds: 2}",
    ],
    "diverging": [
        *SMALL, "model=small_cnn", "model.conv_blocks=[]", "model.fc_layers=[]",
        "model.head.batch_norm=false", "train.epochs=1", "train.optimizer.name=sgd", "tuner=grid",
        "+space.train.optimizer.learning_rate={choice: [0.01, 1e38]}",
    ],
    "mine": ["+sweep=mine", *SMALL, "train.epochs=1", "sweep.max_trials=2"],
}  # fmt: skip
Ran = dict[str, tuple[Path, Called]]
SHIPPED = [path.stem for path in (REPOSITORY / "conf/sweep").glob("*.yaml")]


def on_little_data(name: str) -> list[str]:
    small = ["split=balanced", *SMALL, "data.limit=null", "sweep.max_trials=2"]
    small += ["train.steps=5"] if name == "ablation" else ["train.epochs=1"]
    return [f"+sweep={name}", *small]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Sweeps that ran, each in a folder of its own, and what they printed; one process for all."""
    each = SWEEPS | {f"shipped {name}": on_little_data(name) for name in SHIPPED}
    folders = {name: tmp_path_factory.mktemp(name.replace(" ", "-")) for name in each}
    (folders["mine"] / "experiments" / "sweep").mkdir(parents=True)
    shutil.copy(MINE, folders["mine"] / "experiments" / "sweep")
    called = calls_in(*((folders[name], arguments) for name, arguments in each.items()))
    return {name: (folders[name], one) for name, one in zip(each, called, strict=True)}


def test_synthetic_runs_cannot_be_taken_for_the_real_thing(ran: Ran) -> None:
    folder, done = ran["synthetic"]
    assert done.exit_code == 0, done.err
    store = Store(folder)
    assert all(run.info.run_name.startswith("synthetic-") for run in store.runs)
    assert all(run.data.tags["data.synthetic"] == "true" for run in store.runs)


def test_confirmation_has_mean_and_spread(ran: Ran) -> None:
    folder, done = ran["confirmed"]
    assert done.exit_code == 0, done.err
    assert "confirmation will take up to 2 more epochs" in done.out
    assert re.search(r"[01]\.\d{4} ± 0\.\d{4}", done.out)
    store = Store(folder)
    confirmations = [r for r in store.runs if r.data.tags["fmnist.role"] == "confirmation"]
    assert len(confirmations) == 2
    assert {run.info.status for run in store.runs} == {"FINISHED"}


def test_a_diverging_trial_fails_and_the_sweep_goes_on(ran: Ran) -> None:
    folder, done = ran["diverging"]
    assert done.exit_code == 0, done.err
    assert "not finite in epoch 1" in done.out
    statuses = {run.data.tags["trial"]: run.info.status for run in Store(folder).children}
    assert statuses == {"0": "FINISHED", "1": "FAILED"}


def test_the_readmes_own_sweep_runs(ran: Ran) -> None:
    readme = (REPOSITORY / "README.md").read_text()
    (shown,) = re.findall(r"```yaml\n(# @package _global_\n.*?)```", readme, flags=re.DOTALL)
    assert shown == MINE.read_text()
    _, done = ran["mine"]
    assert done.exit_code == 0, done.err
    assert "synthetic-mine-" in done.out


@pytest.mark.parametrize("name", SHIPPED)
def test_each_shipped_sweep_runs_on_little_data(name: str, ran: Ran) -> None:
    folder, done = ran[f"shipped {name}"]
    assert done.exit_code == 0, done.err
    assert {run.info.status for run in Store(folder).runs} == {"FINISHED"}
