"""The executor that trains rungs in workers that Ray runs, on this machine or on a cluster."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

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
    Message,
    Ready,
    Remark,
    Step,
    files_of,
    put_files,
)
from fmnist_sweep.executors.ray_worker import RayWorker, versions_here
from fmnist_sweep.executors.worker_messages import CannotStart
from fmnist_sweep.interrupts import stop_if_asked
from fmnist_sweep.reasons import reason_of
from fmnist_sweep.training.batches import Arrays
from fmnist_sweep.training.checkpoint import CheckpointFolder
from fmnist_sweep.training.results import EpochRecord

_log = logging.getLogger(__name__)
_LONGEST_END = 5.0  # seconds until a worker that was asked to end is killed
_LOOK_EVERY = 2.0  # seconds between two looks at the cluster's nodes
_AT_ONCE = 3  # calls of a worker: of `next_message`, and of another method meanwhile


@dataclass(frozen=True)
class Supplies:
    """What each worker gets before it trains: a `Job` and a `RunConfig`, both pickled, and a
    reference to the data in the object store, as `TrainingData.arrays` returns them."""

    job: bytes
    run: bytes
    arrays: Any

    @classmethod
    def of(cls, job: bytes, run: bytes, arrays: Arrays) -> Supplies:
        """Put the data into the object store, once.

        Raises:
            RunError: they do not fit.
        """
        try:
            return cls(job, run, ray.put(arrays))
        except RayError as error:
            raise RunError(
                f"executor=ray: the data cannot be stored: {reason_of(error)}"
            ) from error


@dataclass(eq=False)
class _Worker:
    """A worker on a node. `call` is the one whose value is awaited, and `then` what is done with
    it; `begun` the ticket of the rung that it last began."""

    node: str
    actor: Any
    call: Any = None
    then: Callable[[Any], None] | None = None
    place: Place | None = None
    task: Task | None = None
    begun: int = -1


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

    The owner asks each worker for its next message and waits for all of them, in `wait`; a worker
    never calls the owner. So everything happens on the owner's thread, and nothing that a lost
    worker still sends is received.
    """

    def __init__(
        self, config: RayConfig, supplies: Supplies, on_step: OnRungStep | None = None
    ) -> None:
        self._config = config
        self._supplies = supplies
        self._on_step = on_step
        self._attempts = Attempts(config.retries)
        self._workers: list[_Worker] = []
        self._nodes: list[str] = []  # one entry for each worker that fits
        self._refused: dict[str, str] = {}  # by node
        self._false_starts: Counter[str] = Counter()
        self._versions = versions_here()
        self._looked = 0.0
        self._follow_nodes()

    @property
    def workers(self) -> int:
        """Number of rungs trained at a time: as many as workers fit now."""
        return max(1, len(self._nodes))

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
            self._follow_nodes()
            if self.workers > before:
                return set()
            self._start_waiting()
            self._hear()

    def close(self) -> None:
        """End the workers; a training stops between two steps."""
        self._attempts.clear()
        with suppress(RayError):
            training = [worker for worker in self._workers if worker.task is not None]
            for worker in training:
                worker.actor.end.remote()
            until = time.monotonic() + _LONGEST_END
            while training and time.monotonic() < until:
                training = [worker for worker in training if not self._has_ended(worker, until)]
        for worker in self._workers:
            _kill(worker)
        self._workers.clear()

    def _has_ended(self, worker: _Worker, until: float) -> bool:
        left = max(0.0, until - time.monotonic())
        ready, _ = ray.wait([worker.call], timeout=left)
        if not ready or isinstance(ray.get(worker.call), Ended):
            return True
        worker.call = worker.actor.next_message.remote(None)
        return False

    def _hear(self) -> None:
        calls = {worker.call: worker for worker in self._workers if worker.call is not None}
        if not calls:
            time.sleep(_LOOK_EVERY)
            return
        try:
            ready, _ = ray.wait(list(calls), num_returns=1, timeout=_LOOK_EVERY)
        except KeyboardInterrupt:
            stop_if_asked()  # Ray has made it another signal's
            raise
        for call in ready:
            self._take(calls[call])

    def _take(self, worker: _Worker) -> None:
        then = worker.then
        assert then is not None  # there is a call
        try:
            value = ray.get(worker.call)
        except RayTaskError as error:  # such as a worker that cannot import this package
            self._lose(worker)
            self._refuse(worker.node, f"a worker on node {worker.node[:8]}: {reason_of(error)}")
        except RayError:
            self._died(worker)
        else:
            worker.call, worker.then = None, None
            then(value)

    def _call(self, worker: _Worker, then: Callable[[Any], None], method: Any, *given: Any) -> None:
        worker.call, worker.then = method.remote(*given), then

    # Workers: where they fit, and their start.

    def _follow_nodes(self) -> None:
        """Find where workers fit; start those that are missing."""
        if time.monotonic() - self._looked < _LOOK_EVERY:
            return
        self._looked = time.monotonic()
        rooms = {
            node["NodeID"]: self._room(node["Resources"]) for node in ray.nodes() if node["Alive"]
        }
        for worker in [worker for worker in self._workers if worker.node not in rooms]:
            self._died(worker, with_node=True)
        for node in self._refused:
            rooms.pop(node, None)
        most = sum(rooms.values()) if self._config.workers is None else self._config.workers
        self._nodes = _spread(rooms)[:most]
        if not self._nodes and self._refused:
            why = "; ".join(self._refused.values())
            raise RunError(f"executor=ray: no worker can train: {why}")
        running = Counter(worker.node for worker in self._workers)
        for node, wanted in Counter(self._nodes).items():
            for _ in range(min(wanted - running[node], most - len(self._workers))):
                self._open(node)

    def _room(self, resources: dict[str, float]) -> int:
        fits = resources.get("CPU", 0.0) / self._config.cpus
        if self._config.gpus:
            fits = min(fits, resources.get("GPU", 0.0) / self._config.gpus)
        return int(fits + 1e-9)

    def _open(self, node: str) -> None:
        options = {
            "num_cpus": self._config.cpus,
            "num_gpus": self._config.gpus,
            "max_concurrency": _AT_ONCE,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False),
        }
        worker = _Worker(node, ray.remote(RayWorker).options(**options).remote())
        self._workers.append(worker)
        self._call(worker, lambda found: self._compare(worker, found), worker.actor.versions)

    def _compare(self, worker: _Worker, found: dict[str, str]) -> None:
        differ = [
            f"{name} {found.get(name, 'unknown')}, here {here}"
            for name, here in self._versions.items()
            if found.get(name) != here
        ]
        if differ:
            self._lose(worker)
            self._refuse(worker.node, f"node {worker.node[:8]} has {', '.join(differ)}")
            return
        self._call(
            worker,
            lambda answer: self._prepared(worker, answer),
            worker.actor.prepare,
            self._supplies.job,
            self._supplies.run,
            self._supplies.arrays,
            self._config.checkpoint_minutes,
        )

    def _prepared(self, worker: _Worker, answer: Ready | CannotStart) -> None:
        if isinstance(answer, CannotStart):
            raise RunError(f"a worker process cannot start: {answer.reason}")
        worker.place = answer.place
        self._false_starts.clear()  # if one worker can train, others can

    def _refuse(self, node: str, why: str) -> None:
        self._refused[node] = why
        self._looked = 0.0
        _log.warning("executor=ray: %s; no worker runs there", why)

    # Rungs.

    def _start_waiting(self) -> None:
        for worker in self._workers:
            if worker.place is not None and worker.task is None and self._attempts:
                self._start(worker, self._attempts.next())

    def _start(self, worker: _Worker, task: Task) -> None:
        worker.task = task
        try:
            files = files_of(task.rung.folder, CheckpointFolder.FILES)
        except OSError as error:
            raise RunError(f"trial in {task.rung.folder}: {error}") from error
        worker.actor.start.remote(task.ticket, task.rung, files)
        self._ask(worker)

    def _ask(self, worker: _Worker, answer: Answer | None = None) -> None:
        self._call(worker, lambda told: self._told(worker, told), worker.actor.next_message, answer)

    def _told(self, worker: _Worker, message: Message) -> None:
        task = worker.task
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
                self._ask(worker, self._answer(worker, task, message))
                return
            case Ended():
                worker.task = None
                self._end(task, message)
                return
        self._ask(worker)

    def _answer(self, worker: _Worker, task: Task, epoch: Epoch) -> Answer:
        if epoch.checkpoint is not None:
            with _writing(task.rung):
                CheckpointFolder(task.rung.folder).save_bytes(epoch.checkpoint)
        return Answer(epoch.ticket, task.report(_trained_in(worker.place, epoch.record)))

    def _end(self, task: Task, ended: Ended) -> None:
        if ended.outcome is None:
            task.future.set_exception(RunError(ended.error))
            return
        try:
            with _writing(task.rung):
                put_files(task.rung.folder, ended.files)
        except RunError as error:
            task.future.set_exception(error)
        else:
            task.future.set_result(ended.outcome)

    # Deaths.

    def _died(self, worker: _Worker, *, with_node: bool = False) -> None:
        self._lose(worker)
        task = worker.task
        if task is not None and worker.begun == task.ticket:
            self._attempts.died(task)
        elif task is not None:  # not caused by this rung
            self._attempts.give_back(task)
        if worker.place is None and not with_node:
            self._false_starts[worker.node] += 1
            self._attempts.false_start(self._false_starts[worker.node])

    def _lose(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        self._looked = 0.0  # another one may fit
        _kill(worker)


def _spread(rooms: dict[str, int]) -> list[str]:
    """Return each node as often as workers fit, so that the first ones are on different nodes."""
    places = [(number, node) for node, room in rooms.items() for number in range(room)]
    return [node for _, node in sorted(places)]


def _trained_in(place: Place | None, record: EpochRecord) -> TrainedElsewhere:
    values = {field.name: getattr(record, field.name) for field in fields(EpochRecord)}
    return TrainedElsewhere(**values, place=place)


@contextmanager
def _writing(rung: Rung) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(f"trial in {rung.folder}: {error}") from error


def _kill(worker: _Worker) -> None:
    with suppress(RayError, ValueError):
        ray.kill(worker.actor)
