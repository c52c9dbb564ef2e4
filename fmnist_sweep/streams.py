"""Standard streams whose failure does not end the program, with a fallback for missing
characters."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast


class SteadyStream:
    """A text stream whose write methods never raise an error.

    Its reader may be gone (`| head`), its terminal closed, its device full: from then on output is
    dropped, and its descriptor is redirected to /dev/null, so that neither C++ libraries nor
    Python's final flush fail again. Characters that the encoding lacks are replaced by `showable`.

    Attributes:
        lost: the error that made it fail; None while it works.
        is_outlived: whether the program continues after a failure, with a message on stderr.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost: Exception | None = None
        self.is_outlived = False
        with suppress(OSError, ValueError):  # no descriptor: never blocks
            os.set_blocking(stream.fileno(), True)

    def __getattr__(self, name: str) -> Any:
        if name == "_stream":  # not set yet, such as during copying
            raise AttributeError(name)
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write or drop a text; return its length."""
        shown = showable(text, getattr(self._stream, "encoding", None))
        self._attempt(lambda: self._stream.write(shown))
        return len(text)

    def writelines(self, lines: Iterator[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush the stream."""
        self._attempt(self._stream.flush)

    def isatty(self) -> bool:
        """Whether it is a terminal that still works."""
        try:
            return self.lost is None and self._stream.isatty()
        except (OSError, ValueError):
            return False

    def outlive(self) -> None:
        """Make a failure of the stream be reported on stderr immediately: for runs, whose results
        are not their output."""
        if not self.is_outlived:
            self.is_outlived = True
            self._report()

    def why_lost(self) -> str | None:
        """Return, in words, why the stream failed; None while it works."""
        return None if self.lost is None else getattr(self.lost, "strerror", None) or f"{self.lost}"

    def _attempt(self, act: Callable[[], object]) -> None:
        if self.lost is not None:
            return
        try:
            act()
        except BlockingIOError:  # another process made the shared descriptor non-blocking
            with suppress(OSError, ValueError):
                os.set_blocking(self._stream.fileno(), True)
        except (OSError, ValueError) as error:  # ValueError: the stream was closed
            self.lost = error
            with suppress(OSError, ValueError):
                _lead_to_nowhere(self._stream.fileno())
            self._report()

    def _report(self) -> None:
        if self.is_outlived and self.lost is not None:
            reason = f"standard output: {self.why_lost()}"
            sys.stderr.write(f"{reason}: nothing more is printed, the run continues\n")


def make_steady() -> tuple[SteadyStream, SteadyStream]:
    """Make standard output and standard error steady streams; return both."""
    sys.stdout, sys.stderr = cast(TextIO, _steady(sys.stdout)), cast(TextIO, _steady(sys.stderr))
    return cast(SteadyStream, sys.stdout), cast(SteadyStream, sys.stderr)


@contextmanager
def steady_streams() -> Iterator[SteadyStream]:
    """Make both streams steady inside the block; yields standard output."""
    before = sys.stdout, sys.stderr
    out, err = make_steady()
    try:
        yield out
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before


def outlive_standard_output() -> None:
    """Make a failure of standard output not end the run, if it is steady: see `outlive`."""
    if isinstance(sys.stdout, SteadyStream):
        sys.stdout.outlive()


def open_closed_descriptors() -> None:
    """Open /dev/null for each standard stream that was closed when the process started.

    Otherwise the next opened file, a journal or a database, would get its number, and output of
    libraries would be written to that file.
    """
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # uses the lowest free number
            os.set_inheritable(descriptor, True)
            stream = open(descriptor, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


def showable(text: str, encoding: str | None) -> str:
    """Return a text with characters that the encoding lacks replaced: `±` by `+-`, `é` by `\\xe9`.

    `encoding`: None is UTF-8.
    """
    try:
        text.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return text.encode(encoding or "utf-8", _PLAIN_ERRORS).decode(encoding or "utf-8")
    return text


_PLAIN = {"\N{MULTIPLICATION SIGN}": "x", "±": "+-", "≈": "~", "…": "...", "→": "->"}
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
    # Python uses None for a descriptor that was closed at start.
    return SteadyStream(stream or open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123


def _lead_to_nowhere(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
