"""A workspace that is copied or moved works by itself; the original stays as it is."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image
from program import QUICK_SPACE, SMALL, Called, Store, environment

from fmnist_sweep.files import digest_of

SWEEP = [
    *SMALL, *QUICK_SPACE, "train.epochs=1", "sweep.max_trials=2", "sweep.name=one",
    "tracking.registered_model=auto",
]  # fmt: skip

DRIVER = """
import contextlib, io, json, os, sys
from fmnist_sweep import load_sweep
from fmnist_sweep.cli.app import main
from fmnist_sweep.errors import UserError

for line in sys.stdin:
    folder, arguments = json.loads(line)
    os.chdir(folder)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        if arguments[0] == "best_model":
            try:
                code = load_sweep(arguments[1]).best_model().count_params()
            except UserError as error:
                code, err = error.exit_code, io.StringIO(str(error))
        else:
            code = main(arguments)
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
"""


class Program:
    """The program in one process, called in one folder after another."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, folder: Path, *arguments: str) -> Called:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps([str(folder), arguments])}\n")
        self._process.stdin.flush()
        return Called(*json.loads(self._process.stdout.readline()))


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER], cwd=tmp_path, env=environment(), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        yield Program(process)
        assert process.stdin is not None
        process.stdin.close()


def copied(original: Path, copy: Path) -> Path:
    subprocess.run(["cp", "-r", original, copy], check=True)
    return copy


def contents(folder: Path) -> dict[str, str]:
    """All files, and what is in them; SQLite's index of its log is no content."""
    return {
        str(path.relative_to(folder)): digest_of(path.read_bytes().hex())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith("-shm")
    }


def places(folder: Path) -> set[str]:
    return {run.info.artifact_uri for run in Store(folder).runs}


@pytest.mark.release
def test_copies_and_a_moved_workspace_work_by_themselves(tmp_path: Path, program: Program) -> None:
    original = tmp_path / "ä folder_100%"
    original.mkdir()
    made = program(original, *SWEEP)
    assert made.exit_code == 0, made
    before = contents(original)
    models = {name for name in before if name.endswith("best.keras")}
    assert len(models) == 3, "of two trials, and the registered one"
    picture = tmp_path / "picture.png"
    Image.new("L", (12, 12), 200).save(picture)
    asked = ("predict", "one", str(picture), "tracking.registered_model=synthetic-cnn")

    copy = copied(original, tmp_path / "a copy")
    longer = program(copy, *SWEEP, "sweep.max_trials=3")
    assert longer.exit_code == 0, longer
    assert "trial 2" in longer.out, "the copied trials are not trained again"
    assert "trial 1 " not in longer.out
    assert {place.startswith(copy.as_uri()) for place in places(copy)} == {True}
    assert len([name for name in contents(copy) if name.endswith("best.keras")]) >= 4
    answers = program(copy, *asked)
    assert (answers.exit_code, answers.err) == (0, ""), answers

    emptied = copied(original, tmp_path / "emptied")
    shown, cleaned = program(emptied, "clean", "one"), program(emptied, "clean", "one", "yes")
    assert (shown.exit_code, cleaned.exit_code) == (0, 0), (shown, cleaned)
    assert "3 runs in MLflow" in shown.out
    assert Store(emptied).runs == []
    left = {name for name in contents(emptied) if name.startswith("mlruns/artifacts")}
    assert {name.split("/")[3] for name in left} == {"models"}, "registered models stay"
    assert contents(original) == before

    moved = original.rename(tmp_path / "moved")
    assert program(moved, *asked).exit_code == 0
    exported = program(moved, "export", "one-1", "again")
    assert exported.exit_code == 0, exported
    assert program(moved, "best_model", "one").exit_code > 100
    journal = moved / "mlruns" / "sweeps" / "one" / "journal.jsonl"
    aside = journal.rename(moved / "aside")  # so that MLflow's has to do
    reported = program(moved, "report", "one")
    assert reported.exit_code == 0, reported
    aside.rename(journal)
    assert not original.exists()

    with closing(sqlite3.connect(moved / "mlruns" / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'of_tomorrow'")
    refused = program(moved, "best_model", "one")
    assert refused.exit_code == 2
    assert "of a newer version: its schema is of_tomorrow" in refused.err
