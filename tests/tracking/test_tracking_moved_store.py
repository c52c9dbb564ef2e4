"""The folders that a store names follow the workspace that it is in."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from fmnist_sweep.config.schema import TrackingConfig
from fmnist_sweep.errors import ConfigError, RunError
from fmnist_sweep.tracking.mlflow import moved_store
from fmnist_sweep.tracking.mlflow.moved_store import open_at_home
from fmnist_sweep.tracking.mlflow.store import local_store_uri
from fmnist_sweep.tracking.opening import open_cleaner, open_reader, open_tracker
from fmnist_sweep.tracking.tracker import RunStart, RunStatus
from fmnist_sweep.workspace import Workspace

OPEN = """
import sys
from pathlib import Path
from fmnist_sweep.tracking.mlflow import moved_store
if len(sys.argv) > 2:  # ended by SIGKILL at the third folder that is rewritten
    import os, signal
    brought, calls = moved_store._brought, []
    def killed(*arguments):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return brought(*arguments)
    moved_store._brought = killed
root = Path(sys.argv[1])
moved_store.open_at_home(root / "mlruns" / "mlflow.db", root).close()
"""
COLUMNS = {
    "experiments": "artifact_location", "runs": "artifact_uri",
    "logged_models": "artifact_location", "model_versions": "source",
    "trace_tags": "value",
}  # fmt: skip


def opened(root: Path) -> None:
    open_at_home(database_of(root), root).close()


def opened_elsewhere(root: Path, *more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", OPEN, str(root), *more])


def database_of(root: Path) -> Path:
    return root / "mlruns" / "mlflow.db"


def rows(root: Path, query: str) -> list[str]:
    with closing(sqlite3.connect(database_of(root))) as connection:
        return [value for (value,) in connection.execute(query)]


def places(root: Path) -> list[str]:
    """All that the store names, but what is none of the workspace's."""
    named = [rows(root, f"SELECT {column} FROM {table}") for table, column in COLUMNS.items()]
    return [place for table in named for place in table]


def tracking(**given: object) -> TrackingConfig:
    default = {
        "enabled": True, "uri": None, "experiment": None, "tags": {}, "note": None,
        "every_steps": None, "keep_checkpoints": None, "registered_model": None,
    }  # fmt: skip
    return TrackingConfig.model_validate({**default, **given})


def run_in(root: Path, experiment: str, key: str) -> None:
    """A finished run with an artifact."""
    tracker = open_tracker(tracking(experiment=experiment), Workspace(root), "-")
    tracker.start(RunStart(key, key, started_at=1.0))
    tracker.content(key, lambda: key, "text.txt")
    tracker.end(key, RunStatus.FINISHED, at=2.0)
    tracker.close()


ELSEWHERE = [
    "s3://bucket/mlruns/artifacts/x",
    "mlflow-artifacts:/7",
    "file:///somewhere/mlruns/artifacts/y",
    "/w_rk%/mlrunsX/z",
    "runs:/0123/model",
]


@pytest.fixture
def workspace(root: Path) -> Path:
    """With places of every kind, in a folder whose name is a pattern, a percent sign and more."""
    folder = root / "w_rk%" / "a b ü"
    (folder / "mlruns").mkdir(parents=True)
    database = shutil.move(database_of(root), database_of(folder))
    opened(folder)
    run_in(folder, "fmnist-sweep", "one")
    base = folder.as_uri()
    with closing(sqlite3.connect(database)) as connection, connection:
        for number, place in enumerate([*ELSEWHERE, f"{folder}/mlruns/9", f"{base}/own"], start=5):
            connection.execute(
                "INSERT INTO experiments (experiment_id, name, artifact_location, workspace, "
                "lifecycle_stage) VALUES (?, ?, ?, 'default', 'active')",
                (number, place, place),
            )
        model = f"{base}/mlruns/artifacts/fmnist-sweep/models/m-1/artifacts"
        connection.execute(
            "INSERT INTO logged_models (model_id, experiment_id, name, artifact_location, "
            "creation_timestamp_ms, last_updated_timestamp_ms, status, lifecycle_stage) "
            "VALUES ('m-1', 1, 'm', ?, 0, 0, 2, 'active')",
            (model,),
        )
        connection.execute("INSERT INTO registered_models (name) VALUES ('m')")
        connection.execute(
            "INSERT INTO model_versions (name, version, source, storage_location) "
            "VALUES ('m', 1, ?, ?)",
            (model, model),
        )
    return folder


def test_every_place_inside_moves_and_no_other_does(workspace: Path) -> None:
    before = places(workspace)
    named = {place for place in before if place not in ELSEWHERE}
    assert len(named) >= 6
    moved = workspace.rename(workspace.with_name("elsewhere #1"))
    opened(moved)
    after = places(moved)
    assert [place for place in after if place in ELSEWHERE] == ELSEWHERE
    old, new = (str(workspace), workspace.as_uri()), (str(moved), moved.as_uri())
    assert after == [place.replace(old[1], new[1]).replace(old[0], new[0]) for place in before]
    assert rows(moved, "SELECT storage_location FROM model_versions") == rows(
        moved, "SELECT source FROM model_versions"
    )
    content = database_of(moved).read_bytes()
    opened(moved)
    assert database_of(moved).read_bytes() == content, "nothing is left to do"
    reader = open_reader(tracking(), Workspace(moved))
    assert reader.text(reader.run("one", ["fmnist-sweep"]), "text.txt") == "one"


