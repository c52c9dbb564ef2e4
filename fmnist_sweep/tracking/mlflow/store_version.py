"""Checks that a database is an MLflow store of the installed version.

MLflow migrates an older store as soon as it opens it; programs with the older MLflow cannot open it
afterwards. So the version is read first, without MLflow, and nothing is migrated: the error names
the command that does it.
"""

from __future__ import annotations

import shlex
import sqlite3
from contextlib import closing
from functools import cache
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fmnist_sweep.errors import ConfigError, NoStore, RunError, StoreVersion
from fmnist_sweep.masking import without_secrets
from fmnist_sweep.runtime import quiet_mlflow

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

_DATABASES = ("postgresql", "postgres", "mysql", "mssql", "sqlite")
_BUSY_SECONDS = 20.0  # MLflow's own timeout
_CREATED = "Create Date: "


def is_database(uri: str) -> bool:
    """Whether a tracking URI is of a database, which MLflow opens in this process."""
    return urlsplit(uri).scheme.partition("+")[0] in _DATABASES


def require_installed_version(uri: str, database: Path | None, *, may_be_new: bool) -> None:
    """Raise an error if opening the store at `uri` would migrate it or fail.

    Args:
        uri: the database's URI.
        database: its file, for SQLite.
        may_be_new: whether a database without tables is accepted, in which MLflow creates them.

    Raises:
        StoreVersion: the store's version is older or newer than the installed MLflow's; names both,
            and the command that upgrades.
        NoStore: the database does not contain an MLflow store.
        RunError: the database cannot be read.
    """
    quiet_mlflow()
    found = _of_server(uri) if database is None else _of_file(database)
    if found == {_head()}:
        return
    shown = without_secrets(uri)
    if not found:
        if may_be_new:
            return
        missing = NoStore if database is None else ConfigError
        raise missing(f"{shown}: the database does not contain an MLflow store")
    ours = f"MLflow {metadata.version('mlflow')} here has {_named(_head())}"
    revision = ", ".join(_named(one) for one in sorted(found))
    if found <= _known():
        raise StoreVersion(
            f"{shown} is an MLflow store of an older version: its schema is {revision}, {ours}; "
            "MLflow would migrate it, and programs with the older MLflow could no longer open it. "
            f"Copy it first, then run `mlflow db upgrade {shlex.quote(shown)}`, or use another "
            "store with tracking.uri"
        )
    raise StoreVersion(
        f"{shown} is an MLflow store of a newer version: its schema is {revision}, {ours}; upgrade "
        "MLflow with `pip install --upgrade mlflow`, or use another store with tracking.uri"
    )


def _of_file(database: Path) -> set[str]:
    """Return the revisions in a SQLite file; read-only."""
    try:
        with closing(
            sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True, timeout=_BUSY_SECONDS)
        ) as connection:
            connection.execute("PRAGMA query_only=ON")
            return {one for (one,) in connection.execute("SELECT version_num FROM alembic_version")}
    except sqlite3.Error as error:
        raise RunError(f"{database} cannot be read as an MLflow store: {error}") from error


def _of_server(uri: str) -> set[str]:
    """Return the revisions in a database server; none if it has no such table."""
    import sqlalchemy
    from alembic.migration import MigrationContext

    from fmnist_sweep.tracking.mlflow.calls import one_line_errors

    with one_line_errors("open its store", uri):
        try:
            engine = sqlalchemy.create_engine(uri)
        except ImportError as error:
            raise ConfigError(
                f"{without_secrets(uri)} needs the Python package {error.name}; install it, or "
                "use another store with tracking.uri"
            ) from error
        try:
            with engine.connect() as connection:
                return {*MigrationContext.configure(connection).get_current_heads()}
        finally:
            engine.dispose()


@cache
def _scripts() -> ScriptDirectory:
    from alembic.script import ScriptDirectory

    found = util.find_spec("mlflow")
    assert found is not None  # a dependency
    assert found.submodule_search_locations is not None
    return ScriptDirectory(
        str(Path(found.submodule_search_locations[0]) / "store" / "db_migrations")
    )


@cache
def _head() -> str:
    """Return the revision that the installed MLflow migrates to."""
    (head,) = _scripts().get_heads()
    return head


@cache
def _known() -> frozenset[str]:
    """Return all revisions that the installed MLflow can migrate from, including its own."""
    return frozenset(script.revision for script in _scripts().walk_revisions())


def _named(revision: str) -> str:
    """Return a revision with its date, if the installed MLflow knows it."""
    if revision not in _known():
        return f"{revision} (unknown to it)"
    lines = _scripts().get_revision(revision).longdoc.splitlines()
    days = [line.removeprefix(_CREATED)[:10] for line in lines if line.startswith(_CREATED)]
    return f"{revision} (of {days[0]})" if days else revision
