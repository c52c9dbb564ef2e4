"""Files are there whole or not at all, and nothing half-made stays beside them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fmnist_sweep.files import write_text_whole, write_whole

KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from fmnist_sweep.files import write_whole

with write_whole(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "a[1].yaml"
    write_text_whole(path, "old")
    writer = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, str(path)], check=False)
    assert writer.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    at_work = tmp_path / f".{path.name}.{os.getppid()}.tmp"
    at_work.write_text("of a process that lives")
    write_text_whole(path, "new")
    assert path.read_text() == "new"
    assert set(tmp_path.iterdir()) == {path, at_work}


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()])
def test_an_error_while_writing_leaves_the_old_file_alone(
    error: BaseException, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    write_text_whole(path, "old")

    def write() -> None:
        with write_whole(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert [(found.name, found.read_text()) for found in tmp_path.iterdir()] == [("file", "old")]
