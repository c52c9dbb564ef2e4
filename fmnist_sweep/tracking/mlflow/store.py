"""The tracking URI, and a local store that is either complete or absent.

MLflow creates a SQLite store by some fifty migrations, one transaction each: a process killed in
between leaves a file that cannot be opened. Here the store is created under another name and
renamed when it is complete.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from fmnist_sweep.errors import ConfigError, NoStore, RunError
from fmnist_sweep.masking import without_secrets
from fmnist_sweep.runtime import quiet_mlflow
from fmnist_sweep.workspace import Workspace

_SQLITE = "sqlite:///"
_SERVERS = ("http", "https", "databricks")
_ALLOWED = f"{_SQLITE}/absolute/path.db, http(s)://host:port, postgresql://…, mysql://…, databricks"


def resolve_tracking_uri(config_uri: str | None, environment_uri: str | None, root: Path) -> str:
    """Return the tracking URI: the config's, else the environment's, else the store under `root`.

    Raises ConfigError for a plain folder, which MLflow 3 does not support, and for a SQLite path
    that is relative or not a file.
    """
    if config_uri is not None:
        origin, uri = "tracking.uri", config_uri
    elif environment_uri is not None:
        origin, uri = "MLFLOW_TRACKING_URI", environment_uri
    else:
        return local_store_uri(root)
    given = f"{origin}={without_secrets(uri)}"
    scheme = urlsplit(uri).scheme
    if scheme == "sqlite":
        path = uri.removeprefix(_SQLITE)
        if not uri.startswith(_SQLITE) or path in ("", ":memory:"):
            raise ConfigError(f"{given} names no file; allowed: {_ALLOWED}")
        if not Path(path).is_absolute():
            raise ConfigError(
                f"{given} is a relative path; "
                f"write the absolute path: {_SQLITE}{(root / path).absolute()}"
            )
        if _is_escaped(path):
            raise ConfigError(
                f"{given} has `%` and two hexadecimal digits in its path, which MLflow reads as "
                f"another character; allowed: {_ALLOWED}"
            )
    elif uri != "databricks" and scheme in ("", "file"):
        raise ConfigError(
            f"{given} is a folder, which MLflow 3 does not support; allowed: {_ALLOWED}"
        )
    return uri


def local_store_uri(root: Path) -> str:
    """Return the URI of the store under `root`, whether or not it exists.

    Raises ConfigError if the folder's name cannot be part of a SQLite URI.
    """
    path = _local_database(root)
    if "?" in str(path):
        raise ConfigError(f"{path.parent}: a folder with `?` in its name cannot contain the store")
    if _is_escaped(str(path)):
        raise ConfigError(
            f"{path.parent}: a folder with `%` and two hexadecimal digits in its name cannot "
            "contain the store: MLflow reads them as another character"
        )
    return f"{_SQLITE}{path}"


def _is_escaped(path: str) -> bool:
    return unquote(path) != path


def ensure_local_store(root: Path) -> None:
    """Create the store under `root` if there is none; an existing one is only checked.

    Raises ConfigError if the folder is not writable or the file is not an MLflow store.
    """
    prepare_store(local_store_uri(root), root)


def prepare_store(uri: str, root: Path) -> Path | None:
    """Make sure that there is a store at `uri`; return the folder for artifacts.

    A new SQLite store is created; a server is contacted once, because MLflow's own retries would
    take
    minutes. None: the server decides where artifacts are stored. Raises ConfigError for a file that
    is not an MLflow store, RunError for an unreachable server or a full disk.
    """
    artifact_root = _local_database(root).parent / "artifacts"
    database = database_of(uri)
    if database is not None:
        _ensure_sqlite_store(database, artifact_root)
    else:
        require_store(uri)
    return None if is_server(uri) else artifact_root


def is_server(uri: str) -> bool:
    """Whether a tracking URI is a server's, which has its own UI."""
    return urlsplit(uri).scheme in _SERVERS or uri in _SERVERS


