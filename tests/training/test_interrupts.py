"""Signals that ask the process to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from search_fakes import config_with

from fmnist_sweep import interrupts
from fmnist_sweep.executors.inline import InlineExecutor
from fmnist_sweep.executors.protocol import OnEpoch, Rung, outcome_of
from fmnist_sweep.files import write_text_whole
from fmnist_sweep.interrupts import (
    HungUp,
    Quit,
    Terminated,
    interrupts_deferred,
    stop_if_asked,
    terminable,
)
from fmnist_sweep.journal.file import Journal
from fmnist_sweep.journal.records import Ended
from fmnist_sweep.training.results import EpochRecord, RunResult


class SignalsWhileDestroyed:
    """Python drops whatever an object's destruction raises."""

    def __init__(self, number: signal.Signals) -> None:
        self.number = number

    def __del__(self) -> None:
        os.kill(os.getpid(), self.number)


SIGNALS = [
    (signal.SIGTERM, Terminated),
    (signal.SIGINT, KeyboardInterrupt),
    (signal.SIGHUP, HungUp),
    (signal.SIGQUIT, Quit),
]


@pytest.fixture(autouse=True)
def as_in_a_terminal() -> Iterator[None]:
    """Whatever pytest was started under."""
    numbers = (signal.SIGHUP, signal.SIGQUIT)
    before = [signal.signal(number, signal.SIG_DFL) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("number", "raised"), SIGNALS)
def test_a_request_to_stop_is_not_lost(number: signal.Signals, raised: type[BaseException]) -> None:
    with terminable():
        stop_if_asked()
        SignalsWhileDestroyed(number)
        with pytest.raises(raised):
            stop_if_asked()
    stop_if_asked()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT])
def test_a_second_signal_ends_the_process_at_once(number: signal.Signals) -> None:
    code = (
        "import time\n"
        "from fmnist_sweep.interrupts import terminable\n"
        "with terminable(at_once_the_second_time=True):\n"
        "    try:\n"
        "        print('waits', flush=True)\n"
        "        time.sleep(600)\n"
        "    except KeyboardInterrupt:\n"
        "        print('cleans up', flush=True)\n"
        "        time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in ("waits\n", "cleans up\n"):
            assert process.stdout.readline() == line
            process.send_signal(number)
        assert process.wait(60) == 128 + number


def test_a_second_hang_up_ends_nothing_at_once() -> None:
    """A shell that ends sends its own after the terminal's."""
    with terminable(at_once_the_second_time=True):
        with pytest.raises(HungUp):
            os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)


def test_what_is_ignored_or_handled_by_the_caller_stays_so() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    quits = signal.signal(signal.SIGQUIT, lambda number, _: seen.append(number))
    try:
        with terminable():
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGQUIT)
            stop_if_asked()
    finally:
        signal.signal(signal.SIGHUP, before)
        signal.signal(signal.SIGQUIT, quits)
    assert seen == [signal.SIGQUIT]


def test_a_signal_interrupts_at_once_and_its_handler_comes_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), terminable():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_once_asked_to_stop_nothing_more_is_written_whatever_a_library_makes_of_it(
    tmp_path: Path,
) -> None:
    def trains(rung: Rung, on_epoch: OnEpoch) -> RunResult:
        raise ValueError("None values not supported.")  # what Keras made of an interrupt once

    rung = Rung(config_with().run, 0, 1, tmp_path)
    with terminable():
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            InlineExecutor(trains).submit(rung, lambda record: False)
        with pytest.raises(KeyboardInterrupt):
            Journal(tmp_path / "journal.jsonl").append(Ended("enough", at=1.0))
        with pytest.raises(KeyboardInterrupt):
            write_text_whole(tmp_path / "file", "text")
    assert not list(tmp_path.iterdir())
    write_text_whole(tmp_path / "file", "text")


def test_an_exit_of_the_user_s_code_is_the_trial_s_end(tmp_path: Path) -> None:
    def exits(rung: Rung, on_epoch: OnEpoch) -> RunResult:
        sys.exit("no more data")

    def tells(rung: Rung, on_epoch: OnEpoch) -> RunResult:
        on_epoch(EpochRecord(1, {}, ended_at=0.0))
        raise AssertionError

    def is_signalled(rung: Rung, on_epoch: OnEpoch) -> RunResult:
        signal.raise_signal(signal.SIGUSR1)  # a cluster's, before it takes the machine away
        raise AssertionError

    rung = Rung(config_with().run, 0, 1, tmp_path)
    assert outcome_of(exits, rung, lambda record: False).reason == "SystemExit: no more data"
    with pytest.raises(SystemExit, match="7"):  # the caller's own callback
        outcome_of(tells, rung, lambda record: sys.exit(7))
    before = signal.signal(signal.SIGUSR1, lambda number, _: sys.exit(9))
    try:
        with terminable(), pytest.raises(SystemExit, match="9"):
            outcome_of(is_signalled, rung, lambda record: False)
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)]
)
def test_deferred_it_interrupts_where_that_is_looked_for_and_at_the_end(
    number: signal.Signals, raised: type[BaseException]
) -> None:
    done = []

    def work(look: bool) -> None:
        with interrupts_deferred():
            os.kill(os.getpid(), number)
            done.append("inside")
            if look:
                stop_if_asked()
            done.append("after")

    for look in (True, False):
        with pytest.raises(raised), terminable():
            work(look)
    assert done == ["inside", "inside", "after"]
    with terminable(), interrupts_deferred():
        pass


def test_deferred_for_seconds_it_interrupts_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "_LONGEST_DEFERRAL", 0.1)

    def work() -> None:
        with interrupts_deferred():
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(600):
                time.sleep(0.1)

    with pytest.raises(KeyboardInterrupt), terminable(at_once_the_second_time=True):
        work()
    stop_if_asked()
