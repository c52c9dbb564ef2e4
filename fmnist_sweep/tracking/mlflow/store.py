"""Where MLflow keeps its records: which URI, and a local store that is whole or is not there.

MLflow makes a new SQLite store by some fifty migrations, one transaction each: a process killed
among them leaves a file that no later start can open. Here the store is made under another name
and appears under its own only when it is finished.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from fmnist_sweep.environment import quiet_mlflow, without_secrets
from fmnist_sweep.errors import ConfigError, NoStore, RunError
from fmnist_sweep.workspace import Workspace

_SQLITE = "sqlite:///"
_SERVERS = ("http", "https", "databricks")
_ALLOWED = f"{_SQLITE}/absolute/path.db, http(s)://host:port, postgresql://…, mysql://…, databricks"


def resolve_tracking_uri(config_uri: str | None, environment_uri: str | None, root: Path) -> str:
    """Return the tracking URI: the config's, else the environment's, else `root`'s own store.

    Raises ConfigError for a plain folder, which MLflow 3 refuses, and for a SQLite path that
    depends on the working directory or is not a file.
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
                f"{given} is relative to wherever the program starts; "
                f"write the path in full: {_SQLITE}{(root / path).absolute()}"
            )
        if _is_escaped(path):
            raise ConfigError(
                f"{given} has `%` and two hexadecimal digits in its path, which MLflow reads as "
                f"another character; allowed: {_ALLOWED}"
            )
    elif uri != "databricks" and scheme in ("", "file"):
        raise ConfigError(f"{given} is a folder, which MLflow 3 refuses; allowed: {_ALLOWED}")
    return uri


def local_store_uri(root: Path) -> str:
    """Return the URI of the store under `root`, whether it exists or not.

    Raises ConfigError where the folder's name cannot stand in a SQLite URI.
    """
    path = _local_database(root)
    if "?" in str(path):
        raise ConfigError(f"{path.parent}: a folder with `?` in its name cannot hold the store")
    if _is_escaped(str(path)):
        raise ConfigError(
            f"{path.parent}: a folder with `%` and two hexadecimal digits in its name cannot hold "
            "the store: MLflow reads them as another character"
        )
    return f"{_SQLITE}{path}"


def _is_escaped(path: str) -> bool:
    return unquote(path) != path


def ensure_local_store(root: Path) -> None:
    """Create the store under `root` where there is none; one that exists is only looked at.

    Raises ConfigError where the folder cannot be written or the file is no MLflow store.
    """
    prepare_store(local_store_uri(root), root)


def prepare_store(uri: str, root: Path) -> Path | None:
    """Make sure that there is a store at `uri`; return the folder for artifacts.

    A new SQLite store is created, a server is asked for a sign of life once: MLflow's own retries
    would keep the user waiting for minutes. None: the server decides where artifacts go.
    Raises ConfigError for a file that is no MLflow store, RunError for a server out of reach or a
    full disk.
    """
    artifact_root = _local_database(root).parent / "artifacts"
    database = database_of(uri)
    if database is not None:
        _ensure_sqlite_store(database, artifact_root)
    else:
        require_store(uri)
    return None if is_server(uri) else artifact_root


def is_server(uri: str) -> bool:
    """Whether a tracking URI is a server's, which has a UI of its own."""
    return urlsplit(uri).scheme in _SERVERS or uri in _SERVERS


def require_store(uri: str) -> None:
    """Make sure that a store can be read at `uri`; nothing is created.

    Raises NoStore where there is none, ConfigError for a file that is no MLflow store, RunError for
    a server out of reach.
    """
    database = database_of(uri)
    if database is not None:
        if not database.exists():
            raise NoStore(f"{database}: not there yet, so no run is tracked in it")
        _require_whole(database)
    elif urlsplit(uri).scheme in ("http", "https"):
        from fmnist_sweep.tracking.mlflow.server import require_answer

        require_answer(uri)


def database_of(uri: str) -> Path | None:
    """Return the file of a SQLite store, None for another kind of store."""
    return Path(uri.removeprefix(_SQLITE).split("?")[0]) if uri.startswith(_SQLITE) else None


def _local_database(root: Path) -> Path:
    return Workspace(root.absolute()).database


def _ensure_sqlite_store(database: Path, artifact_root: Path) -> None:
    unfinished = database.with_name(f"{database.name}.new")
    if not database.exists() or unfinished.exists() or _lock_of(database).exists():
        try:
            database.parent.mkdir(parents=True, exist_ok=True)
            with _creating(database):
                # Whoever holds the lock is the only one at work: what lies here is a dead one's.
                _remove(unfinished)
                if not database.exists():
                    _create(unfinished, artifact_root)
                    _put_in_place(unfinished, database)
        except OSError as error:
            raise ConfigError(
                f"{database.parent} cannot hold the MLflow store: {error.strerror}; "
                "allowed: a folder that you may write to"
            ) from error
    _require_whole(database)


@contextmanager
def _creating(database: Path) -> Iterator[None]:
    """Hold the right to create `database`; a killed holder's right lapses."""
    lock = _lock_of(database)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        # Safe once the database is there: whoever waits on the old file, or makes a new one,
        # finds nothing left to do.
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
            # Half the time of a commit, and the UI may read while a sweep writes
            # (https://www.sqlite.org/wal.html). SQLite remembers it in the file.
            with closing(sqlite3.connect(database)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
    except BaseException:
        _remove(database)
        raise


def _put_in_place(unfinished: Path, database: Path) -> None:
    try:
        # Unlike a rename it never replaces what another program put there meanwhile.
        os.link(unfinished, database)
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        unfinished.rename(database)
    _remove(unfinished)


def _remove(database: Path) -> None:
    for suffix in ("", "-journal", "-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)


def _require_whole(database: Path) -> None:
    """Refuse at once what MLflow would try to open for minutes, or would write its tables into."""
    try:
        uri = f"{database.as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=0)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    except sqlite3.Error as error:
        kind = error.sqlite_errorcode & 0xFF  # the rest says where it came up
        if kind == sqlite3.SQLITE_BUSY:
            return  # a store at work
        if kind in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL):
            raise RunError(f"{database} cannot be read: {error}; is the disk full?") from error
        if kind == sqlite3.SQLITE_READONLY:
            raise ConfigError(
                f"{database} cannot be opened as an MLflow store: {error}; "
                "allowed: a file in a folder, both of which you may write to"
            ) from error
        raise ConfigError(
            f"{database} cannot be opened as an MLflow store: {error}; "
            "move it away to have a new one made"
        ) from error
    if "alembic_version" not in tables or "runs" not in tables:
        raise ConfigError(
            f"{database} is no MLflow store (no table `runs` or `alembic_version`); "
            "move it away to have a new one made"
        )
    if half_made := sorted(name for name in tables if name.startswith("_alembic_tmp_")):
        raise ConfigError(
            f"{database} was left in the middle of a migration (table {half_made[0]}); "
            "bring back a copy, or move it away to have a new one made"
        )
