"""Updates the absolute paths in a workspace's own store after the workspace was moved or copied.

MLflow records the absolute artifact folder of each experiment, run and model. In a copy of a
workspace those are the original's folders, and after a move they do not exist. So before MLflow
opens a workspace's own store, the recorded folders are compared with the store's location and, if
they differ, rewritten in one transaction: after a kill all are old or all are new.
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
"""Where MLflow keeps artifact folders: table, column, condition. Other paths (such as the source of
a dataset) only document a location; no program reads files there."""
_OF_A_WORKSPACE = re.compile(r"(.*)/mlruns/(?:artifacts/)?[^/]+", re.DOTALL)
_PATIENCE_SECONDS = 20.0  # MLflow's own timeout for a locked database


class StoreInUse:
    """A lock on a store's folder that prevents its paths from being rewritten while this is open.

    The same folder may have another path elsewhere (such as a container's mount): data would be
    lost if another program rewrote the recorded folders while this one writes.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._descriptor: int | None = None
        self._closing: Callable[[], object] = lambda: None
        with suppress(OSError):  # a folder that cannot be listed
            # The folder itself is locked, so that no lock file is needed.
            self._descriptor = os.open(database.parent, os.O_RDONLY)
            self._closing = weakref.finalize(self, os.close, self._descriptor)
        try:
            self._lock(fcntl.LOCK_SH)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock exclusively inside the block.

        Raises:
            RunError: another program holds the lock for longer than the timeout.
        """
        self._lock(fcntl.LOCK_EX)
        try:
            yield
        finally:
            self._lock(fcntl.LOCK_SH)

    def close(self) -> None:
        """Release the lock."""
        self._descriptor = None
        self._closing()  # only once; closing again does nothing

    def _lock(self, kind: int) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self._descriptor is not None:
            try:
                fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise RunError(
                        f"{self._database} is in use by a program that knows it under another "
                        "path (perhaps a container's mount); wait until that program has ended"
                    ) from error
                time.sleep(0.05)
            except OSError:  # a file system without such locks
                return
            else:
                return


def open_at_home(database: Path, root: Path) -> StoreInUse:
    """Make a workspace's own store name the folders at its current location; return a lock on it.

    A store outside `root` is another workspace's and is not changed; neither are folders that were
    never inside this store's workspace, such as an experiment's on S3.

    Args:
        database: a SQLite file, an MLflow store of the installed version.
        root: the folder of `mlruns/`.

    Raises:
        ConfigError: the workspace was copied or moved, and its store is not writable.
        RunError: the database stays locked, or is in use under another path.
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
    """Whether an artifact location, a path or a URI, is inside one of the folders, with links
    resolved, also if a folder has several paths."""
    path = path_of(place)
    if path is None:
        return False
    return any(
        _is_same_folder(above, folder) for above in path.resolve().parents for folder in folders
    )


def _home(database: Path, root: Path) -> Path | None:
    """Return the workspace that owns this store, None if it is not one of this workspace."""
    if not database.resolve().is_relative_to(root.resolve()):
        return None
    return database.parent.parent if database.parent.name == "mlruns" else root.absolute()


def _former_home(database: Path, home: Path) -> Path | None:
    """Return the workspace that contains the recorded folders, None if it is this one."""
    with _connected(database) as connection:
        rows = connection.execute(
            "SELECT artifact_location FROM experiments ORDER BY experiment_id"
        ).fetchall()
    paths = [path for (location,) in rows if (path := path_of(location or "")) is not None]
    # The first is MLflow's own `Default`, created with the store; later ones may belong to other
    # workspaces that use this store.
    found = next((match for path in paths if (match := _OF_A_WORKSPACE.fullmatch(str(path)))), None)
    if found is None:
        return None
    former = Path(found[1] or "/")
    if former == home or _is_same_folder(former / "mlruns", home / "mlruns"):
        return None
    if _exists(former / "mlruns") and not _exists(former / os.path.relpath(database, home)):
        return None  # it uses this store and has none of its own to be copied
    return former


def _exists(path: Path) -> bool:
    """Whether a path exists; False if it cannot be accessed, such as another user's."""
    try:
        return path.exists()
    except OSError:
        return False


def _is_same_folder(one: Path, other: Path) -> bool:
    with suppress(OSError):  # missing or inaccessible
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
                    f"name, and is not writable: {error}; allowed: a writable folder"
                ) from error
            raise
    _log.info("%s was copied or moved from %s; its records now name %s", database, former, home)


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
    """Return the absolute path that MLflow derives from an artifact location, None if it is not on
    this machine."""
    text = place
    if place.startswith("file:"):
        text = place.removeprefix("file:")
        text = text.removeprefix("//localhost") if text.startswith("//localhost/") else text
        text = f"/{text.lstrip('/')}"
    path = unquote(text)  # as MLflow does, even for plain paths
    return Path(path) if path.startswith("/") else None


def _brought(place: str, former: Path, home: Path) -> str:
    """Return a location in a workspace's former folder as the same location in its current one;
    others are returned unchanged."""
    path = path_of(place)
    # If the former folder contains everything (`/`), or the current one (`mv mlruns below/`), only
    # `mlruns` is certain to have been moved.
    is_wide = former == Path("/") or home.is_relative_to(former)
    inside = former / "mlruns" if is_wide else former
    if path is None or not path.is_relative_to(inside):
        return place
    new = home / path.relative_to(former)
    if place.startswith("file:"):
        return new.as_uri()
    return quote(str(new)) if unquote(str(new)) != str(new) else str(new)
