"""Processes forked from one that has imported TensorFlow, Keras Tuner and MLflow already.

Each is a process of its own, which a signal ends as it ends any other; it only starts five
seconds sooner. What a start itself does is tested with `sys.executable`.
"""

from __future__ import annotations

import atexit
import io
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Self

from loky import ProcessPoolExecutor

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["warm"])
# Starting a process also polls all others, and an exit code can be read only once.
_lock = threading.Lock()


class Forked:
    """Python code that runs in a folder, with the methods of `subprocess.Popen`.

    Args:
        code: what to run, as `python -c` would.
        folder: the working directory.
        arguments: `sys.argv[1:]`.
        env: the whole environment. What counts only while Python, TensorFlow or MLflow are
            imported has no effect.
        stdin: what standard input holds.
        terminal: the descriptor of a terminal, which is standard input, output and error.
    """

    def __init__(
        self,
        code: str,
        folder: Path,
        arguments: Sequence[str],
        env: Mapping[str, str],
        stdin: str = "",
        terminal: int | None = None,
    ) -> None:
        self._printed: list[_Printed] = []
        streams: list[Connection]
        if terminal is None:
            given = tempfile.TemporaryFile()  # noqa: SIM115 - closed as a connection
            given.write(stdin.encode())
            given.seek(0)
            self._printed = [_Printed(), _Printed()]
            streams = [Connection(os.dup(given.fileno())), *(each.end for each in self._printed)]
            given.close()
        else:
            streams = [Connection(os.dup(terminal)) for _ in range(3)]
        what = (code, str(folder), list(arguments), dict(env), streams)
        self._process: ForkServerProcess = _context.Process(target=_run, args=what)
        with _lock:
            _start_server()
            self._process.start()
        for stream in streams:
            stream.close()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.send_signal(signal.SIGKILL)
        self.communicate()

    @property
    def returncode(self) -> int | None:
        """The exit code, minus a signal's number; None while the process runs."""
        return self.poll()

    def poll(self) -> int | None:
        """Return the exit code; None while the process runs."""
        with _lock:
            return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; return the exit code.

        Raises:
            TimeoutExpired: the process still runs.
        """
        wait([self._process.sentinel], timeout)
        code = self.poll()
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired("a forked program", timeout)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end; return what was printed on standard output and standard error, nothing
        if they are a terminal.

        Raises:
            TimeoutExpired: the process still runs.
        """
        self.wait(timeout)
        out, err = (each.text() for each in self._printed) if self._printed else ("", "")
        return out, err


class _Printed:
    """What is printed to a pipe, read by a thread so that the pipe never is full."""

    def __init__(self) -> None:
        self._reads, self.end = _context.Pipe(duplex=False)
        self._parts: list[bytes] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def text(self) -> str:
        """Wait until nobody has the pipe open, which worker processes may for a while."""
        self._thread.join(60)
        return b"".join(self._parts).decode()

    def _read(self) -> None:
        while part := os.read(self._reads.fileno(), 65536):
            self._parts.append(part)
        self._reads.close()


def run_forked(
    code: str, folder: Path, arguments: Sequence[str], env: Mapping[str, str], stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run Python code to its end, as `subprocess.run` does."""
    with Forked(code, folder, arguments, env, stdin) as process:
        out, err = process.communicate(1000.0)
        assert process.returncode is not None
        return subprocess.CompletedProcess((), process.returncode, out, err)


def forked_pool(*given: Any, **settings: Any) -> ProcessPoolExecutor:
    """Return loky's executor with processes that are forked too."""
    with _lock:
        _start_server()
    return ProcessPoolExecutor(*given, context=_context, **settings)


@cache
def _start_server() -> None:
    """Start what is forked from. It finds `warm` by the environment alone (Python 3.11)."""
    here = Path(__file__).parent
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(here), str(here.parent)])
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _run(
    code: str, folder: str, arguments: list[str], env: dict[str, str], streams: list[Connection]
) -> None:
    assert "tensorflow" in sys.modules, "tests/warm.py could not be imported"
    for number, stream in enumerate(streams):
        os.dup2(stream.fileno(), number)
        stream.close()
    os.environ.clear()
    os.environ.update(env)
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(open(0, "rb", closefd=False))  # noqa: SIM115
    for name, number in (("stdout", 1), ("stderr", 2)):
        binary = open(number, "wb", closefd=False)  # noqa: SIM115 - open until the process ends
        text = io.TextIOWrapper(binary, "utf-8", write_through=True)
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)
    os.chdir(folder)
    sys.path.insert(0, "")
    sys.argv = ["-c", *arguments]
    try:
        exec(compile(code, "<forked>", "exec"), {"__name__": "__main__"})
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
