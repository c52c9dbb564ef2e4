"""Rungs in worker processes of loky's, several at a time."""

from __future__ import annotations

import itertools
import logging
import os
import queue
import secrets
import signal
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, Listener

from loky import BrokenProcessPool, ProcessPoolExecutor
from loky import wait as wait_for

from fmnist_sweep.search import worker
from fmnist_sweep.search.executor import OnEpoch, Rung, RungOutcome
from fmnist_sweep.training.results import EpochRecord

_log = logging.getLogger(__name__)
_LONGEST_END = 5.0  # seconds until a worker that was asked to end is killed


@contextmanager
def worker_processes(workers: int, retries: int, job: worker.Job) -> Iterator[ProcessExecutor]:
    """Have an executor whose workers end with the block: at once where it is interrupted, each
    between two steps."""
    executor = ProcessExecutor(workers, retries, job)
    try:
        yield executor
    finally:
        executor.close()


@dataclass(eq=False)
class _Task:
    rung: Rung
    on_epoch: OnEpoch
    future: Future[RungOutcome] = field(default_factory=Future)
    tries: int = 0
    ticket: int = -1


@dataclass(eq=False)
class _Slot:
    """A worker's place. Each has an engine of its own: loky's ends all the processes of an engine
    when one of them dies."""

    number: int
    engine: ProcessPoolExecutor
    process: int | None = None
    task: _Task | None = None
    ends: Future[RungOutcome] | None = None


class ProcessExecutor:
    """Runs rungs in `workers` processes.

    What happens elsewhere (an epoch told, a rung ended, a worker dead) waits in a queue until the
    sweep's owner calls `wait`, and is dealt with on its thread.

    Args:
        workers: how many.
        retries: how often a rung is tried again whose worker died.
        job: what they train.
    """

    def __init__(self, workers: int, retries: int, job: worker.Job) -> None:
        self.workers = workers
        self._retries = retries
        self._job = job
        self._key = secrets.token_bytes(32)
        self._listener = Listener(authkey=self._key, backlog=workers)
        self._tickets = itertools.count()
        self._happened: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._waiting: deque[_Task] = deque()
        self._slots = [_Slot(number, self._engine(number)) for number in range(workers)]
        threading.Thread(target=self._welcome, daemon=True).start()

    def submit(self, rung: Rung, on_epoch: OnEpoch) -> Future[RungOutcome]:
        """Start the rung in a free worker, or have it wait for one."""
        task = _Task(rung, on_epoch)
        self._waiting.append(task)
        self._start_waiting()
        return task.future

    def wait(self, futures: Collection[Future[RungOutcome]]) -> set[Future[RungOutcome]]:
        """Deal with what happens until one of the futures has come; return those that have."""
        while True:
            done = {future for future in futures if future.done()}
            if done:
                return done
            self._happened.get()()

    def close(self) -> None:
        """End the workers; those that train stop between two steps."""
        self._waiting.clear()
        asked = []
        for slot in self._slots:
            if slot.ends is not None and slot.process is not None:
                asked.append(slot.ends)
                with suppress(ProcessLookupError):
                    os.kill(slot.process, signal.SIGTERM)
        wait_for(asked, timeout=_LONGEST_END)
        self._listener.close()
        for slot in self._slots:
            slot.engine.shutdown(wait=True, kill_workers=True)

    def _engine(self, number: int) -> ProcessPoolExecutor:
        address = worker.Address(self._listener.address, self._key, number)
        return ProcessPoolExecutor(1, initializer=worker.start, initargs=(self._job, address))

    def _start_waiting(self) -> None:
        for slot in self._slots:
            if slot.task is None and self._waiting:
                self._start(slot, self._waiting.popleft())

    def _start(self, slot: _Slot, task: _Task) -> None:
        task.ticket = next(self._tickets)
        with _interrupts_held_back():
            try:
                ends = slot.engine.submit(worker.train, task.rung, task.ticket)
            except BrokenProcessPool:  # it died between two rungs
                self._renew(slot)
                ends = slot.engine.submit(worker.train, task.rung, task.ticket)
        slot.task, slot.ends = task, ends
        ends.add_done_callback(lambda ended: self._happened.put(lambda: self._ended(slot, ended)))

    def _renew(self, slot: _Slot) -> None:
        slot.engine.shutdown(wait=True, kill_workers=True)
        slot.engine, slot.process = self._engine(slot.number), None

    def _ended(self, slot: _Slot, ended: Future[RungOutcome]) -> None:
        task = slot.task
        assert task is not None  # it is the one that ended
        slot.task, slot.ends = None, None
        error = ended.exception()
        if error is None:
            task.future.set_result(ended.result())
        elif isinstance(error, BrokenProcessPool | KeyboardInterrupt):
            if isinstance(error, BrokenProcessPool):
                self._renew(slot)
            self._try_again(task)
        else:
            task.future.set_exception(error)
        self._start_waiting()

    def _try_again(self, task: _Task) -> None:
        task.tries += 1
        name = task.rung.folder.name
        if task.tries > self._retries:
            reason = f"its worker process died {task.tries} times; was there memory enough?"
            task.future.set_result(RungOutcome(None, reason, 0.0))
            return
        _log.warning("%s: its worker process died; it goes on in another one", name)
        self._waiting.appendleft(task)

    def _welcome(self) -> None:
        """Take in the workers' calls, each with a thread that hears it; ends with the listener."""
        while True:
            try:
                connection = self._listener.accept()
            except (EOFError, AuthenticationError):  # a worker that died while it called
                continue
            except OSError:
                return
            threading.Thread(target=self._hear, args=(connection,), daemon=True).start()

    def _hear(self, connection: Connection) -> None:
        with suppress(EOFError, OSError):
            number, process = connection.recv()
            slot = self._slots[number]
            slot.process = process
            while True:
                self._happened.put(_answering(slot, connection, *connection.recv()))


def _answering(
    slot: _Slot, connection: Connection, ticket: int, record: EpochRecord
) -> Callable[[], None]:
    def answer() -> None:
        if slot.task is None or slot.task.ticket != ticket:  # its worker has died since
            return
        stop = slot.task.on_epoch(record)
        with suppress(OSError):  # dead by now; the engine tells
            connection.send((ticket, stop))

    return answer


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Have a process that is started here never hear of Ctrl-C, which a terminal sends to it too:
    the owner deals with it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
