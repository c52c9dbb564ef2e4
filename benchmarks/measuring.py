"""Shared by the benchmarks: sizes, hardware, separate processes, printing of figures."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from fmnist_sweep import runtime
from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.provenance import environment_of_run

Sizes = TypeVar("Sizes", bound=NamedTuple)


def read_sizes(arguments: Sequence[str], sizes: Sizes) -> Sizes:
    """Return a benchmark's sizes, changed by arguments such as `rounds=1`.

    Raises:
        SystemExit: an argument is not a size; the message names them.
    """
    read, others = read_sizes_and_overrides(arguments, sizes)
    for other in others:
        raise SystemExit(f"{other}: there is no such size here; there are {_as_written(sizes)}")
    return read


def read_sizes_and_overrides(
    arguments: Sequence[str], sizes: Sizes
) -> tuple[Sizes, tuple[str, ...]]:
    """Return sizes as `read_sizes` does, and the other arguments, which are config overrides."""
    given, others = {}, []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals:
            raise SystemExit(f"{argument}: wanted is name=value, such as {_as_written(sizes)}")
        if name in sizes._fields:
            given[name] = _like(getattr(sizes, name), argument, value)
        else:
            others.append(argument)
    return sizes._replace(**given), tuple(others)


def _like(default: Any, argument: str, value: str) -> Any:
    if isinstance(default, tuple):  # defaults are never empty
        return tuple(_like(default[0], argument, one) for one in value.split(","))
    try:
        return type(default)(value)
    except ValueError:
        raise SystemExit(f"{argument}: {value!r} is no number") from None


def _as_written(sizes: NamedTuple) -> str:
    values = sizes._asdict().items()
    return " ".join(
        f"{name}={','.join(map(str, value)) if isinstance(value, tuple) else value}"
        for name, value in values
    )


def say(line: str) -> None:
    """Print a line immediately."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def say_where() -> None:
    """Print hardware, versions, and the current load of the machine."""
    threads = f"train.threads={runtime.cores()}"
    place = environment_of_run(compose_config([threads]).run, ())
    versions = {**place.numerics.versions, **place.packages}
    say(f"{place.numerics.cpu}, {runtime.cores()} cores, {place.platform}")
    say(", ".join(f"{name} {version}" for name, version in versions.items()))
    say(f"load average before: {os.getloadavg()[0]:.1f}")


def say_figure(
    name: str,
    values: Sequence[float],
    unit: str,
    *,
    peer: Sequence[float] | None = None,
    whose: str = "the peer's",
) -> None:
    """Print median, range and n of a figure, and its ratio to its peer's median."""
    median = statistics.median(values)
    ratio = "" if peer is None else f", {median / statistics.median(peer):.2f} times {whose}"
    say(
        f"{name:34} median {median:.4g} {unit}, {min(values):.4g} to {max(values):.4g}, "
        f"n={len(values)}{ratio}"
    )


def in_process(script: str, *arguments: str, cwd: Path | None = None) -> Any:
    """Run a benchmark's file with arguments in a new process; return the JSON of its last line.

    Without `cwd` it runs in an empty temporary folder. MLflow logs there, to SQLite, regardless of
    the
    user's settings.
    """
    with started(script, *arguments, cwd=cwd) as process:
        printed, _ = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"{script} {' '.join(arguments)}: exit code {process.returncode}")
    return json.loads(printed.splitlines()[-1])


@contextmanager
def started(
    script: str, *arguments: str, cwd: Path | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Start such a process; several can run at a time."""
    with tempfile.TemporaryDirectory() as folder, subprocess.Popen(
        [sys.executable, script, *arguments],
        cwd=cwd or folder, env=own_environment(), stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        yield process


def own_environment() -> dict[str, str]:
    """Return this environment without variables that would send MLflow elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}


def tell(value: Any) -> None:
    """Print the value that `in_process` returns."""
    say(json.dumps(value))
