"""Imported once by the process that `forked.py` forks from: all that the program imports, a first
config, which fills Hydra's caches, and an empty MLflow store, which takes two seconds to create."""

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from fmnist_sweep import runtime

runtime.load_tensorflow()
runtime.quiet_mlflow()

from program import QUICK_SPACE, SMALL  # noqa: E402

import fmnist_sweep.cli.launch  # noqa: E402 - quietly, so after those
import fmnist_sweep.cli.side_commands  # noqa: E402
import fmnist_sweep.report.reporting  # noqa: E402
import fmnist_sweep.tracking.mlflow.registry  # noqa: E402
import fmnist_sweep.tracking.mlflow.tracker  # noqa: E402
import fmnist_sweep.tuners.opening  # noqa: E402, F401
from fmnist_sweep.config.compose import compose_config  # noqa: E402
from fmnist_sweep.tracking.mlflow import store  # noqa: E402

compose_config([*SMALL, *QUICK_SPACE])

with tempfile.TemporaryDirectory() as folder:
    made = Path(folder) / "mlflow.db"
    store._create(made, Path("/artifacts"))
    _BLANK = made.read_bytes()


def _copied(database: Path, artifact_root: Path) -> None:
    """Do what the program's `_create` does, which tests of a program's true start go through."""
    try:
        database.write_bytes(_BLANK)
        with closing(sqlite3.connect(database)) as connection:
            connection.execute(
                "UPDATE experiments SET artifact_location = ? || substr(artifact_location, ?)",
                (artifact_root.as_uri(), len(Path("/artifacts").as_uri()) + 1),
            )
            connection.commit()
    except BaseException:
        store._remove(database)
        raise


store._create = _copied
