"""`clean`: shows what a sweep takes, and deletes it when told yes."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path

import pytest
from mlflow.entities import ViewType
from program import QUICK_SPACE, SMALL, Store, calls

from fmnist_sweep.tracking.mlflow.moved_store import open_at_home

SWEEP = [*SMALL, *QUICK_SPACE, "train.epochs=1", "sweep.max_trials=2"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("swept")
    done = calls(folder, [*SWEEP, "sweep.name=one"], [*SWEEP, "sweep.name=other", "train.seed=2"])
    assert [call.exit_code for call in done] == [0, 0], done
    return folder


@pytest.fixture
def place(tmp_path: Path, swept: Path) -> Path:
    """A copy of one workspace with two sweeps, which works by itself."""
    shutil.copytree(swept, tmp_path, dirs_exist_ok=True)
    open_at_home(tmp_path / "mlruns" / "mlflow.db", tmp_path).close()
    return tmp_path


def names(folder: Path) -> list[str]:
    store = Store(folder)
    experiments = [found.experiment_id for found in store.client.search_experiments()]
    runs = store.client.search_runs(experiments, run_view_type=ViewType.ALL)
    return sorted(run.info.run_name for run in runs)


def test_it_shows_first_and_deletes_that_sweep_only(place: Path) -> None:
    both = ["one", "one-0", "one-1", "other", "other-0", "other-1"]
    (shown,) = calls(place, ["clean", "one"])
    assert shown.exit_code == 0, shown
    assert "3 runs in MLflow, their artifacts: " in shown.out
    assert "mlruns/sweeps/one: " in shown.out
    assert "python -m fmnist_sweep clean one yes" in shown.out
    assert names(place) == both
    artifacts = [
        Path(run.info.artifact_uri.removeprefix("file://"))
        for run in Store(place).runs
        if run.info.run_name.startswith("one")
    ]
    assert all(folder.is_dir() for folder in artifacts)

    deleted, again, back = calls(
        place, ["clean", "one", "yes"], ["clean", "one"], [*SWEEP, "sweep.name=one"]
    )
    assert deleted.exit_code == 0, deleted
    assert not any(folder.exists() for folder in artifacts)
    assert (again.exit_code, again.out) == (2, "")
    assert "sweep one: not found; there are: other" in again.err
    assert back.exit_code == 0, "the name is free for a sweep from the start"
    assert names(place) == both
    assert (place / "experiments" / "best" / "one.yaml").exists()


def test_a_sweep_that_runs_and_names_that_are_none_are_refused(place: Path) -> None:
    with (place / "mlruns" / "sweeps" / "one" / "lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (running,) = calls(place, ["clean", "one", "yes"])
    assert running.exit_code == 1
    assert "sweep one is already running" in running.err
    assert len(names(place)) == 6
    mistakes = {
        ("../one",): "clean: SWEEP=../one: must be a name",
        ("one", "no"): "clean: no: must be yes, or omitted",
        (): "clean: takes SWEEP [yes], given: none",
    }
    each = calls(place, *(["clean", *words] for words in mistakes))
    for refused, told in zip(each, mistakes.values(), strict=True):
        assert (refused.exit_code, refused.out) == (2, "")
        assert told in refused.err


def test_a_sweep_without_tracking_is_deleted_too(tmp_path: Path) -> None:
    made, shown, deleted = calls(
        tmp_path, [*SWEEP, "sweep.name=one", "tracking=off"], ["clean", "one"],
        ["clean", "one", "yes"],
    )  # fmt: skip
    assert [made.exit_code, shown.exit_code, deleted.exit_code] == [0, 0, 0], (shown, deleted)
    assert not list((tmp_path / "mlruns" / "sweeps").iterdir())


def test_what_lies_in_another_workspace_is_left_there(place: Path, tmp_path: Path) -> None:
    """A copy that is told to use the original's store has the original's runs there."""
    copy = tmp_path / "copy"
    shutil.copytree(place / "mlruns" / "sweeps", copy / "mlruns" / "sweeps")
    before = {path: path.read_bytes() for path in (place / "mlruns" / "artifacts").rglob("*.keras")}
    assert before
    store = f"tracking.uri=sqlite:///{place / 'mlruns' / 'mlflow.db'}"
    (deleted,) = calls(copy, ["clean", "one", "yes", store])
    assert deleted.exit_code == 0, deleted
    assert "3 runs" in deleted.out
    assert names(place) == ["one", "one-0", "one-1", "other", "other-0", "other-1"]
    assert all(path.read_bytes() == content for path, content in before.items())
