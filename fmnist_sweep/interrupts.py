"""Signals that ask the process to end: when they interrupt, and how they are kept from being
lost."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


@contextmanager
def terminable(*, at_once_the_second_time: bool = False) -> Iterator[None]:
    """Make SIGTERM, SIGHUP (the terminal was closed) and SIGQUIT (Ctrl-\\) interrupt the block as
    Ctrl-C does, by raising `Terminated`. A second signal interrupts again, or ends the process
    immediately; a second SIGHUP is ignored, because a shell sends its own after the terminal's. A
    nested block has no effect.

    Signals that are ignored at the start remain so: SIGHUP under nohup, Ctrl-C for background jobs.
    A caller's own handlers of SIGHUP and SIGQUIT are not replaced.

    Python drops an exception that a signal raises while an object is being destroyed, which happens
    often while a network's graph is freed; libraries convert it to other errors. So the request is
    recorded, and `stop_if_asked` checks it before anything is written.
    """

    def stop(number: int, _frame: object) -> None:
        if _insisting:
            _insisting.clear()
            raise _asked_to_stop[0]
        if _asked_to_stop and number == signal.SIGHUP:
            return
        if _asked_to_stop and at_once_the_second_time:
            os._exit(128 + number)  # files on disk are complete
        _asked_to_stop.append(_RAISED[number])
        if not _deferring:
            raise _asked_to_stop[-1]
        insist = threading.Timer(_LONGEST_DEFERRAL, _insist, [number])
        insist.daemon = True
        insist.start()

    global _is_terminable
    if _is_terminable:
        yield
        return
    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        numbers.append(signal.SIGINT)
    for number in (signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_DFL:
            numbers.append(number)
    try:
        before = {number: signal.signal(number, stop) for number in numbers}
    except ValueError:  # not the main thread, where signals are handled
        yield
        return
    report_dropped = sys.unraisablehook

    def report_unless_kept(dropped: sys.UnraisableHookArgs) -> None:
        if not (_asked_to_stop and issubclass(dropped.exc_type, KeyboardInterrupt)):
            report_dropped(dropped)

    sys.unraisablehook = report_unless_kept
    _is_terminable = True
    try:
        yield
    finally:
        _is_terminable = False
        sys.unraisablehook = report_dropped
        _asked_to_stop.clear()
        _insisting.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


def _insist(number: int) -> None:
    if _deferring and _asked_to_stop:
        _insisting.append(True)
        os.kill(os.getpid(), number)


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Make signals only set a request inside the block, which `stop_if_asked` raises; also a
    decorator. If TensorFlow is interrupted during its own work, it may crash or raise another
    error; this is risked only when the work takes seconds, such as the tracing of a large network.

    Raises:
        KeyboardInterrupt: at the end of the block, if requested.
    """
    _deferring.append(True)
    try:
        yield
    finally:
        _deferring.pop()
    stop_if_asked()


def stop_if_asked(error: BaseException | None = None) -> None:
    """Raise the interrupt that a signal asked for inside `terminable`, should it have been lost, or
    deferred; or `error`, where it is the exit of a signal handler of the caller's.

    Raises:
        KeyboardInterrupt: `Terminated` after another signal than Ctrl-C's.
        SystemExit: that exit.
    """
    if _asked_to_stop:
        raise _asked_to_stop[0]
    if isinstance(error, SystemExit) and _is_of_handler(error):
        raise error


def ask_to_stop() -> None:
    """Make `stop_if_asked` raise in this process from now on, as after a SIGTERM; for a process
    that trains in another thread than the main one, where signals are handled."""
    _asked_to_stop.append(Terminated)


def _is_of_handler(error: SystemExit) -> bool:
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    codes = [getattr(handler, "__code__", None) for handler in handlers]
    return any(frame.f_code in codes for frame, _ in traceback.walk_tb(error.__traceback__))


def end_process(code: int) -> NoReturn:
    """End the process with an exit code after flushing its output, without any other cleanup."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


_asked_to_stop: list[type[KeyboardInterrupt]] = []
_deferring: list[bool] = []
_insisting: list[bool] = []
_LONGEST_DEFERRAL = 2.0
_is_terminable = False


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM.

    Attributes:
        exit_code: the program's exit code, 128 plus the signal's number.
        word: the message for the user.
    """

    exit_code = 143
    word = "terminated"


class HungUp(Terminated):
    """The process was asked to end by SIGHUP: its terminal was closed."""

    exit_code = 129
    word = "the terminal was closed"


class Quit(Terminated):
    """The process was asked to end by SIGQUIT."""

    exit_code = 131
    word = "quit"


_RAISED: dict[int, type[KeyboardInterrupt]] = {
    signal.SIGINT: KeyboardInterrupt,
    signal.SIGTERM: Terminated,
    signal.SIGHUP: HungUp,
    signal.SIGQUIT: Quit,
}
