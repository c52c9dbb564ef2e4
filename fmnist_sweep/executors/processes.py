"""The executor that trains rungs in several worker processes, using loky."""

from __future__ import annotations

import os
import queue
import signal
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from loky import BrokenProcessPool, ProcessPoolExecutor
from loky import wait as wait_for

from fmnist_sweep import runtime
from fmnist_sweep.errors import RunError
from fmnist_sweep.executors import worker
from fmnist_sweep.executors.attempts import Attempts, Task
from fmnist_sweep.executors.calls import Calls
from fmnist_sweep.executors.held_back import interrupts_held_back
from fmnist_sweep.executors.protocol import OnEpoch, OnRungStep, Rung, RungOutcome
from fmnist_sweep.executors.socket_folder import socket_folder
from fmnist_sweep.executors.worker_messages import BEGUN, READY, CannotStart, Job
from fmnist_sweep.training.progress import StepProgress
from fmnist_sweep.training.results import EpochRecord

_LONGEST_END = 5.0  # seconds until a worker that was asked to end is killed
# loky restarts a worker that has grown by 300 MB since its first rung, but large networks are no
# leak.
_ENVIRONMENT = {
    "LOKY_MAX_MEMORY_LEAK_SIZE": "1e15",
    **runtime.KERAS_NEEDS,  # unpickling a builder may import Keras
}


@contextmanager
def worker_processes(
    workers: int, retries: int, job: Job, on_step: OnRungStep | None = None
) -> Iterator[ProcessExecutor]:
    """Yield an executor whose workers end with the block: after an interrupt immediately, each
    between two steps."""
    with socket_folder() as folder:
        executor = ProcessExecutor(workers, retries, job, folder, on_step)
        try:
            yield executor
        finally:
            executor.close()


@dataclass(eq=False)
class _Slot:
    """A worker's slot. Each has its own loky engine, because loky ends all processes of an engine
    when one of them dies. `waiting` is the connection of a worker that waits for an answer;
    `was_idle`: whether it was ready before its rung came; `begun`: the latest rung's ticket."""

    number: int
    engine: ProcessPoolExecutor | None = None
    process: int | None = None
    is_ready: bool = False
    was_idle: bool = False
    begun: int = -1
    false_starts: int = 0
    task: Task | None = None
    ends: Future[RungOutcome] | None = None
    waiting: Connection | None = None


