"""A workspace's own store names absolute folders; here they follow the workspace when it moves.

MLflow records for each experiment, run and model the absolute folder of its artifacts. In a copy
of a workspace those are the original's folders, and after a move they are gone. So before MLflow
opens a workspace's own store, the recorded folders are compared with where the store is, and where
they differ they are rewritten, in one transaction: a kill leaves all of them old or all new.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import sqlite3
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, unquote

from fmnist_sweep.errors import ConfigError, RunError

_log = logging.getLogger(__name__)

_PLACES = (
    ("experiments", "artifact_location", "1"),
    ("runs", "artifact_uri", "1"),
    ("logged_models", "artifact_location", "1"),
    ("model_versions", "source", "1"),
    ("model_versions", "storage_location", "1"),
    ("trace_tags", "value", "key = 'mlflow.artifactLocation'"),
)
"""Where MLflow keeps folders of artifacts: table, column, condition. Other paths (the source of a
dataset, say) are a record of where something was; no program reads files there."""
_OF_A_WORKSPACE = re.compile(r"(.*)/mlruns/(?:artifacts/)?[^/]+", re.DOTALL)
_PATIENCE_SECONDS = 20.0  # as long as MLflow waits for a locked database


class StoreInUse:
    """A store's folder, locked against being given another place while this is open.

    The same folder may have another path elsewhere (a container's mount): what one program writes
    would go astray if another one rewrote the recorded folders meanwhile.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._descriptor: int | None = None
        self._closing: Callable[[], object] = lambda: None
        with suppress(OSError):  # one that may not be listed
            # The folder itself is locked, so that no file has to be written for it.
            self._descriptor = os.open(database.parent, os.O_RDONLY)
            self._closing = weakref.finalize(self, os.close, self._descriptor)
        try:
            self._lock(fcntl.LOCK_SH)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only one that uses it inside the block.

        Raises:
            RunError: another program uses it for longer than this waits.
        """
        self._lock(fcntl.LOCK_EX)
        try:
            yield
        finally:
            self._lock(fcntl.LOCK_SH)

    def close(self) -> None:
        """Let others give it another place."""
        self._descriptor = None
        self._closing()  # once: what is closed already stays so

    def _lock(self, kind: int) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self._descriptor is not None:
            try:
                fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise RunError(
                        f"{self._database} is in use by a program that knows it under another "
                        "path (a container's mount, perhaps); wait until that has ended"
                    ) from error
                time.sleep(0.05)
            except OSError:  # a file system without such locks
                return
            else:
                return


def open_at_home(database: Path, root: Path) -> StoreInUse:
    """Have a workspace's own store name the folders of where it is; return a hold on it.

    A store that is not inside `root` is another workspace's, or nobody's, and left as it is; so
    are folders that were never inside this store's workspace, such as an experiment's on S3.

    Args:
        database: a SQLite file, an MLflow store of the installed version.
        root: the folder of `mlruns/`.

    Raises:
        ConfigError: the workspace was copied or moved, and its store cannot be written.
        RunError: the database stays locked, or in use under another path.
    """
    held = StoreInUse(database)
    try:
        home = _home(database, root)
        if home is not None and _former_home(database, home) is not None:
            with held.alone():
                _bring(database, home)
    except BaseException:
        held.close()
        raise
    return held


def is_inside(place: str, folders: tuple[Path, ...]) -> bool:
    """Whether a place of artifacts, a path or a URI, is really in one of those folders: with links
    followed, and whatever paths a folder has."""
    path = path_of(place)
    if path is None:
        return False
    return any(
        _is_same_folder(above, folder) for above in path.resolve().parents for folder in folders
    )


def _home(database: Path, root: Path) -> Path | None:
    """Return the workspace whose own store that is, None where it is none of this one's."""
    if not database.resolve().is_relative_to(root.resolve()):
        return None
    return database.parent.parent if database.parent.name == "mlruns" else root.absolute()


def _former_home(database: Path, home: Path) -> Path | None:
    """Return the workspace that the recorded folders are in, None where that is this one."""
    with _connected(database) as connection:
        rows = connection.execute(
            "SELECT artifact_location FROM experiments ORDER BY experiment_id"
        ).fetchall()
    paths = [path for (location,) in rows if (path := path_of(location or "")) is not None]
    # The first one is MLflow's own `Default`, which is made with the store; later ones may be of
    # other workspaces that use this store.
    found = next((match for path in paths if (match := _OF_A_WORKSPACE.fullmatch(str(path)))), None)
    if found is None:
        return None
    former = Path(found[1] or "/")
    if former == home or _is_same_folder(former / "mlruns", home / "mlruns"):
        return None
    if _exists(former / "mlruns") and not _exists(former / os.path.relpath(database, home)):
        return None  # it uses this store, and has none of its own that this could be a copy of
    return former


def _exists(path: Path) -> bool:
    """Whether a path exists; one that may not be looked at, such as another user's, does not."""
    try:
        return path.exists()
    except OSError:
        return False


def _is_same_folder(one: Path, other: Path) -> bool:
    with suppress(OSError):  # one of them is not there, or may not be looked at
        return one.samefile(other)
    return False


def _bring(database: Path, home: Path) -> None:
    former = _former_home(database, home)
    if former is None:
        return  # another process was faster
    before = former

    def brought(place: str | None) -> str | None:
        return None if place is None else _brought(place, before, home)

    with _connected(database) as connection:
        try:
            connection.create_function("brought", 1, brought, deterministic=True)
            connection.execute("BEGIN IMMEDIATE")
            for table, column, condition in _PLACES:
                known = connection.execute("SELECT name FROM pragma_table_info(?)", (table,))
                if (column,) in known.fetchall():
                    connection.execute(
                        f"UPDATE {table} SET {column} = brought({column}) "
                        f"WHERE {condition} AND brought({column}) <> {column}"
                    )
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            kind = (error.sqlite_errorcode or 0) & 0xFF
            if kind in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
                raise ConfigError(
                    f"{database} was copied or moved here from {former}, which its records still "
                    f"name, and cannot be written: {error}; allowed: a folder that is yours"
                ) from error
            raise
    _log.info("%s was copied or moved from %s; its records name %s now", database, former, home)


@contextmanager
def _connected(database: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(
            sqlite3.connect(
                f"{database.as_uri()}?mode=rw",
                uri=True,
                timeout=_PATIENCE_SECONDS,
                isolation_level=None,
            )
        ) as connection:
            yield connection
    except sqlite3.Error as error:
        raise RunError(f"{database} cannot be read as an MLflow store: {error}") from error


def path_of(place: str) -> Path | None:
    """Return the absolute path that MLflow takes a place of artifacts for, None where it is not on
    this machine."""
    text = place
    if place.startswith("file:"):
        text = place.removeprefix("file:")
        text = text.removeprefix("//localhost") if text.startswith("//localhost/") else text
        text = f"/{text.lstrip('/')}"
    path = unquote(text)  # MLflow does that with plain paths too
    return Path(path) if path.startswith("/") else None


def _brought(place: str, former: Path, home: Path) -> str:
    """Return a place in a workspace's former folder as the same place in its present one; others
    are returned as they are."""
    path = path_of(place)
    # Where the former folder holds everything (`/`), or the present one (`mv mlruns below/`), what
    # came along is known for sure of `mlruns` alone.
    is_wide = former == Path("/") or home.is_relative_to(former)
    inside = former / "mlruns" if is_wide else former
    if path is None or not path.is_relative_to(inside):
        return place
    new = home / path.relative_to(former)
    if place.startswith("file:"):
        return new.as_uri()
    return quote(str(new)) if unquote(str(new)) != str(new) else str(new)
