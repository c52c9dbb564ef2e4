"""Sweeps that are killed again and again, and compared with one that nobody disturbed.

`python tests/torture.py [KILLS] [SEED]` makes at least so many kills, over all tuners;
`tests/test_torture.py` makes a few.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from forked import Forked
from program import QUICK_SPACE, SMALL, Store, artifact, assert_same_outcome, environment

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
FOLDS = "folds"
SWEEPS = {
    "random": ["train.epochs=2", "sweep.max_trials=3"],
    "grid": ["train.epochs=2", "sweep.max_trials=3"],
    "bayesian": ["train.epochs=1", "tuner.initial_points=3", "sweep.max_trials=4"],
    "hyperband": ["train.epochs=3", "sweep.max_trials=4"],
    "tpe": ["scheduler=asha", "train.epochs=3", "tuner.initial_points=2", "sweep.max_trials=4"],
    "cmaes": ["train.epochs=1", "tuner.population=5", "sweep.max_trials=7"],
    "nsga2": ["train.epochs=1", "tuner.population=2", "sweep.max_trials=4"],
    "qmc": ["scheduler=median", "train.epochs=2", "sweep.max_trials=3"],
    FOLDS: [
        "split=kfold",
        "split.folds=2",
        "scheduler=asha",
        "train.epochs=3",
        "sweep.max_trials=3",
    ],
}
"""By the tuner's name, but for the random one's on folds."""
PLACES = {
    "set-up of the store": ("fmnist_sweep.tracking.mlflow.store", "_put_in_place"),
    "experiment": ("fmnist_sweep.tracking.mlflow.tracker", "open_experiment"),
    "ask": ("fmnist_sweep.sweep.loop", "SweepLoop._next_rung"),
    "build": ("fmnist_sweep.training.rung", "build_cnn"),
    "mid-epoch": ("fmnist_sweep.training.train", "evaluate"),
    "flush to disk": ("os", "fsync"),
    "checkpoint": ("fmnist_sweep.training.checkpoint", "CheckpointFolder.save"),
    "best model": ("fmnist_sweep.training.rung", "_save_model"),
    "journal": ("fmnist_sweep.journal.file", "Journal.append"),
    "half a line": ("fmnist_sweep.journal.file", "to_line"),
    "run": ("fmnist_sweep.tracking.mlflow.tracker", "MlflowTracker.start"),
    "metrics": ("fmnist_sweep.tracking.mlflow.tracker", "MlflowTracker._log"),
    "artifact": ("fmnist_sweep.tracking.mlflow.tracker", "MlflowTracker.file"),
    "end of a run": ("fmnist_sweep.tracking.mlflow.tracker", "MlflowTracker.end"),
    "confirmation": ("fmnist_sweep.sweep.finish", "_confirmed"),
    "official test": ("fmnist_sweep.sweep.finish", "evaluate_saved"),
    "export": ("fmnist_sweep.sweep.run", "write_best_file"),
    "tidying up": ("fmnist_sweep.sweep.trial_folders", "TrialFolders.clear"),
}
"""Functions at whose beginning or end the program sends itself a signal."""
ONCE = {
    "set-up of the store", "experiment", "official test", "export", "tidying up",
}  # fmt: skip


@dataclass(frozen=True)
class Kill:
    """A signal, and when it is sent: at a place in the program, the `nth` time that it comes by, or
    so many seconds after the start."""

    number: signal.Signals
    place: str | None
    nth: int = 1
    after: bool = False
    seconds: float = 0.0

    def __str__(self) -> str:
        if self.place is None:
            return f"{self.number.name} after {self.seconds:.2f} s"
        return f"{self.number.name} {'after' if self.after else 'at'} {self.place} {self.nth}"


def draw(random_: random.Random, longest: float) -> Kill:
    """Draw a kill; half of them are at a place, half at any time up to `longest` seconds."""
    number = random_.choice(SIGNALS)
    if random_.random() < 0.5:
        return Kill(number, None, seconds=random_.uniform(0.0, longest))
    place = random_.choice(list(PLACES))
    nth = 1 if place in ONCE else random_.randint(1, 4)
    after = place == "half a line" or random_.random() < 0.5
    return Kill(number, place, nth, after)


def each_place(random_: random.Random) -> list[Kill]:
    """Return a kill by each of three signals at each place, the first time that it comes by."""
    each = [
        Kill(number, place, 1, after=place == "half a line" or random_.random() < 0.5)
        for place in PLACES
        for number in SIGNALS[:3]  # the program knows the others by their exit codes alone
    ]
    random_.shuffle(each)
    return each


@dataclass
class Report:
    """What happened to a sweep. `latest` is the longest time from a signal to the end, in s."""

    kills: list[Kill] = field(default_factory=list)
    missed: list[Kill] = field(default_factory=list)
    latest: float = 0.0


def arguments_of(tuner: str) -> list[str]:
    """A small sweep with that tuner, its best trial confirmed, on drawn images."""
    confirm = "sweep.confirm={top: 1, seeds: 2}"
    small = [word for word in SMALL if tuner != FOLDS or "validation" not in word]
    searched = "tuner=random" if tuner == FOLDS else f"tuner={tuner}"
    return [*small, *QUICK_SPACE, searched, *SWEEPS[tuner], confirm, "sweep.name=mine"]


_STRUCK = """
import json, sys
from torture import strike

