"""The process's standard streams: one that fails ends nothing, and each shows what it can."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast


class SteadyStream:
    """A text stream that raises no error when it is written to.

    Its reader may be gone (`| head`), its terminal closed, its device full: from then on what is
    written is dropped, and its descriptor leads to /dev/null, so that neither libraries that write
    there from C++ nor Python's own flush at the end meet the error again. Characters that its
    encoding lacks are written as `showable` has them.

    Attributes:
        lost: the error that ended it; None while it works.
        is_outlived: whether the program goes on without it, and says so on standard error.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost: Exception | None = None
        self.is_outlived = False
        with suppress(OSError, ValueError):  # no descriptor: nothing to wait for
            os.set_blocking(stream.fileno(), True)

    def __getattr__(self, name: str) -> Any:
        if name == "_stream":  # not made yet, as where it is copied
            raise AttributeError(name)
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text, or drop it; return its length."""
        shown = showable(text, getattr(self._stream, "encoding", None))
        self._attempt(lambda: self._stream.write(shown))
        return len(text)

    def writelines(self, lines: Iterator[str]) -> None:
        """Write texts, one after another."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Pass on what was written."""
        self._attempt(self._stream.flush)

    def isatty(self) -> bool:
        """Whether it is a terminal that still works."""
        try:
            return self.lost is None and self._stream.isatty()
        except (OSError, ValueError):
            return False

    def outlive(self) -> None:
        """Have the stream's loss be reported, in a line on standard error, as soon as it is lost:
        for a run, whose results are not what it prints."""
        if not self.is_outlived:
            self.is_outlived = True
            self._report()

    def why_lost(self) -> str | None:
        """Return, in words, why the stream was lost; None while it works."""
        return None if self.lost is None else getattr(self.lost, "strerror", None) or f"{self.lost}"

    def _attempt(self, act: Callable[[], object]) -> None:
        if self.lost is not None:
            return
        try:
            act()
        except BlockingIOError:  # another process has changed what it shares with this one
            with suppress(OSError, ValueError):
                os.set_blocking(self._stream.fileno(), True)
        except (OSError, ValueError) as error:  # ValueError: it was closed
            self.lost = error
            with suppress(OSError, ValueError):
                _lead_to_nowhere(self._stream.fileno())
            self._report()

    def _report(self) -> None:
        if self.is_outlived and self.lost is not None:
            reason = f"standard output: {self.why_lost()}"
            sys.stderr.write(f"{reason}: nothing more is printed, the run goes on\n")


def make_steady() -> tuple[SteadyStream, SteadyStream]:
    """Make standard output and standard error steady streams; return the two."""
    sys.stdout, sys.stderr = cast(TextIO, _steady(sys.stdout)), cast(TextIO, _steady(sys.stderr))
    return cast(SteadyStream, sys.stdout), cast(SteadyStream, sys.stderr)


@contextmanager
def steady_streams() -> Iterator[SteadyStream]:
    """Have both be steady inside the block, which is given standard output."""
    before = sys.stdout, sys.stderr
    out, err = make_steady()
    try:
        yield out
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before


def outlive_standard_output() -> None:
    """Have the loss of standard output end nothing, where that is steady: see `outlive`."""
    if isinstance(sys.stdout, SteadyStream):
        sys.stdout.outlive()


def open_closed_descriptors() -> None:
    """Open /dev/null for each of the three standard streams that the process was started without.

    The next file to be opened, a journal or a database, would get that number, and what libraries
    print there would go into the file.
    """
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            os.set_inheritable(descriptor, True)
            stream = open(descriptor, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


def showable(text: str, encoding: str | None) -> str:
    """Return a text as that encoding can show it: `±` as `+-`, `é` as `\\xe9` where it lacks them.

    `encoding`: None is UTF-8.
    """
    try:
        text.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return text.encode(encoding or "utf-8", _PLAIN_ERRORS).decode(encoding or "utf-8")
    return text


_PLAIN = {"±": "+-", "≈": "~", "…": "...", "→": "->"}
_PLAIN_ERRORS = "fmnist_sweep.plain"


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    known = (_PLAIN.get(one) or one.encode("ascii", "backslashreplace").decode() for one in missing)
    return "".join(known), error.end


codecs.register_error(_PLAIN_ERRORS, _plain)


def _steady(stream: TextIO | None) -> SteadyStream:
    if isinstance(stream, SteadyStream):
        return stream
    # Python has None for a descriptor that was closed when it started.
    return SteadyStream(stream or open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123


def _lead_to_nowhere(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
