"""Wall time of the `cnn` sweep: two workers with one thread each, or one process with two.

Each round runs both from the start, on the real data, with the same number of epochs; the peer is
the
inline executor of the same rounds.

`parallel.py [epochs=16] [rounds=3] [executors=inline,processes]`, epochs in total, and config
overrides. `epochs=1 rounds=1 data=synthetic data.train_size=600` takes a minute.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from measuring import own_environment, read_sizes_and_overrides, say, say_figure, say_where

from fmnist_sweep import runtime


class Sizes(NamedTuple):
    """How much is trained."""

    epochs: int = 16
    rounds: int = 3
    executors: tuple[str, ...] = ("inline", "processes")


def main(arguments: list[str]) -> None:
    """Measure both, in turn."""
    sizes, overrides = read_sizes_and_overrides(arguments, Sizes())
    workers = runtime.cores()
    each = {
        "inline": (f"inline, {workers} threads", (f"train.threads={workers}",)),
        "processes": (
            f"{workers} processes, 1 thread",
            ("executor=processes", f"executor.workers={workers}"),
        ),
    }
    ways = dict(each[executor] for executor in sizes.executors)
    say_where()
    say(f"+sweep=cnn, {sizes.epochs} epochs in all; wall seconds, and epochs trained an hour")
    walls: dict[str, list[float]] = {way: [] for way in ways}
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(sizes.rounds):
        for way, its_own in ways.items():
            wall, trained = run(f"sweep.max_epochs_total={sizes.epochs}", *its_own, *overrides)
            walls[way].append(wall)
            rates[way].append(3600 * trained / wall)
    for name, measured in (("s", walls), ("epochs/h", rates)):
        peer = next(iter(measured.values()))
        for way, values in measured.items():
            say_figure(way, values, name, peer=peer)


def run(*overrides: str) -> tuple[float, int]:
    """Run a sweep from the start; return its wall seconds and its number of epochs."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "fmnist_sweep", "+sweep=cnn", "sweep.max_minutes=null",
             *overrides],
            cwd=folder, env=own_environment(), stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        wall = time.perf_counter() - began
        (journal,) = Path(folder).glob("mlruns/sweeps/*/journal.jsonl")
        return wall, len(re.findall(r'^{"kind":"epoch"', journal.read_text(), re.MULTILINE))


if __name__ == "__main__":
    main(sys.argv[1:])
