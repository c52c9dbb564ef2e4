"""Start-up times: of `--help`, of the import, from the command to the first training step.

The first step is that of a `cnn` sweep on the real data, with and without an existing store. The
peer
is the necessary minimum: `import tensorflow` and `import mlflow` in one process.

`start.py [repeats=5]`, and config overrides of the sweep. `repeats=1 data=synthetic` takes half a
minute.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from measuring import own_environment, read_sizes_and_overrides, say_figure, say_where

IMPORTS = "import tensorflow, mlflow"
LIGHT = """
import sys, fmnist_sweep
heavy = {"tensorflow", "keras", "mlflow", "numpy", "pandas"} & set(sys.modules)
assert not heavy, heavy
"""
# A sweep up to its first step, at which it creates a file.
FIRST_STEP = """
import sys
from pathlib import Path
from fmnist_sweep import runtime
runtime.load_tensorflow()
from fmnist_sweep.training import interrupts

looking = interrupts._looking
def marking(step, batches):
    given = looking(step, batches)
    Path("stepped").touch()
    return given
interrupts._looking = marking

from fmnist_sweep.cli.app import main
sys.exit(main(["+sweep=cnn", *sys.argv[1:]]))
"""


class Sizes(NamedTuple):
    """How often each time is measured."""

    repeats: int = 5


def main(arguments: list[str]) -> None:
    """Measure each, in turn."""
    sizes, overrides = read_sizes_and_overrides(arguments, Sizes())
    say_where()
    found: dict[str, list[float]] = {}
    for _ in range(sizes.repeats):
        found.setdefault("import tensorflow, mlflow", []).append(seconds_of("-c", IMPORTS))
        found.setdefault("import fmnist_sweep", []).append(seconds_of("-c", LIGHT))
        found.setdefault("--help", []).append(seconds_of("-m", "fmnist_sweep", "--help"))
        with tempfile.TemporaryDirectory() as folder:
            for store in ("without a store", "with a store"):
                seconds = until_a_step(Path(folder), overrides)
                found.setdefault(f"first step, {store}", []).append(seconds)
    peer = found["import tensorflow, mlflow"]
    for name, measured in found.items():
        say_figure(name, measured, "s", peer=peer)


def seconds_of(*arguments: str) -> float:
    """Return how long a Python command takes."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments], env=own_environment(), check=True, capture_output=True
    )
    return time.perf_counter() - began


def until_a_step(folder: Path, overrides: tuple[str, ...]) -> float:
    """Return the seconds until a sweep in that folder has made a step, and interrupt it there."""
    (folder / "stepped").unlink(missing_ok=True)
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", FIRST_STEP, *overrides],
        cwd=folder, env=own_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:  # fmt: skip
        while not (folder / "stepped").exists():
            if process.poll() is not None:
                raise SystemExit("the sweep ended before its first step")
            time.sleep(0.005)
        seconds = time.perf_counter() - began
        os.kill(process.pid, signal.SIGTERM)
    return seconds


if __name__ == "__main__":
    main(sys.argv[1:])
