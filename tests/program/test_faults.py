"""What may go wrong while a sweep runs, provoked for real; the rest of docs/reliability.md's faults
have their tests where their parts have theirs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from program import (
    QUICK_SPACE,
    SHOWN,
    SMALL,
    Called,
    Store,
    assert_same_outcome,
    calls,
    calls_in,
    environment,
    sweep_folder,
)

SWEEP = [*SMALL, *QUICK_SPACE, "sweep.max_trials=2", "sweep.name=mine"]
_FULL = """
import resource

def fill():
    resource.setrlimit(resource.RLIMIT_FSIZE, ({bytes}, resource.RLIM_INFINITY))

"""
_FULL_FROM_THE_FIRST_TRIAL_ON = f"""{_FULL}
from fmnist_sweep import runtime
runtime.load_tensorflow()
from fmnist_sweep.sweep.loop import SweepLoop

run = SweepLoop.run

def full(self):
    fill()
    return run(self)

SweepLoop.run = full

from fmnist_sweep.tracking import outbox
outbox._PATIENCE_AT_THE_END = 1.0
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sweep with nothing going wrong."""
    folder = tmp_path_factory.mktemp("whole")
    (done,) = calls(folder, SWEEP)
    assert done.exit_code == 0, done
    return folder


def test_settings_of_python_s_the_console_s_and_matplotlib_s_change_no_result(
    whole: Path, tmp_path: Path
) -> None:
    """No assert statements, warnings as errors, a console without signs, no standard input, and
    settings of Matplotlib's that cannot be read."""
    (tmp_path / "matplotlibrc").write_bytes(b"text.usetex: True\n\xff\n")
    odd = {
        "PYTHONOPTIMIZE": "1", "PYTHONWARNINGS": "error", "PYTHONIOENCODING": "ascii",
        "MATPLOTLIBRC": str(tmp_path / "matplotlibrc"), "MPLBACKEND": "nonsense",
    }  # fmt: skip
    words = [*SWEEP, *SHOWN, "sweep.max_trials=1", "sweep.confirm={top: 1, seeds: 2}"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-m", "fmnist_sweep", *words],
        cwd=tmp_path, env=environment() | odd, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert " +- " in done.stdout
    assert "version 1, the champion" in done.stdout
    assert "mlruns/reports/mine/report.html" in done.stdout
    (trial,), (same, *_) = Store(tmp_path).children, Store(whole).children
    assert trial.data.tags["weights.sha256"] == same.data.tags["weights.sha256"]


def records(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = (sweep_folder(folder) / "journal.jsonl").read_bytes().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]


def test_a_disk_that_is_full_from_the_start_is_said_to_be(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole / "mlruns", tmp_path / "mlruns")
    (full,) = calls(tmp_path, SWEEP, before=_FULL.format(bytes=1_000) + "fill()")
    assert full.exit_code == 1, full
    assert "is the disk full?" in full.err


# What fits: not the journal; no checkpoint; all but the store's.
ROOMS = (8_000, 20_000, 200_000)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Path, Called, Called]]:
    """What a full disk did to the sweep, and the same command afterwards, all in one process."""
    folders = {room: tmp_path_factory.mktemp(f"room-{room}") for room in ROOMS}
    full = {
        room: calls(folder, SWEEP, before=_FULL_FROM_THE_FIRST_TRIAL_ON.format(bytes=room))[0]
        for room, folder in folders.items()
    }
    again = calls_in(*((folder, SWEEP) for folder in folders.values()))
    return {
        room: (folders[room], full[room], later) for room, later in zip(ROOMS, again, strict=True)
    }


@pytest.mark.parametrize("room", ROOMS)
def test_a_full_disk_stops_the_sweep_and_loses_nothing(
    room: int, whole: Path, filled: dict[int, tuple[Path, Called, Called]]
) -> None:
    folder, full, again = filled[room]
    assert full.exit_code == 1, full
    assert full.err.splitlines()[-1].startswith("error: "), full
    assert "To resume: " in full.out
    assert again.exit_code == 0, again
    assert_same_outcome(whole, folder)
    assert {run.info.status for run in Store(folder).runs} == {"FINISHED"}


def test_points_over_a_bound_are_never_trained(tmp_path: Path) -> None:
    wide = [
        *SMALL, "model=small_cnn", "model.fc_layers=[]", "train.epochs=1", "sweep.max_trials=4",
        "+space.model.conv_blocks.0.channels={int: [4, 64]}", "sweep.max_parameters=28000",
    ]  # fmt: skip
    (done,) = calls(tmp_path, wide)
    assert done.exit_code == 0, done
    assert records(tmp_path, "infeasible")
    assert len(records(tmp_path, "asked")) == 4
    for told in records(tmp_path, "told"):
        assert told["result"]["parameters"] <= 28000
    assert "infeasible points were proposed and replaced" in done.out


def test_data_that_changed_make_another_sweep_which_says_so(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    arrays = {
        "x_train": generator.integers(0, 256, (400, 12, 12), dtype=np.uint8),
        "y_train": np.arange(400) % 4,
    }
    np.savez(tmp_path / "mine.npz", **arrays)
    sweep = [
        "data=npz", f"data.file={tmp_path / 'mine.npz'}", "split.validation=100", "split.test=100",
        "train.threads=1", *QUICK_SPACE, "train.epochs=1", "sweep.max_trials=1",
        "report=false", "tracking.registered_model=null",
    ]  # fmt: skip
    named = [*sweep, "sweep.name=mine"]
    first, called = calls(tmp_path, sweep, named)
    assert (first.exit_code, called.exit_code) == (0, 0), (first, called)
    (name,) = {path.name for path in tmp_path.glob("mlruns/sweeps/*")} - {"mine"}

    arrays["x_train"][7, 5, 5] ^= 1
    np.savez(tmp_path / "mine.npz", **arrays)
    before = {path: path.read_bytes() for path in tmp_path.glob("mlruns/sweeps/*/journal.jsonl")}
    other, refused = calls(tmp_path, sweep, named)
    assert other.exit_code == 0, other
    assert f"sweep {name} has the same config, but other data" in other.err
    assert len(list(tmp_path.glob("mlruns/sweeps/*"))) == 3
    assert refused.exit_code == 2
    assert "sweep.name=mine belongs to another sweep: data was " in refused.err
    assert all(path.read_bytes() == content for path, content in before.items())
