"""Where a sweep's owner hears its workers: a socket, and who may call it."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import (
    Client,
    Connection,
    Listener,
    answer_challenge,
    deliver_challenge,
)
from pathlib import Path

from fmnist_sweep.executors.worker_messages import Address

_LONGEST_END = 5.0  # seconds


class Calls:
    """Takes in the calls of those who know the key, each with a thread that hears it.

    Args:
        folder: where the socket is made.
        hear: hears one call until it ends, as EOFError or OSError says.
    """

    def __init__(self, folder: Path, hear: Callable[[Connection], None]) -> None:
        self._hear = hear
        self._key = secrets.token_bytes(32)
        self._listener = Listener(str(folder / "socket"), backlog=64)
        self._closing = False
        self._welcoming = threading.Thread(target=self._welcome, daemon=True)
        self._welcoming.start()

    def address_of(self, number: int) -> Address:
        """Return whom a worker is to call, and as which."""
        return Address(self._listener.address, self._key, number)

    def close(self) -> None:
        """Take in no more calls."""
        self._closing = True
        with suppress(OSError):
            Client(self._listener.address).close()  # wakes the thread that accepts
        self._welcoming.join(_LONGEST_END)
        self._listener.close()

    def _welcome(self) -> None:
        while not self._closing:
            try:
                connection = self._listener.accept()
            except OSError:  # whoever called is gone already
                continue
            threading.Thread(target=self._take, args=(connection,), daemon=True).start()

    def _take(self, connection: Connection) -> None:
        with suppress(EOFError, OSError, AuthenticationError):
            deliver_challenge(connection, self._key)
            answer_challenge(connection, self._key)
            self._hear(connection)
