"""One process a sweep: real processes, a real SIGKILL."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from fmnist_sweep.errors import SweepStopped
from fmnist_sweep.journal.lock import held

HOLD = """
import sys, time
from pathlib import Path
from fmnist_sweep.journal.lock import held

with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its input is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "mine" / "lock"
    with holder(path) as process:
        with pytest.raises(SweepStopped) as raised, held(path):
            pass
        assert str(raised.value) == (
            f"sweep mine is already running, locked by pid {process.pid} on {socket.gethostname()}"
            "; wait for it, or stop it and run the same command again"
        )
        assert raised.value.exit_code == 1
        # The one that was refused has left the holder's name alone.
        with pytest.raises(SweepStopped, match=f"pid {process.pid} on"), held(path):
            pass


def test_the_lock_of_a_killed_process_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "mine" / "lock"
    with holder(path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with held(path):
            assert str(process.pid) not in path.read_text()


def test_the_lock_is_let_go_at_the_end_and_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "mine" / "lock"
    with pytest.raises(KeyError), held(path):
        raise KeyError
    for _ in range(2):
        with held(path):
            pass


def test_sweeps_of_other_names_do_not_wait_for_each_other(tmp_path: Path) -> None:
    with holder(tmp_path / "one" / "lock"), held(tmp_path / "two" / "lock"):
        pass


def test_children_do_not_inherit_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "mine" / "lock"
    with held(path):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with held(path):
            pass
    finally:
        child.communicate()


def test_a_lock_whose_folder_was_removed_meanwhile_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, taken = tmp_path / "mine" / "lock", []

    def flock(file: IO[str], how: int) -> None:
        if not taken:
            shutil.rmtree(path.parent)
        taken.append(file.fileno())
        straight(file, how)

    straight = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", flock)
    with held(path):
        assert path.read_text().startswith(f"pid {os.getpid()} on ")
    assert len(taken) == 2