struck, *sys.argv[1:] = json.loads(sys.argv[1]), *sys.argv[2:]
if struck is not None:
    strike(*struck)
from fmnist_sweep.__main__ import run
run()
"""


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


def launch(tuner: str, folder: Path, kill: Kill | None = None) -> Ended:
    """Run that tuner's sweep in a folder, with a kill or without."""
    struck, sent = None, None
    if kill is not None and kill.place is not None:
        journal = folder / "mlruns" / "sweeps" / "mine" / "journal.jsonl"
        struck = [*PLACES[kill.place], kill.nth, kill.after, int(kill.number), str(journal)]
    arguments = [json.dumps(struck), *arguments_of(tuner)]
    with Forked(_STRUCK, folder, arguments, environment()) as process:
        if kill is not None and kill.place is None:
            try:
                process.wait(kill.seconds)
            except subprocess.TimeoutExpired:
                sent = time.monotonic()
                process.send_signal(kill.number)
        code = process.wait()
        took = None if sent is None else time.monotonic() - sent
        return Ended(code, "".join(process.communicate()), took)


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code, or minus a signal's number; what it printed; the seconds
    from a signal sent from outside to its end."""

    code: int
    printed: str
    seconds: float | None


def undisturbed(tuner: str, folder: Path) -> float:
    """Run the sweep to its end; return the seconds that it took."""
    folder.mkdir(parents=True)
    started = time.monotonic()
    ended = launch(tuner, folder)
    assert ended.code == 0, ended.printed
    return time.monotonic() - started


def torture(tuner: str, folder: Path, kills: Iterator[Kill], most: int, whole: Path) -> Report:
    """Run the sweep, killing it `most` times, then to its end, and hold it to the undisturbed one.

    A kill at a place that is not come by, or later than the sweep's end, is no kill.
    """
    folder.mkdir(parents=True)
    report = Report()
    while len(report.kills) < most:
        kill = next(kills)
        ended = launch(tuner, folder, kill)
        if ended.code == 0:
            report.missed.append(kill)
            if len(report.missed) == 2:
                break
            continue
        report.kills.append(kill)
        _check_end(kill, ended.code, ended.printed, folder)
        if kill.number is not signal.SIGKILL and ended.seconds is not None:
            report.latest = max(report.latest, ended.seconds)
    ended = launch(tuner, folder)
    told = ", ".join(map(str, report.kills))
    assert ended.code == 0, f"{tuner}, after {told}: {ended.printed}"
    try:
        assert_nobody_would_notice(whole, folder)
    except AssertionError as error:
        raise AssertionError(f"{tuner} in {folder}, after {told}: {error}") from error
    return report


def _check_end(kill: Kill, code: int, printed: str, folder: Path) -> None:
    if kill.number is signal.SIGKILL:
        assert code == -signal.SIGKILL, f"{kill}: {code}: {printed}"
        return
    # Before the program's first line Python itself deals with signals.
    assert code in (128 + kill.number, -kill.number), f"{kill}: {code}: {printed}"
    if code == 128 + kill.number:
        assert "Traceback" not in printed, f"{kill}: {printed}"
    if code > 0 and "sweep mine: tuner" in printed:
        assert "To resume: python -m fmnist_sweep" in printed, f"{kill}: {printed}"


def assert_nobody_would_notice(whole: Path, killed: Path) -> None:
    """Hold a sweep to an undisturbed one: leaderboard, metrics, weights, journal, artifacts."""
    assert_same_outcome(whole, killed)
    for look in (_runs, _journal, _files, _config):
        there, here = look(whole), look(killed)
        assert there == here, f"{look.__name__}: {there} is now {here}"


def _runs(folder: Path) -> dict[str, Any]:
    """Each run by its name, with what of it does not tell the time: no run may be there twice."""
    store = Store(folder)
    runs = [
        (
            run.info.run_name,
            run.info.status,
            run.data.params,
            {n: tag for n, tag in run.data.tags.items() if not n.startswith(("mlflow", "fmnist"))},
            {name: store.steps(run, name) for name in run.data.metrics},
            sorted(
                str(path.relative_to(artifact(folder, run, "")))
                for path in artifact(folder, run, "").rglob("*")
            ),
        )
        for run in store.runs
    ]  # fmt: skip
    named = {name: rest for name, *rest in runs}
    assert len(named) == len(runs), f"runs twice: {Counter(name for name, *_ in runs)}"
    return named


def _journal(folder: Path) -> list[Any]:
    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: timeless(inner)
                for key, inner in value.items()
                if key not in ("at", "crc32", "seconds", "epoch_seconds", "train_seconds")
            }
        return [timeless(inner) for inner in value] if isinstance(value, list) else value

    path = folder / "mlruns" / "sweeps" / "mine" / "journal.jsonl"
    return [timeless(json.loads(line)) for line in path.read_bytes().splitlines()]


def _files(folder: Path) -> set[str]:
    """What is left on disk, artifacts aside, which have ids in their names."""
    ignored = ("mlruns/artifacts", "mlruns/mlflow.db")
    names = (str(path.relative_to(folder)) for path in folder.rglob("*"))
    return {name for name in names if not name.startswith(ignored)}


def _config(folder: Path) -> list[str]:
    """The exported winner; its header tells when it was made."""
    (path,) = (folder / "experiments" / "best").glob("*.yaml")
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]


def main(kills: int = 100, seed: int | None = None, at_once: int = 2, a_sweep: int = 3) -> None:
    """Make so many kills at least, over all tuners, by each signal at each place among them, and
    print what came of them."""
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    say(f"seed {seed}: {kills} kills")
    folder = Path(tempfile.mkdtemp(prefix="torture-"))  # stays where something goes wrong
    placed = each_place(random.Random(seed))

    def wholly(tuner: str) -> float:
        return undisturbed(tuner, folder / tuner)

    def killed(number: int) -> Report:
        tuner = list(SWEEPS)[number % len(SWEEPS)]
        random_ = random.Random(f"{seed}/{number}")
        drawn = chain(placed[number : number + 1], iter(partial(draw, random_, took[tuner]), None))
        report = torture(tuner, folder / f"{number}", drawn, a_sweep, folder / tuner)
        say(f"{tuner}: survived {', '.join(map(str, report.kills))}")
        return report

    with ThreadPoolExecutor(at_once) as pool:
        took = dict(zip(SWEEPS, pool.map(wholly, SWEEPS), strict=True))
        reports: list[Report] = []
        while sum(len(report.kills) for report in reports) < kills or len(reports) < len(placed):
            first = len(reports)
            reports += pool.map(killed, range(first, first + len(SWEEPS)))
    shutil.rmtree(folder)
    made = Counter(kill.number.name for report in reports for kill in report.kills)
    missed = sum(len(report.missed) for report in reports)
    latest = max(report.latest for report in reports)
    places = Counter(kill.place for report in reports for kill in report.kills if kill.place)
    say(f"at places: {dict(places)}")
    say(
        f"{made.total()} kills survived of {made.total()} made ({dict(made)}), over "
        f"{len(reports)} sweeps; {missed} came too late; a sweep that was asked to end did so "
        f"within {latest:.1f} s"
    )


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
