"""The workers of a sweep on Ray's nodes: their start, their calls, their deaths."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from fmnist_sweep.config.schema import RayConfig
from fmnist_sweep.errors import RunError
from fmnist_sweep.executors.attempts import Attempts, Task
from fmnist_sweep.executors.protocol import Place
from fmnist_sweep.executors.ray_messages import Ended, Ready
from fmnist_sweep.executors.ray_rooms import nodes_for_workers
from fmnist_sweep.executors.ray_worker import RayWorker, versions_here
from fmnist_sweep.executors.worker_messages import CannotStart
from fmnist_sweep.interrupts import stop_if_asked
from fmnist_sweep.reasons import reason_of
from fmnist_sweep.training.batches import Arrays

_log = logging.getLogger(__name__)
_LONGEST_END = 5.0  # seconds until a worker that was asked to end is killed
_LOOK_EVERY = 2.0  # seconds between two looks at the cluster's nodes
_AT_ONCE = 3  # calls of a worker: of `next_message`, and of another method meanwhile


@dataclass(frozen=True)
class Supplies:
    """What each worker gets before it trains: a `Job` and a `RunConfig`, both pickled, and a
    reference to the data in the object store."""

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
            why = reason_of(error)
            raise RunError(f"executor=ray: the data cannot be stored: {why}") from error


@dataclass(eq=False)
class Worker:
    """A worker on a node. `call` is the one whose value is awaited, and `then` what is done with
    it; `place` is set once it can train; `begun` is the ticket of the rung that it last began."""

    node: str
    actor: Any
    call: Any = None
    then: Callable[[Any], None] | None = None
    place: Place | None = None
    task: Task | None = None
    begun: int = -1


class RayPool:
    """As many workers as are wanted and fit on the nodes that there are.

    Each worker has at most one call whose value is awaited; a worker never calls the owner. So
    everything happens on the owner's thread, and nothing is received from a worker that is lost.

    Args:
        config: how many workers, and how large.
        supplies: what they get.
        attempts: what becomes of the rung of a worker that dies.
    """

    def __init__(self, config: RayConfig, supplies: Supplies, attempts: Attempts) -> None:
        self._config = config
        self._supplies = supplies
        self._attempts = attempts
        self._workers: list[Worker] = []
        self._nodes: list[str] = []  # one entry for each worker that fits
        self._refused: dict[str, str] = {}  # by node
        self._false_starts: Counter[str] = Counter()
        self._versions = versions_here()
        self._looked = float("-inf")
        self._said = False

    @property
    def size(self) -> int:
        """How many workers fit."""
        return len(self._nodes)

    def free(self) -> Iterator[Worker]:
        """Yield the workers that can train and have no rung."""
        for worker in list(self._workers):
            if worker.place is not None and worker.task is None:
                yield worker

    def call(self, worker: Worker, then: Callable[[Any], None], method: Any, *given: Any) -> None:
        """Call a worker's method; `then` gets its value, in `hear`."""
        worker.call, worker.then = method.remote(*given), then

    def follow_nodes(self) -> None:
        """Every few seconds, find where workers fit, and start those that are missing.

        Raises:
            RunError: the cluster does not answer, or all its nodes are refused.
        """
        if time.monotonic() - self._looked < _LOOK_EVERY:
            return
        nodes = self._living()
        self._looked = time.monotonic()
        for worker in [worker for worker in self._workers if worker.node not in nodes]:
            self._died(worker)
        self._nodes = nodes_for_workers(nodes.values(), self._config, self._refused)
        if not self._nodes and self._refused:
            why = "; ".join(self._refused.values())
            raise RunError(f"executor=ray: no worker can train: {why}")
        self._say_if_none_fits()
        running = Counter(worker.node for worker in self._workers)
        for node, wanted in Counter(self._nodes).items():
            for _ in range(min(wanted - running[node], len(self._nodes) - len(self._workers))):
                self._open(node)

    def hear(self) -> None:
        """Wait until a call has a value, a few seconds at most, and deal with it."""
        calls = {worker.call: worker for worker in self._workers if worker.call is not None}
        if not calls:
            time.sleep(_LOOK_EVERY)
            return
        try:
            ready, _ = ray.wait(list(calls), num_returns=1, timeout=_LOOK_EVERY)
        except KeyboardInterrupt:
            stop_if_asked()  # raises what it was before Ray had it
            raise
        for call in ready:
            self._take(calls[call])

    def close(self) -> None:
        """End the workers; a training stops between two steps."""
        training = [worker for worker in self._workers if worker.task is not None]
        for worker in training:
            with suppress(RayError):
                worker.actor.end.remote()
        until = time.monotonic() + _LONGEST_END
        for worker in training:
            with suppress(RayError):
                while not _has_ended(worker, until):
                    worker.call = None
        for worker in self._workers:
            _kill(worker)
        self._workers.clear()

    def _say_if_none_fits(self) -> None:
        if not self._nodes and not self._said:
            _log.warning(
                "executor=ray: no node has room for a worker with executor.cpus=%g, "
                "executor.gpus=%g; waiting for one",
                self._config.cpus,
                self._config.gpus,
            )
        self._said = not self._nodes

    def _living(self) -> dict[str, dict[str, Any]]:
        try:
            return {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
        except RayError as error:
            why = reason_of(error)
            raise RunError(f"executor=ray: the cluster does not answer: {why}") from error

    def _open(self, node: str) -> None:
        actor = ray.remote(RayWorker).options(
            num_cpus=self._config.cpus,
            num_gpus=self._config.gpus,
            max_concurrency=_AT_ONCE,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        )
        worker = Worker(node, actor.remote())
        self._workers.append(worker)
        self.call(worker, lambda found: self._compare(worker, found), worker.actor.versions)

    def _compare(self, worker: Worker, found: dict[str, str]) -> None:
        differ = [
            f"{name} {found.get(name, 'unknown')}, here {here}"
            for name, here in self._versions.items()
            if found.get(name) != here
        ]
        if differ:
            self._refuse(worker, f"node {worker.node[:8]} has {', '.join(differ)}")
            return
        self.call(
            worker,
            lambda answer: self._prepared(worker, answer),
            worker.actor.prepare,
            self._supplies.job,
            self._supplies.run,
            self._supplies.arrays,
            self._config.checkpoint_minutes,
        )

    def _prepared(self, worker: Worker, answer: Ready | CannotStart) -> None:
        if isinstance(answer, CannotStart):
            raise RunError(f"a worker process cannot start: {answer.reason}")
        worker.place = answer.place
        self._false_starts.clear()  # if one worker can train, others can

    def _take(self, worker: Worker) -> None:
        then = worker.then
        assert then is not None  # there is a call
        try:
            value = ray.get(worker.call)
        except RayError as error:
            no_worker = isinstance(error, RayTaskError) or getattr(
                error, "actor_init_failed", False
            )
            if no_worker and worker.place is None:  # such as one that cannot import this package
                self._refuse(worker, f"node {worker.node[:8]}: {reason_of(error)}")
            else:
                self._died(worker)
        else:
            worker.call, worker.then = None, None
            then(value)

    def _refuse(self, worker: Worker, why: str) -> None:
        self._lose(worker)
        self._refused[worker.node] = why
        _log.warning("executor=ray: %s; no worker runs there", why)

    def _died(self, worker: Worker) -> None:
        self._lose(worker)
        task = worker.task
        if task is not None and worker.begun == task.ticket:
            self._attempts.died(task)
        elif task is not None:  # not caused by this rung
            self._attempts.give_back(task)
        if worker.place is None and worker.node in self._living():
            self._false_starts[worker.node] += 1
            self._attempts.false_start(self._false_starts[worker.node])

    def _lose(self, worker: Worker) -> None:
        self._workers.remove(worker)
        self._looked = float("-inf")  # another one may fit
        _kill(worker)


def _has_ended(worker: Worker, until: float) -> bool:
    """Whether a worker has sent its last message, or has no more time to."""
    if worker.call is None:
        worker.call = worker.actor.next_message.remote(None)
    ready, _ = ray.wait([worker.call], timeout=max(0.0, until - time.monotonic()))
    return not ready or isinstance(ray.get(worker.call), Ended)


def _kill(worker: Worker) -> None:
    with suppress(RayError, ValueError):
        ray.kill(worker.actor)
