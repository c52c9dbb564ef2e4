"""A store of another version of MLflow is named, and left as it is."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from importlib import metadata
from pathlib import Path

import pytest
import sqlalchemy
from alembic import command
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.dbmodels.initial_models import Base
from program import QUICK_SPACE, SMALL, calls

from fmnist_sweep.errors import ConfigError, NoStore, RunError, StoreVersion
from fmnist_sweep.tracking.mlflow.store_version import require_installed_version

OLD = "acf3f17fdcc7"  # of October 2023
SWEEP = [*SMALL, *QUICK_SPACE, "train.epochs=1", "sweep.max_trials=1", "sweep.name=one"]


@pytest.fixture(scope="module")
def old_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that MLflow's own migrations have brought to an old revision, and no further."""
    database = tmp_path_factory.mktemp("old") / "mlflow.db"
    uri = f"sqlite:///{database}"
    engine = sqlalchemy.create_engine(uri)
    Base.metadata.create_all(engine)
    config = _get_alembic_config(uri)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, OLD)
    engine.dispose()
    with closing(sqlite3.connect(database)) as connection, connection:
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'")
        assert tables[0] < 20, "today's MLflow has 65"
        connection.execute(
            "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage) "
            "VALUES (0, 'Default', 'file:///elsewhere/mlruns/artifacts/0', 'active')"
        )
    return database


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_no_command_migrates_an_older_store(old_store: Path, tmp_path: Path) -> None:
    (tmp_path / "mlruns" / "sweeps" / "one").mkdir(parents=True)
    journal = tmp_path / "mlruns" / "sweeps" / "one" / "journal.jsonl"
    journal.touch()
    store = tmp_path / "mlruns" / "mlflow.db"
    store.write_bytes(old_store.read_bytes())
    before = digest(store)
    given = [
        ["export", "one"], ["predict", "image.png"], ["report", "one"], ["ui", "5999"],
        ["baselines"], ["clean", "one"], ["clean", "one", "yes"], SWEEP,
        [*SMALL, "model=small_cnn", "train.epochs=1"],
    ]  # fmt: skip
    # A repetition too: a command that was refused has not opened it by halves.
    for arguments, called in zip(given, calls(tmp_path, *given), strict=True):
        assert called.exit_code == 2, (arguments, called)
        assert called.err.count("\n") == 1
        for told in (
            f"{store} is an MLflow store of an older version",
            f"{OLD} (of 2023-10-23)",
            f"MLflow {metadata.version('mlflow')} here has ",
            f"mlflow db upgrade sqlite:///{store}",
        ):
            assert told in called.err, arguments
    assert digest(store) == before
    assert {path.name for path in store.parent.iterdir()} == {"mlflow.db", "sweeps"}
    assert list(journal.parent.iterdir()) == [journal]


def test_a_newer_store_is_left_alone_and_says_what_to_upgrade(root: Path, old_store: Path) -> None:
    store = root / "mlruns" / "mlflow.db"
    uri = f"sqlite:///{store}"
    require_installed_version(uri, store, may_be_new=False)
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'of_tomorrow'")
    before = digest(store)
    with pytest.raises(StoreVersion, match="pip install --upgrade mlflow") as refused:
        require_installed_version(uri, store, may_be_new=True)
    assert "of_tomorrow (unknown to it)" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert digest(store) == before


def test_a_database_that_sqlalchemy_opens_is_held_to_the_same(
    root: Path, old_store: Path, tmp_path: Path
) -> None:
    with pytest.raises(StoreVersion, match="of an older version"):
        require_installed_version(f"sqlite+pysqlite:///{old_store}", None, may_be_new=True)
    ours = f"sqlite+pysqlite:///{root / 'mlruns' / 'mlflow.db'}"
    require_installed_version(ours, None, may_be_new=False)
    empty = f"sqlite+pysqlite:///{tmp_path / 'empty.db'}"
    require_installed_version(empty, None, may_be_new=True)
    with pytest.raises(NoStore, match="does not contain an MLflow store"):
        require_installed_version(empty, None, may_be_new=False)
    with pytest.raises(RunError, match="MLflow could not open its store"):
        require_installed_version(f"sqlite+pysqlite:///{tmp_path}", None, may_be_new=True)
    with pytest.raises(ConfigError, match="needs the Python package") as refused:
        require_installed_version("postgresql+pg8000://me:secret@host/db", None, may_be_new=True)
    assert "secret" not in str(refused.value)
