"""What the live display makes of what it hears."""

from __future__ import annotations

import io
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from search_fakes import InstantExecutor, LateExecutor, config_with, run, train_at_once

from fmnist_sweep.cli.live import LiveSweep, LiveTraining, Screen
from fmnist_sweep.config.schema import Config, RunConfig
from fmnist_sweep.executors.protocol import OnEpoch, Rung, RungOutcome
from fmnist_sweep.journal.records import Record
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.training.progress import StepProgress

SPACE = {"train": {"batch_size": {"choice": [16, 32, 64, 128]}}}


class Watched:
    """A sweep that a display follows, with what was printed and each picture of it."""

    def __init__(self, config: Config, folder: Path, executor: InstantExecutor) -> None:
        self.file = io.StringIO()
        out = Console(file=self.file, width=100, force_terminal=False, highlight=False)
        self.screen = Screen(out)
        self.live = LiveSweep(config, out, self.screen)
        self.pictures: list[list[str]] = []

        def observe(record: Record, state: SweepState) -> None:
            self.live.on_record(record, state)
            self.look()

        executor.watch = self  # type: ignore[attr-defined]
        self.end = run(config, folder, executor, observer=observe)

    def look(self) -> None:
        self.pictures.append([line.plain.rstrip() for line in self.screen.lines(100)])

    @property
    def printed(self) -> list[str]:
        return self.file.getvalue().splitlines()


class Stepping(LateExecutor):
    """Tells of two steps of each epoch."""

    watch: Any = None

    def submit(self, rung: Rung, on_epoch: OnEpoch) -> Future[RungOutcome]:
        def told(record: Any) -> bool:
            for step in (1, 2):
                loss, accuracy = record.metrics["loss"], record.metrics["accuracy"]
                self.watch.live.on_step(
                    rung, StepProgress(record.epoch, rung.last_epoch, step, 2, loss, accuracy)
                )
                self.watch.look()
            return on_epoch(record)

        return super().submit(rung, told)


def running(picture: list[str]) -> list[str]:
    return [line for line in picture if line.startswith("trial ")]


def test_a_line_for_each_trial_that_runs_and_none_for_others(tmp_path: Path) -> None:
    config = config_with(SPACE, tuner="grid", train__epochs=3, sweep__max_trials=4)
    watched = Watched(config, tmp_path, Stepping(workers=2))
    most = max(len(running(picture)) for picture in watched.pictures)
    assert most == 2
    last = watched.pictures[-1]
    assert running(last) == []
    assert last[0].startswith("sweep  ")
    assert "100 %  4 of 4 trials" in last[0]
    best = watched.end.state.best
    assert best is not None
    assert f"val_accuracy {best.score:.4f}  trial {best.number}  " in last[1]
    assert [line.split()[1] for line in watched.printed] == [
        str(told.trial) for told in watched.end.journal.records if told.kind == "told"
    ]
    assert sum("  best  " in line for line in watched.printed) >= 1
    half = [
        line for picture in watched.pictures for line in running(picture) if "starting" not in line
    ]
    assert any(line.count("━") == line.count("─") > 0 for line in half)
    assert all(" of 1-3  loss " in line and "  accuracy " in line for line in half)


def test_an_executor_that_tells_of_no_steps_is_shown_by_its_epochs(tmp_path: Path) -> None:
    config = config_with(SPACE, tuner="grid", train__epochs=3, sweep__max_trials=2)
    watched = Watched(config, tmp_path, LateExecutor(workers=2))
    seen = [line for picture in watched.pictures for line in running(picture)]
    assert any("epoch 2 of 1-3  loss " in line for line in seen)


def test_promotions_and_failures_are_named(tmp_path: Path) -> None:
    def breaks(config: RunConfig) -> bool:
        return config.train.batch_size == 16

    config = config_with(SPACE, tuner="hyperband", train__epochs=9, sweep__max_epochs_total=60)
    watched = Watched(config, tmp_path, Stepping(breaks))
    failed = watched.end.state.failed_trials
    assert failed
    for number in failed:
        assert any(
            line.startswith(f"trial {number}  failed: TrialFailed: it broke")
            for line in watched.printed
        )
    seen = {line for picture in watched.pictures for line in running(picture)}
    assert any("epoch 4 of 4-9 (promoted)  loss " in line for line in seen)


def test_a_sweep_that_goes_on_says_from_where(tmp_path: Path) -> None:
    config = config_with(SPACE, tuner="grid", train__epochs=3, sweep__max_trials=2)
    end = run(config, tmp_path)
    file = io.StringIO()
    out = Console(file=file, width=100)
    LiveSweep(config, out, Screen(out)).on_state(end.state)
    assert file.getvalue() == "already done: 2 trials, 6 epochs\n"


def test_a_confirmation_is_a_part_of_the_sweep_with_its_own_bar(tmp_path: Path) -> None:
    config = config_with(
        SPACE, tuner="grid", train__epochs=4, sweep__max_trials=3,
        sweep__confirm={"top": 2, "seeds": 2},
    )  # fmt: skip
    end = run(config, tmp_path)
    out = Console(file=io.StringIO(), width=100)
    screen = Screen(out)
    live = LiveSweep(config, out, screen)
    live.on_state(end.state)
    live.on_step(Rung(config.run, 0, 4, tmp_path, 2), StepProgress(2, 4, 5, 10, 0.5, 0.75))
    first, _, line, _values = [line.plain.rstrip() for line in screen.lines(100)]
    # An epoch and a half of four, of one of four trainings.
    assert first.endswith(" 9 %  confirmation, 0 of 4")
    assert line.startswith(f"trial 2, seed {config.train.seed}  ")
    assert line.endswith(" epoch 2 of 1-4  loss 0.5000  accuracy 0.7500")


def test_a_confirmation_says_how_long_it_will_still_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_with(
        SPACE, tuner="grid", train__epochs=4, sweep__max_trials=3,
        sweep__confirm={"top": 2, "seeds": 2},
    )  # fmt: skip
    end = run(config, tmp_path)
    out = Console(file=io.StringIO(), width=100)
    screen = Screen(out)
    live = LiveSweep(config, out, screen)
    clock = SimpleNamespace(now=1000.0, monotonic=lambda: clock.now)
    monkeypatch.setattr("fmnist_sweep.cli.live.time", clock)

    def first_line(epoch: int) -> str:
        live.on_step(Rung(config.run, 0, 4, tmp_path, 2), StepProgress(epoch, 4, 0, 10, 0.5, 0.5))
        return next(iter(screen.lines(100))).plain.rstrip()

    live.on_state(end.state)
    assert first_line(1).endswith("confirmation, 0 of 4")  # too early
    clock.now += 60.0
    # An epoch took a minute, and 15 are left.
    assert first_line(2).endswith("confirmation, 0 of 4  about 15 min left")


def test_a_training_s_bar(tmp_path: Path) -> None:
    out = Console(file=io.StringIO(), width=100)
    screen = Screen(out)
    live = LiveTraining(out, screen)
    assert list(screen.lines(100)) == []
    live.on_step(StepProgress(1, 2, 5, 10, 0.5, 0.75))
    first, second = [line.plain.rstrip() for line in screen.lines(100)]
    assert first.endswith(" 25 %  0 of 2 epochs")
    assert second.startswith("now  ")
    assert second.endswith(" epoch 1 of 2  loss 0.5000  accuracy 0.7500")
    live.on_epoch(train_at_once(config_with().run, 1)[0][0])
    (only,) = [line.plain.rstrip() for line in screen.lines(100)]
    assert only.endswith(" 50 %  1 of 2 epochs")
