"""The program in a real pseudo-terminal, and what its screen shows."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable
from pathlib import Path

from forked import Forked
from program import PROGRAM, environment

_CONTROL = re.compile(r"\x1b\[(\?)?([0-9;]*)([A-Za-z])")


class Screen:
    """A terminal that knows what rich writes to one: lines, the cursor, what is erased.

    Attributes:
        lines: all that were ever on it, those that have scrolled away among them.
        cursor_shown: whether the cursor is visible.
        unknown: control sequences that this terminal does not know.
    """

    def __init__(self, columns: int) -> None:
        self.lines = [""]
        self.cursor_shown = True
        self.unknown: list[str] = []
        self._columns = columns
        self._row = self._column = 0
        self._left = ""

    def write(self, text: str) -> None:
        text = self._left + text
        self._left = ""
        at = 0
        while at < len(text):
            character = text[at]
            if character == "\x1b":
                found = _CONTROL.match(text, at)
                if found is None:
                    self._left = text[at:]  # the rest of it is to come
                    return
                self._control(*found.groups(default=""))
                at = found.end()
                continue
            at += 1
            if character == "\n":
                self._down()
            elif character == "\r":
                self._column = 0
            elif character.isprintable():
                self._put(character)

    def _put(self, character: str) -> None:
        if self._column == self._columns:
            self._column = 0
            self._down()
        line = self.lines[self._row].ljust(self._column)
        self.lines[self._row] = line[: self._column] + character + line[self._column + 1 :]
        self._column += 1

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self.lines):
            self.lines.append("")

    def _control(self, private: str, numbers: str, letter: str) -> None:
        if private and numbers == "25" and letter in "hl":
            self.cursor_shown = letter == "h"
        elif letter == "A":
            self._row = max(0, self._row - int(numbers or 1))
        elif letter == "K" and numbers == "2":
            self.lines[self._row] = ""
        elif letter != "m":
            self.unknown.append(f"{private}{numbers}{letter}")


class InTerminal:
    """The program, run in a terminal of so many columns until it has ended.

    Args:
        folder: where it runs.
        arguments: its own.
        columns: of the terminal.
        act: called with the process and the screen whenever something was written.

    Attributes:
        screen: what the terminal showed in the end.
        seen: every line that it showed at any time.
        exit_code: the program's.
        written: all characters that the terminal was sent.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        columns: int = 80,
        act: Callable[[Forked, Screen], None] | None = None,
        term: str = "xterm-256color",
        code: str = PROGRAM,
    ) -> None:
        self.screen = Screen(columns)
        self.seen: set[str] = set()
        self.written = ""
        owner, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        ours = {name: value for name, value in environment().items() if name != "NO_COLOR"}
        for name in ("COLUMNS", "LINES", "FORCE_COLOR"):
            ours.pop(name, None)
        process = Forked(code, folder, arguments, {**ours, "TERM": term}, terminal=terminal)
        os.close(terminal)
        decoder = codecs.getincrementaldecoder("utf-8")()
        ends = time.monotonic() + 400
        try:
            while time.monotonic() < ends:
                if not select.select([owner], [], [], 1.0)[0]:
                    continue
                try:
                    came = decoder.decode(os.read(owner, 65536))
                except OSError:  # how Linux says that nobody has the terminal open any more
                    break
                self.written += came
                self.screen.write(came)
                self.seen |= {line.rstrip() for line in self.screen.lines}
                if act is not None:
                    act(process, self.screen)
        finally:
            os.close(owner)
            if process.poll() is None and time.monotonic() >= ends:
                process.send_signal(signal.SIGKILL)
            self.exit_code = process.wait(60)

    @property
    def lines(self) -> list[str]:
        """The lines of the final screen that are not empty."""
        return [line.rstrip() for line in self.screen.lines if line.strip()]
