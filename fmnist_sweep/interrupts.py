"""Signals that ask the process to end: when they interrupt, and that none is lost."""

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
    """Have SIGTERM, SIGHUP (the terminal was closed) and SIGQUIT (Ctrl-\\) interrupt the block as
    Ctrl-C does, but as `Terminated`. A second signal does so again, or ends the process at once;
    a second SIGHUP does nothing: a shell that ends sends its own after the terminal's. Inside
    another such block it changes nothing.

    What is ignored at the start stays so: SIGHUP under nohup, Ctrl-C for a job in the background.
    A caller's own handler of SIGHUP or SIGQUIT stays too.

    Python drops an exception that a signal raises while an object is being destroyed, and freeing
    a network's graph destroys many; libraries turn it into errors of their own. So the request is
    kept, for `stop_if_asked` to find, before anything is written.
    """

    def stop(number: int, _frame: object) -> None:
        if _insisting:
            _insisting.clear()
            raise _asked_to_stop[0]
        if _asked_to_stop and number == signal.SIGHUP:
            return
        if _asked_to_stop and at_once_the_second_time:
            os._exit(128 + number)  # what is on disk is whole
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
    except ValueError:  # not the main thread: its owner deals with signals
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
    """Have a signal only ask inside the block, where `stop_if_asked` says when it may end; also a
    decorator. TensorFlow, interrupted in the middle of its own work, may crash or make another
    error of it; that is risked only where it takes seconds, as the tracing of a large network may.

    Raises:
        KeyboardInterrupt: at the end of the block, where one was asked for.
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


def _is_of_handler(error: SystemExit) -> bool:
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    codes = [getattr(handler, "__code__", None) for handler in handlers]
    return any(frame.f_code in codes for frame, _ in traceback.walk_tb(error.__traceback__))


def end_process(code: int) -> NoReturn:
    """End the process with that exit code, after what was printed, and nothing else."""
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
        exit_code: the program's, 128 and the signal's number.
        word: what the program says of it.
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
