"""A worker process, and its communication with the sweep's owner."""

from __future__ import annotations

import os
import queue
import signal
import threading
from contextlib import suppress
from multiprocessing.connection import Client, Connection

from fmnist_sweep import streams
from fmnist_sweep.executors.protocol import Rung, RungOutcome, outcome_of
from fmnist_sweep.executors.worker_messages import (
    BEGUN,
    OWNERS_SIGNALS,
    READY,
    Address,
    CannotStart,
    Job,
)
from fmnist_sweep.executors.worker_setup import set_up, trainer_of
from fmnist_sweep.interrupts import terminable
from fmnist_sweep.reasons import reason_of
from fmnist_sweep.training.progress import StepProgress
from fmnist_sweep.training.results import EpochRecord


def start(job: Job, address: Address) -> None:
    """Make this process a worker; called once, before its first rung."""
    global _worker
    for number in OWNERS_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    streams.make_steady()  # a builder may print after the owner's terminal is closed
    connection: Connection = Client(address.listener, authkey=address.key)
    connection.send((address.worker, os.getpid()))
    try:
        set_up(job)
        _worker = _Worker(job, connection)
    except Exception as error:
        connection.send(CannotStart(reason_of(error)))
        raise
    connection.send(READY)


def train(rung: Rung, ticket: int) -> RungOutcome:
    """Train a rung in this worker. SIGTERM interrupts it between two steps.

    `ticket` identifies the rung in messages and answers, because an answer to an interrupted rung
    may arrive late.

    Raises:
        RunError: the rung's files cannot be written or read.
        KeyboardInterrupt: the worker was asked to end.
    """
    here = _worker
    assert here is not None  # set by `start`
    here.begin(ticket)
    with terminable():
        return outcome_of(here.train, rung, lambda record: here.report(ticket, record))


class _Worker:
    def __init__(self, job: Job, connection: Connection) -> None:
        from fmnist_sweep.training.batches import TrainingData  # imports TensorFlow

        assert job.data is not None  # written for the workers
        data = TrainingData.mapped(job.data, job.classes)
        self.train = trainer_of(job, data, self._tell_step)
        self.ticket = -1
        self._connection = connection
        self._answers: queue.SimpleQueue[tuple[int, bool]] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def begin(self, ticket: int) -> None:
        """Tell the owner that the rung has started, so that a death is attributed to it."""
        self.ticket = ticket
        with suppress(OSError):  # the owner has ended; `_listen` ends this process
            self._connection.send((ticket, BEGUN))

    def report(self, ticket: int, record: EpochRecord) -> bool:
        """Report an epoch to the owner, and wait for its answer."""
        self._connection.send((ticket, record))
        while True:
            answered, stop = self._answers.get()
            if answered == ticket:
                return stop

    def _tell_step(self, _rung: Rung, progress: StepProgress) -> None:
        with suppress(OSError):  # the owner has ended; `_listen` ends this process
            self._connection.send((self.ticket, progress))

    def _listen(self) -> None:
        """Receive answers; end when the owner ends, for whatever reason: after a resume nobody else
        may train its trials. Files are written atomically, so this is safe at any time.
        """
        try:
            while True:
                self._answers.put(self._connection.recv())
        except (EOFError, OSError):
            os._exit(1)


_worker: _Worker | None = None
