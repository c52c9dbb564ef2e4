"""The sweep owner's end of the connections to its workers: an authenticated socket."""

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
    """Accepts connections from workers that know the key, each handled by its own thread.

    Args:
        folder: the folder for the socket.
        hear: handles one connection until it ends with EOFError or OSError.
    """

    def __init__(self, folder: Path, hear: Callable[[Connection], None]) -> None:
        self._hear = hear
        self._key = secrets.token_bytes(32)
        self._listener = Listener(str(folder / "socket"), backlog=64)
        self._closing = False
        self._welcoming = threading.Thread(target=self._welcome, daemon=True)
        self._welcoming.start()

    def address_of(self, number: int) -> Address:
        """Return the address and the identity for a worker."""
        return Address(self._listener.address, self._key, number)

    def close(self) -> None:
        """Accept no more connections."""
        self._closing = True
        with suppress(OSError):
            Client(self._listener.address).close()  # wakes the accepting thread
        self._welcoming.join(_LONGEST_END)
        self._listener.close()

    def _welcome(self) -> None:
        while not self._closing:
            try:
                connection = self._listener.accept()
            except OSError:  # the caller is gone already
                continue
            threading.Thread(target=self._take, args=(connection,), daemon=True).start()

    def _take(self, connection: Connection) -> None:
        with suppress(EOFError, OSError, AuthenticationError):
            deliver_challenge(connection, self._key)
            answer_challenge(connection, self._key)
            self._hear(connection)