def test_a_kill_leaves_all_places_old_and_many_openers_leave_all_new(workspace: Path) -> None:
    moved = workspace.rename(workspace.with_name("moved"))
    before = places(moved)
    assert opened_elsewhere(moved, "killed").wait() == -signal.SIGKILL
    assert places(moved) == before
    openers = [opened_elsewhere(moved) for _ in range(4)]
    assert [opener.wait() for opener in openers] == [0, 0, 0, 0]
    assert not [place for place in places(moved) if str(workspace) in place]


def test_a_writer_in_the_copy_is_waited_for(workspace: Path) -> None:
    moved = workspace.rename(workspace.with_name("moved"))
    with closing(sqlite3.connect(database_of(moved), isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        opener = opened_elsewhere(moved)
        with pytest.raises(subprocess.TimeoutExpired):
            opener.wait(1)
        writer.execute("ROLLBACK")
    assert opener.wait() == 0
    assert workspace.as_uri() not in " ".join(places(moved))


def test_another_path_to_the_same_folder_changes_nothing(workspace: Path) -> None:
    link = workspace.with_name("link")
    link.symlink_to(workspace)
    before = places(workspace)
    opened(link)
    assert places(workspace) == before


def test_a_program_that_knows_the_folder_by_another_path_is_not_led_astray(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moved_store, "_PATIENCE_SECONDS", 0.1)
    tracker = open_tracker(tracking(), Workspace(workspace), "e")
    moved = workspace.rename(workspace.with_name("as a container sees it"))
    before = places(moved)
    with pytest.raises(RunError, match="in use by a program that knows it under another path"):
        opened(moved)
    assert places(moved) == before
    tracker.close()
    opened(moved)
    assert places(moved) != before


def test_a_store_of_another_workspace_or_of_none_is_left_as_it_is(workspace: Path) -> None:
    moved = workspace.rename(workspace.with_name("moved"))
    before = places(moved)
    other = moved.with_name("other")
    (other / "mlruns").mkdir(parents=True)
    open_at_home(database_of(moved), other).close()
    assert places(moved) == before
    # A workspace that has no store of its own may file its runs in this one.
    (workspace / "mlruns").mkdir(parents=True)
    opened(moved)
    assert places(moved) == before


def test_a_copy_that_cannot_be_written_is_named(workspace: Path) -> None:
    with tempfile.TemporaryDirectory() as place:  # not below pytest's own, which is private
        copy = Path(place) / "copy"
        shutil.copytree(workspace, copy)
        with closing(sqlite3.connect(database_of(copy))) as connection:
            # With a log beside it SQLite cannot even read what it may not write.
            connection.execute("PRAGMA journal_mode=DELETE")
        for folder in (Path(place), copy, copy / "mlruns"):
            folder.chmod(0o555)
        database_of(copy).chmod(0o444)
        is_root = os.geteuid() == 0
        if is_root:  # whom nothing is forbidden
            os.seteuid(65534)
        try:
            with pytest.raises(ConfigError, match="copied or moved here from") as refused:
                opened(copy)
        finally:
            if is_root:
                os.seteuid(0)
            for folder in (Path(place), copy, copy / "mlruns"):
                folder.chmod(0o755)
    assert str(workspace) in str(refused.value)
    assert "cannot be written" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_lies_outside_is_not_deleted_whatever_the_store_says(workspace: Path) -> None:
    outside = workspace.with_name("outside")
    client = MlflowClient(local_store_uri(workspace))
    client.create_experiment("theirs", outside.as_uri())
    trash = client.create_experiment("deleted, but may be restored")
    client.delete_experiment(trash)
    run_in(workspace, "theirs", "two")
    (linked := workspace / "mlruns" / "artifacts" / "linked").symlink_to(outside)
    client.create_experiment("linked", linked.as_uri())
    run_in(workspace, "linked", "three")
    reader = open_reader(tracking(), Workspace(workspace))
    runs = reader.runs(["fmnist-sweep", "theirs", "linked"])
    assert len(runs) == 3
    there = sorted(outside.rglob("*"))
    cleaner = open_cleaner(tracking(), Workspace(workspace))
    assert {run.name for run in cleaner.elsewhere(runs).values()} == {"two", "three"}
    assert cleaner.artifact_bytes(runs) == len("one")
    cleaner.delete(runs)
    left = reader.runs(["fmnist-sweep", "theirs", "linked"], deleted=True)
    assert {run.name for run in left} == {"two", "three"}
    assert sorted(outside.rglob("*")) == there
    assert client.get_experiment(trash).lifecycle_stage == "deleted", "not gone for good"
    with pytest.raises(ValueError, match="is outside of"):
        cleaner._remove(outside.as_uri())