class ProcessExecutor:
    """Trains rungs in `workers` processes.

    Events in workers (an epoch, the end of a rung, a death) are queued until the sweep's owner
    calls `wait`, and handled on its thread.

    Args:
        workers: number of workers.
        retries: how often a rung is retried after its worker's death without a new epoch.
        job: what the workers train.
        folder: this executor's own folder, for its socket.
        on_step: progress callback, if the job makes workers report steps.
    """

    def __init__(
        self,
        workers: int,
        retries: int,
        job: Job,
        folder: Path,
        on_step: OnRungStep | None = None,
    ) -> None:
        self.workers = workers
        self._job = job
        self._on_step = on_step
        self._happened: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._attempts = Attempts(retries)
        self._slots = [_Slot(number) for number in range(workers)]
        self._calls = Calls(folder, self._hear)

    def submit(self, rung: Rung, on_epoch: OnEpoch) -> Future[RungOutcome]:
        """Start the rung in a free worker, or queue it."""
        task = self._attempts.add(rung, on_epoch)
        self._start_waiting()
        return task.future

    def wait(self, futures: Collection[Future[RungOutcome]]) -> set[Future[RungOutcome]]:
        """Handle events until at least one of the futures is done; return those that are.

        Raises:
            RunError: no worker can be started.
        """
        while True:
            done = {future for future in futures if future.done()}
            if done:
                return done
            self._happened.get()()

    def close(self) -> None:
        """End the workers; a training stops between two steps."""
        self._attempts.clear()
        asked = []
        for slot in self._slots:
            if slot.ends is not None and slot.process is not None:
                asked.append(slot.ends)
                with suppress(ProcessLookupError):
                    os.kill(slot.process, signal.SIGTERM)
                if slot.waiting is not None and slot.task is not None:
                    with suppress(
                        OSError
                    ):  # the worker wakes up and finds that it was asked to end
                        slot.waiting.send((slot.task.ticket, True))
        wait_for(asked, timeout=_LONGEST_END)
        self._calls.close()
        for slot in self._slots:
            if slot.engine is not None:
                slot.engine.shutdown(wait=True, kill_workers=True)

    def _start_waiting(self) -> None:
        for slot in self._slots:
            if slot.task is None and self._attempts:
                self._start(slot, self._attempts.next())

    def _start(self, slot: _Slot, task: Task) -> None:
        with interrupts_held_back():
            try:
                ends = self._engine(slot).submit(worker.train, task.rung, task.ticket)
            except BrokenProcessPool:  # the worker died between two rungs
                self._let_go(slot)
                ends = self._engine(slot).submit(worker.train, task.rung, task.ticket)
        slot.task, slot.ends, slot.was_idle = task, ends, slot.is_ready
        ends.add_done_callback(lambda ended: self._happened.put(lambda: self._ended(slot, ended)))

    def _engine(self, slot: _Slot) -> ProcessPoolExecutor:
        if slot.engine is None:
            address = self._calls.address_of(slot.number)
            slot.engine = ProcessPoolExecutor(
                1, initializer=worker.start, initargs=(self._job, address), env=_ENVIRONMENT
            )
        return slot.engine

    def _let_go(self, slot: _Slot) -> None:
        assert slot.engine is not None  # an engine whose worker died
        slot.engine.shutdown(wait=True, kill_workers=True)
        slot.engine, slot.process, slot.is_ready, slot.waiting = None, None, False, None

    def _ended(self, slot: _Slot, ended: Future[RungOutcome]) -> None:
        task = slot.task
        assert task is not None  # the task that ended
        slot.task, slot.ends = None, None
        error = ended.exception()
        if error is None:
            task.future.set_result(ended.result())
        elif isinstance(error, KeyboardInterrupt):  # a SIGTERM from outside: the process continues
            self._attempts.died(task)
        elif isinstance(error, BrokenProcessPool):
            self._died(slot, task)
        else:
            task.future.set_exception(error)
        self._start_waiting()

    def _died(self, slot: _Slot, task: Task) -> None:
        could_train = slot.is_ready
        # A worker started for this rung has done nothing else.
        has_begun = slot.begun == task.ticket or not slot.was_idle
        self._let_go(slot)
        if could_train and has_begun:
            self._attempts.died(task)
        else:  # not caused by this rung
            self._attempts.give_back(task)
            if not could_train:
                slot.false_starts += 1
                self._attempts.false_start(slot.false_starts)

    def _hear(self, connection: Connection) -> None:
        """Handle a worker's messages until it ends, on a separate thread."""
        number, process = connection.recv()
        slot = self._slots[number]
        slot.process = process
        while True:
            told = connection.recv()
            if told == READY:
                self._happened.put(partial(self._became_ready, slot, process))
                continue
            if isinstance(told, CannotStart):
                self._happened.put(_raising(told))
                continue
            ticket, what = told
            if what == BEGUN:
                slot.begun = ticket
            elif isinstance(what, StepProgress):
                self._happened.put(partial(self._step_told, slot, ticket, what))
            else:
                slot.waiting = connection
                self._happened.put(_answering(slot, connection, ticket, what))

    def _became_ready(self, slot: _Slot, process: int) -> None:
        if slot.process != process:  # that worker has died
            return
        slot.is_ready = True
        for any_slot in self._slots:  # if one worker can train, others can
            any_slot.false_starts = 0

    def _step_told(self, slot: _Slot, ticket: int, progress: StepProgress) -> None:
        task = slot.task
        if self._on_step is not None and task is not None and task.ticket == ticket:
            self._on_step(task.rung, progress)


def _answering(
    slot: _Slot, connection: Connection, ticket: int, record: EpochRecord
) -> Callable[[], None]:
    def answer() -> None:
        if slot.task is None or slot.task.ticket != ticket:  # its worker has died
            return
        stop = slot.task.report(record)
        slot.waiting = None
        with suppress(OSError):  # the worker is dead; its engine reports that
            connection.send((ticket, stop))

    return answer


def _raising(told: CannotStart) -> Callable[[], None]:
    def stop() -> None:
        raise RunError(f"a worker process cannot start: {told.reason}")

    return stop
