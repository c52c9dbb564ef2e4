"""Makes `workspace.tar.xz` and `expected.json`, with the program as it is installed.

`python make.py FOLDER` makes a workspace in FOLDER: a finished sweep with its winner exported,
registered and tracked (`finished`), and a Hyperband sweep that was killed in the middle of a
bracket (`killed`). What the killed sweep would have become is recorded beside it, from the same
sweep undisturbed in a folder of its own.
"""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
from contextlib import closing
from pathlib import Path

HERE = Path(__file__).parent
SMALL = [
    "data=synthetic", "data.train_size=600", "data.test_size=100", "data.image_size=12",
    "split.validation=100", "split.test=100", "train.threads=1", "model=small_cnn",
    "model.conv_blocks=[{channels: 4}]", "model.fc_layers=[]",
    "+space.train.optimizer.learning_rate={float: [1e-3, 1e-1], log: true}",
    "+space.train.batch_size={choice: [25, 50, 100]}",
    "+space.model.conv_blocks.count={int: [1, 2]}",
    "+space.model.conv_blocks.each.channels={choice: [2, 4]}",
]  # fmt: skip
FINISHED = [*SMALL, "train.epochs=2", "tuner=random", "sweep.max_trials=3", "sweep.name=finished"]
KILLED = [
    *SMALL, "train.epochs=3", "tuner=hyperband", "sweep.max_trials=5", "sweep.name=killed",
    "report=false",
]  # fmt: skip


def run(folder: Path, *arguments: str) -> None:
    """Run the program in a folder."""
    subprocess.run([sys.executable, "-m", "fmnist_sweep", *arguments], cwd=folder, check=True)


def kill_in_a_bracket(folder: Path) -> None:
    """Start the Hyperband sweep and kill it after its fourth epoch."""
    journal = folder / "mlruns" / "sweeps" / "killed" / "journal.jsonl"
    with subprocess.Popen([sys.executable, "-m", "fmnist_sweep", *KILLED], cwd=folder) as running:
        while not journal.exists() or journal.read_text().count('"kind":"epoch"') < 4:
            time.sleep(0.01)
        running.send_signal(signal.SIGKILL)


def outcome(folder: Path, name: str) -> list[dict[str, object]]:
    """Return a finished sweep's answers in the order of its journal."""
    lines = (folder / "mlruns" / "sweeps" / name / "journal.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    asked = {record["ask"]: record for record in records if record["kind"] == "asked"}
    return [
        {
            "trial": record["trial"],
            "overrides": asked[record["ask"]]["overrides"],
            "first_epoch": asked[record["ask"]]["first_epoch"],
            "last_epoch": asked[record["ask"]]["last_epoch"],
            "score": record["score"],
            "weights_sha256": record["result"]["weights_sha256"],
        }
        for record in records
        if record["kind"] == "told"
    ]


def _without_locks(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    # They name a machine; and SQLite's own are of no use elsewhere.
    member.uname = member.gname = "user"
    member.uid = member.gid = 1000
    return None if member.name.endswith(("/lock", "-shm", "-wal")) else member


def main() -> None:
    """Make the workspace and what is expected of it."""
    folder = Path(sys.argv[1])
    whole = folder.with_name(f"{folder.name}-whole")
    folder.mkdir(parents=True)
    whole.mkdir()
    run(folder, *FINISHED)
    kill_in_a_bracket(folder)
    run(whole, *KILLED)
    (HERE / "expected.json").write_text(
        json.dumps(
            {
                "finished": {"command": FINISHED, "told": outcome(folder, "finished")},
                "killed": {"command": KILLED, "told": outcome(whole, "killed")},
            },
            indent=1,
        )
        + "\n",
        encoding="utf-8",
    )
    # One file without its write-ahead log.
    with closing(sqlite3.connect(folder / "mlruns" / "mlflow.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with tarfile.open(HERE / "workspace.tar.xz", "w:xz", preset=9) as archive:
        for name in ("mlruns", "experiments"):
            archive.add(folder / name, arcname=name, filter=_without_locks)
    shutil.rmtree(whole)
    sys.stdout.write(f"{HERE / 'workspace.tar.xz'}: made from {folder}\n")


if __name__ == "__main__":
    main()
