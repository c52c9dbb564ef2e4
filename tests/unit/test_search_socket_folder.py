"""The folder of an owner's socket goes with the owner; a killed owner's when others start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fmnist_sweep.executors.socket_folder import remove_abandoned, socket_folder

OWNER = """
import sys, time
from pathlib import Path
from fmnist_sweep.executors import socket_folder
from fmnist_sweep.executors.processes import worker_processes
from fmnist_sweep.executors.worker_messages import Job
socket_folder._place = lambda: Path(sys.argv[1])
with worker_processes(1, 0, Job(Path("data"), 10, 1, None, None)) as executor:
    print(Path(executor._calls.address_of(0).listener).parent, flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where these folders are here: other tests' sweeps remove abandoned ones too."""
    with tempfile.TemporaryDirectory(prefix="place-", dir="/tmp") as made:  # short, for a socket
        monkeypatch.setattr("fmnist_sweep.executors.socket_folder._place", lambda: Path(made))
        yield Path(made)


@contextmanager
def owner(place: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """Another process that owns an executor, and the folder of its socket."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(place)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield Path(process.stdout.readline().strip()), process
        finally:
            process.kill()


def test_it_goes_with_its_owner() -> None:
    with socket_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert len(str(folder / "socket")) < 104, "what macOS takes, Linux a little more"
    assert not folder.exists()


@pytest.mark.slow
def test_a_killed_owner_s_is_removed_and_a_live_one_s_stays(place: Path) -> None:
    with owner(place) as (live, _), owner(place) as (left, process), socket_folder() as own:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (left / "socket").exists()
        remove_abandoned()
        assert not left.exists()
        assert (live / "socket").exists()
        assert own.exists(), "this process is alive too"
    remove_abandoned()
    assert not live.exists()


def test_nothing_else_is_removed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with socket_folder() as own:
        link, file = (own.with_name(f"{own.name}-{what}") for what in ("link", "file"))
        link.symlink_to(tmp_path)
        file.write_text("mine")
        try:
            remove_abandoned()
            assert link.is_symlink()
            assert file.read_text() == (tmp_path / "file").read_text() == "mine"
        finally:
            link.unlink()
            file.unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder another user's")
def test_another_user_s_stays() -> None:
    with socket_folder() as own:
        theirs = own.with_name(f"{own.name}-theirs")
        theirs.mkdir()
        os.chown(theirs, 65534, -1)
        remove_abandoned()
        assert theirs.is_dir()
        os.chown(theirs, os.geteuid(), -1)
        remove_abandoned()
        assert not theirs.exists()


def test_a_folder_that_is_taken_before_it_is_locked_is_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Path] = []
    mkdtemp = tempfile.mkdtemp

    def mkdtemp_and_lose(**given: Any) -> str:
        made.append(Path(mkdtemp(**given)))
        if len(made) == 1:
            remove_abandoned()  # somebody else starts at this moment
        return str(made[-1])

    monkeypatch.setattr(tempfile, "mkdtemp", mkdtemp_and_lose)
    with socket_folder() as own:
        assert own == made[1]
        assert own.is_dir()
        assert not made[0].exists()
