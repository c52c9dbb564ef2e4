"""Redraws the last lines of a terminal while the program runs; other output is printed above."""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

REFRESHES_A_SECOND = 4


@contextmanager
def live_region(
    out: Console, lines: Callable[[int], Iterable[Text]], *, stderr: bool
) -> Iterator[None]:
    """Show lines below all other output inside the block, and remove them at its end.

    The cursor stays visible, so that the terminal has one however the process ends, even by
    SIGKILL.

    Args:
        out: a console on the terminal.
        lines: returns the lines for a width in columns; called on a separate thread.
        stderr: whether the process's standard error is the same terminal, to be printed above.
    """
    live = Live(
        _Lines(lines),
        console=out,
        refresh_per_second=REFRESHES_A_SECOND,
        transient=True,
        redirect_stderr=False,
    )
    # Output printed while rich removes the lines would be below them, and one line would remain.
    printing = threading.Lock()
    with _Above(out, printing) if stderr else _nothing():
        live.start()
        try:
            out.show_cursor(True)
            yield
        finally:
            with printing:
                live.stop()


class _Lines:
    """Gives rich the current lines each time it draws."""

    def __init__(self, lines: Callable[[int], Iterable[Text]]) -> None:
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self._lines(options.max_width)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


class _Above:
    """Prints on a console what is written to the process's standard error inside a block.

    Libraries write to it from C++, worker processes inherit it and logging handlers keep it, so the
    file descriptor is redirected, not only `sys.stderr`.
    """

    def __init__(self, out: Console, printing: threading.Lock) -> None:
        self._out = out
        self._printing = printing
        self._over = threading.Event()

    def __enter__(self) -> None:
        sys.stderr.flush()
        self._before = os.dup(2)
        self._read, write = os.pipe()
        os.set_blocking(self._read, False)
        os.dup2(write, 2)
        os.close(write)
        self._reader = threading.Thread(target=self._print, daemon=True)
        self._reader.start()

    def __exit__(self, *_: object) -> None:
        sys.stderr.flush()
        os.dup2(self._before, 2)
        os.close(self._before)
        self._over.set()
        self._reader.join()
        os.close(self._read)

    def _print(self) -> None:
        left = b""
        while True:
            is_last = self._over.is_set()
            if select.select([self._read], [], [], 0.0 if is_last else 0.1)[0]:
                came = os.read(self._read, 65536)
                *whole, left = (left + came).split(b"\n")
                self._say(whole)
                if came:
                    continue
            if is_last:
                self._say([left] if left else [])
                return

    def _say(self, whole: list[bytes]) -> None:
        for line in whole:
            with self._printing:
                self._out.print(Text(line.decode(errors="replace")), soft_wrap=True)
