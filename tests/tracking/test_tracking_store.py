from __future__ import annotations

import hashlib
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from fmnist_sweep.errors import ConfigError, RunError, UserError
from fmnist_sweep.tracking.mlflow.store import (
    ensure_local_store,
    local_store_uri,
    prepare_store,
    resolve_tracking_uri,
    without_secrets,
)

CREATE = """
import sys
from pathlib import Path
from fmnist_sweep.tracking.mlflow.store import ensure_local_store
ensure_local_store(Path(sys.argv[1]))
"""
OPEN = """
import sys
from pathlib import Path
from fmnist_sweep.config.schema import TrackingConfig
from fmnist_sweep.tracking.opening import open_tracker
from fmnist_sweep.workspace import Workspace
config = TrackingConfig(
    enabled=True, uri=None, experiment=None, tags={}, note=None, every_steps=None,
    keep_checkpoints=None, registered_model=None,
)
open_tracker(config, Workspace(Path(sys.argv[1])), "both")
"""


def in_another_process(code: str, root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def rows(database: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# --- which URI --------------------------------------------------------------------------------


def test_config_comes_before_environment_before_the_local_store(tmp_path: Path) -> None:
    config, environment = "http://config:5000", "http://environment:5000"
    assert resolve_tracking_uri(config, environment, tmp_path) == config
    assert resolve_tracking_uri(None, environment, tmp_path) == environment
    local = resolve_tracking_uri(None, None, tmp_path)
    assert local == local_store_uri(tmp_path) == f"sqlite:///{tmp_path}/mlruns/mlflow.db"


def test_local_store_does_not_depend_on_a_later_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert local_store_uri(Path()) == local_store_uri(tmp_path)


@pytest.mark.parametrize(
    "uri",
    ["sqlite:///relative.db", "sqlite://", "sqlite:///:memory:", "mlruns", "file:///tmp/x", ""],
)
@pytest.mark.parametrize("origin", ["tracking.uri", "MLFLOW_TRACKING_URI"])
def test_unusable_uris_are_refused_in_one_line(uri: str, origin: str, tmp_path: Path) -> None:
    config, environment = (uri, None) if origin == "tracking.uri" else (None, uri)
    with pytest.raises(ConfigError) as refused:
        resolve_tracking_uri(config, environment, tmp_path)
    message = str(refused.value)
    assert "\n" not in message
    assert f"{origin}={uri}" in message
    assert "sqlite:////" in message, "says what is allowed"


def test_refusal_of_a_relative_path_gives_the_path_to_write_instead(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        resolve_tracking_uri("sqlite:///runs/my.db", None, tmp_path)
    advised = str(refused.value).split()[-1]
    assert resolve_tracking_uri(advised, None, tmp_path) == f"sqlite:///{tmp_path}/runs/my.db"


def test_passwords_are_not_shown() -> None:
    shown = without_secrets("cannot reach postgresql://me:hunter2@host/db")
    assert "hunter2" not in shown
    assert "postgresql://me:" in shown
    assert without_secrets("http://127.0.0.1:5000/a@b") == "http://127.0.0.1:5000/a@b"


# --- making a store ---------------------------------------------------------------------------


def test_store_is_made_once_quietly_and_leaves_nothing_else(tmp_path: Path) -> None:
    creator = in_another_process(CREATE, tmp_path)
    output, _ = creator.communicate()
    assert (creator.returncode, output) == (0, "")
    database = tmp_path / "mlruns" / "mlflow.db"
    assert names_in(tmp_path) == {"mlruns"}
    assert names_in(database.parent) == {"mlflow.db"}
    before = hashlib.sha256(database.read_bytes()).hexdigest()
    ensure_local_store(tmp_path)
    assert hashlib.sha256(database.read_bytes()).hexdigest() == before


def test_two_processes_at_once_make_one_store_and_one_experiment(tmp_path: Path) -> None:
    both = [in_another_process(OPEN, tmp_path) for _ in range(2)]
    outputs = [process.communicate()[0] for process in both]
    assert [
        (process.returncode, output) for process, output in zip(both, outputs, strict=True)
    ] == [
        (0, ""),
        (0, ""),
    ]
    database = tmp_path / "mlruns" / "mlflow.db"
    assert rows(database, "SELECT count(*) FROM experiments WHERE name = 'both'") == [(1,)]
    assert names_in(database.parent) == {"mlflow.db"}


def test_kills_while_a_store_is_made_leave_none_and_the_next_start_makes_it(
    tmp_path: Path,
) -> None:
    database = tmp_path / "mlruns" / "mlflow.db"
    unfinished = database.with_name("mlflow.db.new")
    whole = tmp_path / "whole"
    ensure_local_store(whole)
    tables = rows(whole / "mlruns" / "mlflow.db", "SELECT name FROM sqlite_master ORDER BY name")
    size = (whole / "mlruns" / "mlflow.db").stat().st_size

    def progress() -> int:
        return unfinished.stat().st_size if unfinished.exists() else -1

    for moment in (0, size // 3, size * 2 // 3):
        if unfinished.exists():
            unfinished.unlink()  # so that progress is the next creator's
        creator = in_another_process(CREATE, tmp_path)
        while creator.poll() is None and progress() < moment:
            time.sleep(0.001)
        creator.send_signal(signal.SIGKILL)
        creator.communicate()
        assert creator.returncode == -signal.SIGKILL, "killed before it was done"
        assert not database.exists()
    assert unfinished.exists(), "a dead attempt lies there"
    ensure_local_store(tmp_path)
    assert names_in(database.parent) == {"mlflow.db"}
    assert rows(database, "SELECT name FROM sqlite_master ORDER BY name") == tables


def test_kill_between_the_two_names_is_tidied_up(tmp_path: Path) -> None:
    ensure_local_store(tmp_path)
    database = tmp_path / "mlruns" / "mlflow.db"
    database.with_name("mlflow.db.new").hardlink_to(database)
    ensure_local_store(tmp_path)
    assert names_in(database.parent) == {"mlflow.db"}
    assert rows(database, "SELECT count(*) FROM runs") == [(0,)]


def test_any_sqlite_uri_gets_its_store(tmp_path: Path) -> None:
    database = tmp_path / "else where" / "100%#.db"
    artifacts = prepare_store(f"sqlite:///{database}", tmp_path)
    assert artifacts == tmp_path / "mlruns" / "artifacts"
    assert rows(database, "SELECT count(*) FROM runs") == [(0,)]


# --- what is refused --------------------------------------------------------------------------


def a_foreign_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE accounts (name TEXT)")


def a_half_made_store(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for table in ("runs", "alembic_version", "_alembic_tmp_tags"):
            connection.execute(f"CREATE TABLE {table} (name TEXT)")


@pytest.mark.parametrize(
    "make",
    [
        a_foreign_database,
        a_half_made_store,
        lambda path: path.write_bytes(b"no database" * 100),
        lambda path: path.touch(),
        lambda path: path.mkdir(),
    ],
    ids=["foreign", "half-made", "garbage", "empty", "folder"],
)
def test_file_that_is_no_store_is_refused_untouched(make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    database = tmp_path / "mlruns" / "mlflow.db"
    database.parent.mkdir()
    make(database)
    before = database.read_bytes() if database.is_file() else None
    with pytest.raises(ConfigError, match=r"mlflow\.db") as refused:
        ensure_local_store(tmp_path)
    assert "\n" not in str(refused.value)
    assert before == (database.read_bytes() if database.is_file() else None)
    assert names_in(database.parent) == {"mlflow.db"}


def test_store_that_another_program_holds_is_taken_for_a_store(tmp_path: Path) -> None:
    ensure_local_store(tmp_path)
    with closing(sqlite3.connect(tmp_path / "mlruns" / "mlflow.db")) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        ensure_local_store(tmp_path)


def test_place_that_cannot_hold_a_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "mlruns").write_text("a file")
    with pytest.raises(UserError) as refused:
        ensure_local_store(tmp_path)
    assert "\n" not in str(refused.value)
    assert str(tmp_path / "mlruns") in str(refused.value)
    assert names_in(tmp_path) == {"mlruns"}


def test_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    limited = CREATE.replace(
        "ensure_local_store(Path",
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "ensure_local_store(Path",
    )
    creator = in_another_process(limited, tmp_path)
    output, _ = creator.communicate()
    assert creator.returncode == 1
    assert "RunError: MLflow could not create its store" in output.splitlines()[-1]
    assert not [name for name in names_in(tmp_path / "mlruns") if name.startswith("mlflow.db")]
    ensure_local_store(tmp_path)


def test_server_that_is_not_there_is_named_at_once(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        uri = f"http://me:secret@127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(RunError, match="does not respond") as refused:
            prepare_store(uri, tmp_path)
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)
    assert names_in(tmp_path) == set()


def test_any_answer_of_a_server_will_do_and_it_keeps_the_artifacts(tmp_path: Path) -> None:
    class Forbidding(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(403)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Forbidding) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        assert prepare_store(f"http://127.0.0.1:{server.server_port}", tmp_path) is None
        server.shutdown()