def require_store(uri: str) -> None:
    """Make sure that the store at `uri` can be read; nothing is created.

    Raises NoStore if there is none, ConfigError for a file that is not an MLflow store, RunError
    for an unreachable server.
    """
    database = database_of(uri)
    if database is not None:
        if not database.exists():
            raise NoStore(f"{database}: does not exist, so it has no runs")
        _require_whole(database)
    elif urlsplit(uri).scheme in ("http", "https"):
        from fmnist_sweep.tracking.mlflow.server import require_answer

        require_answer(uri)


def database_of(uri: str) -> Path | None:
    """Return the file of a SQLite store, None for other stores."""
    return Path(uri.removeprefix(_SQLITE).split("?")[0]) if uri.startswith(_SQLITE) else None


def _local_database(root: Path) -> Path:
    return Workspace(root.absolute()).database


def _ensure_sqlite_store(database: Path, artifact_root: Path) -> None:
    unfinished = database.with_name(f"{database.name}.new")
    if not database.exists() or unfinished.exists() or _lock_of(database).exists():
        try:
            database.parent.mkdir(parents=True, exist_ok=True)
            with _creating(database):
                # Only the lock's holder works on the file, so an unfinished one is of a killed
                # process.
                _remove(unfinished)
                if not database.exists():
                    _create(unfinished, artifact_root)
                    _put_in_place(unfinished, database)
        except OSError as error:
            raise ConfigError(
                f"{database.parent} cannot contain the MLflow store: {error.strerror}; "
                "allowed: a writable folder"
            ) from error
    _require_whole(database)


@contextmanager
def _creating(database: Path) -> Iterator[None]:
    """Hold the lock for creating `database`; it is released when its holder is killed."""
    lock = _lock_of(database)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        # Safe once the database exists: a process that waits for this lock, or creates a new one,
        # finds nothing to do.
        if database.exists():
            lock.unlink(missing_ok=True)
        os.close(descriptor)


def _lock_of(database: Path) -> Path:
    return database.with_name(f".{database.name}.lock")


def _create(database: Path, artifact_root: Path) -> None:
    quiet_mlflow()
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    from fmnist_sweep.tracking.mlflow.calls import one_line_errors, quiet_logging

    quiet_logging()
    try:
        with one_line_errors("create its store", f"{_SQLITE}{database}"):
            store = SqlAlchemyStore(  # type: ignore[no-untyped-call]
                f"{_SQLITE}{database}", artifact_root.as_uri()
            )
            store.engine.dispose()
            # Halves the time of a commit, and the UI can read while a sweep writes
            # (https://www.sqlite.org/wal.html). The setting is stored in the file.
            with closing(sqlite3.connect(database)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
    except BaseException:
        _remove(database)
        raise


def _put_in_place(unfinished: Path, database: Path) -> None:
    try:
        # Unlike a rename, a link never replaces a file that another program created meanwhile.
        os.link(unfinished, database)
    except FileExistsError:
        pass
    except OSError:  # no hard links on this file system
        unfinished.rename(database)
    _remove(unfinished)


def _remove(database: Path) -> None:
    for suffix in ("", "-journal", "-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)


def _require_whole(database: Path) -> None:
    """Reject files that MLflow would retry for minutes, or would create its tables in."""
    try:
        uri = f"{database.as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=0)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    except sqlite3.Error as error:
        kind = error.sqlite_errorcode & 0xFF  # the other bits are details
        if kind == sqlite3.SQLITE_BUSY:
            return  # locked: the store is in use
        if kind in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL):
            raise RunError(f"{database} cannot be read: {error}; is the disk full?") from error
        if kind == sqlite3.SQLITE_READONLY:
            raise ConfigError(
                f"{database} cannot be opened as an MLflow store: {error}; "
                "allowed: a writable file in a writable folder"
            ) from error
        raise ConfigError(
            f"{database} cannot be opened as an MLflow store: {error}; move it to create a new one"
        ) from error
    if "alembic_version" not in tables or "runs" not in tables:
        raise ConfigError(
            f"{database} is not an MLflow store (no table `runs` or `alembic_version`); "
            "move it to create a new one"
        )
    if half_made := sorted(name for name in tables if name.startswith("_alembic_tmp_")):
        raise ConfigError(
            f"{database} was left in the middle of a migration (table {half_made[0]}); "
            "restore a copy, or move it to create a new one"
        )
