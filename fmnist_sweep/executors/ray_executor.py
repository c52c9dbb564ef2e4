"""The executor that trains rungs in workers that Ray runs, on this machine or on a cluster."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

from fmnist_sweep.config.schema import RayConfig
from fmnist_sweep.errors import RunError
from fmnist_sweep.executors.attempts import Attempts, Task
from fmnist_sweep.executors.protocol import (
    OnEpoch,
    OnRungStep,
    Place,
    Rung,
    RungOutcome,
    TrainedElsewhere,
)
from fmnist_sweep.executors.ray_messages import (
    Answer,
    Begun,
    Ended,
    Epoch,
    Files,
    Message,
    Remark,
    Step,
    files_of,
    put_files,
)
from fmnist_sweep.executors.ray_pool import RayPool, Supplies, Worker
from fmnist_sweep.training.checkpoint import CheckpointFolder, checkpoint_names
from fmnist_sweep.training.results import EpochRecord

_log = logging.getLogger(__name__)


@contextmanager
def ray_workers(
    config: RayConfig, supplies: Supplies, on_step: OnRungStep | None = None
) -> Iterator[RayExecutor]:
    """Yield an executor in this process's Ray, whose workers end with the block: after an interrupt
    each between two steps."""
    executor = RayExecutor(config, supplies, on_step)
    try:
        yield executor
    finally:
        executor.close()


class RayExecutor:
    """Trains rungs in Ray's actors.

    Checkpoints and best models come back with messages, and are written here, where a rung that is
    trained inline has them.
    """

    def __init__(
        self, config: RayConfig, supplies: Supplies, on_step: OnRungStep | None = None
    ) -> None:
        self._on_step = on_step
        self._attempts = Attempts(config.retries)
        self._pool = RayPool(config, supplies, self._attempts)
        self._pool.follow_nodes()

    @property
    def workers(self) -> int:
        """Number of rungs trained at a time: as many as workers fit now."""
        return max(1, self._pool.size)

    def submit(self, rung: Rung, on_epoch: OnEpoch) -> Future[RungOutcome]:
        """Start the rung in a free worker, or queue it."""
        task = self._attempts.add(rung, on_epoch)
        self._start_waiting()
        return task.future

    def wait(self, futures: Collection[Future[RungOutcome]]) -> set[Future[RungOutcome]]:
        """Handle what workers tell until at least one of the futures is done, or more workers fit.

        Raises:
            RunError: no worker can be started.
        """
        while True:
            done = {future for future in futures if future.done()}
            if done:
                return done
            before = self.workers
            self._pool.follow_nodes()
            if self.workers > before:
                return set()
            self._start_waiting()
            self._pool.hear()

    def close(self) -> None:
        """End the workers; a training stops between two steps."""
        self._attempts.clear()
        self._pool.close()

    def _start_waiting(self) -> None:
        for worker in self._pool.free():
            if self._attempts:
                self._start(worker, self._attempts.next())

    def _start(self, worker: Worker, task: Task) -> None:
        worker.task = task
        with _as_run_error(task.rung):
            files = files_of(task.rung.folder, checkpoint_names(task.rung.folder))
        self._pool.call(
            worker, lambda _: self._ask(worker), worker.actor.start, task.ticket, task.rung, files
        )

    def _ask(self, worker: Worker, answer: Answer | None = None) -> None:
        self._pool.call(
            worker, lambda told: self._told(worker, told), worker.actor.next_message, answer
        )

    def _told(self, worker: Worker, message: Message) -> None:
        task, answer = worker.task, None
        assert task is not None  # the one that it trains
        match message:
            case Begun():
                worker.begun = message.ticket
            case Step():
                if self._on_step is not None:
                    self._on_step(task.rung, message.progress)
            case Remark():
                _log.warning("%s", message.text)
            case Epoch():
                answer = _answer(worker.place, task, message)
            case Ended():
                worker.task = None
                _end(task, message)
                return
        self._ask(worker, answer)


def _answer(place: Place | None, task: Task, epoch: Epoch) -> Answer:
    with _as_run_error(task.rung):
        _put(task.rung, epoch.checkpoints)
    values = {field.name: getattr(epoch.record, field.name) for field in fields(EpochRecord)}
    return Answer(epoch.ticket, task.report(TrainedElsewhere(**values, place=place)))


def _end(task: Task, ended: Ended) -> None:
    if ended.outcome is None:
        task.future.set_exception(RunError(ended.error))
        return
    try:
        with _as_run_error(task.rung):
            _put(task.rung, ended.files)
    except RunError as error:
        task.future.set_exception(error)
    else:
        task.future.set_result(ended.outcome)


def _put(rung: Rung, files: Files) -> None:
    latest = CheckpointFolder.FILES[0]
    checkpoints = {name for name in files if Path(name).name == latest}
    for name in sorted(checkpoints):
        CheckpointFolder((rung.folder / name).parent).save_bytes(files[name])
    put_files(rung.folder, {name: files[name] for name in files if name not in checkpoints})


@contextmanager
def _as_run_error(rung: Rung) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(f"trial in {rung.folder}: {error}") from error
