"""Runs the program in processes forked from one that has imported everything already.

Each is a process of its own, which a signal ends as it ends any other; it only starts sooner. On
standard input comes one request a line, as JSON; on standard output go the new process's number
and, when it has ended, its exit status as `os.waitpid` tells it.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from fmnist_sweep import environment

environment.load_tensorflow()
environment.quiet_mlflow()

import fmnist_sweep.cli.launch  # noqa: E402 - imported for those to come, and quietly
import fmnist_sweep.tracking.mlflow.tracker  # noqa: E402
import fmnist_sweep.tuners.opening  # noqa: E402, F401
from fmnist_sweep.cli.app import main  # noqa: E402


def strike(module: str, path: str, nth: int, after: bool, number: int, half_line: str) -> None:
    """Have the process send itself a signal when that function is called the `nth` time."""
    owner = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    function, calls = getattr(owner, name), 0

    def struck(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth and not after:
            os.kill(os.getpid(), number)
        answer = function(*arguments, **named)
        if calls == nth and after:
            if name == "to_line":  # what was to be written is so by half
                with Path(half_line).open("ab") as file:
                    file.write(answer[0][: len(answer[0]) // 2])
            os.kill(os.getpid(), number)
        return answer

    setattr(owner, name, struck)


def run(folder: str, output: str, arguments: list[str], struck: list[Any] | None) -> int:
    """Be the program."""
    os.chdir(folder)
    handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    if struck is not None:
        strike(*struck)
    return main(arguments)


def serve() -> None:
    """Answer requests until there are no more."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            os._exit(run(**request))
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{status}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
