"""A worker that Ray runs, on any machine, and what it tells the sweep's owner. Ray itself is not
imported here: the owner makes an actor of the class."""

from __future__ import annotations

import ctypes
import logging
import pickle
import platform
import queue
import shutil
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep import provenance, runtime
from fmnist_sweep.executors.protocol import Place, Rung, Train, outcome_of
from fmnist_sweep.executors.ray_messages import (
    Answer,
    Begun,
    Ended,
    Epoch,
    Files,
    Message,
    Ready,
    Remark,
    Step,
    files_of,
    put_files,
)
from fmnist_sweep.executors.socket_folder import remove_abandoned, socket_folder
from fmnist_sweep.executors.worker_messages import CannotStart, Job
from fmnist_sweep.executors.worker_setup import set_up, trainer_of
from fmnist_sweep.interrupts import ask_to_stop
from fmnist_sweep.reasons import message_of
from fmnist_sweep.training.checkpoint import checkpoint_names
from fmnist_sweep.training.progress import StepProgress
from fmnist_sweep.training.results import BEST_MODEL_FILE, EpochRecord

if TYPE_CHECKING:
    from fmnist_sweep.training.batches import Arrays


def versions_here() -> dict[str, str]:
    """Return what has to be equal in the owner and its workers, before anything else is sent."""
    found = {
        "fmnist_sweep": f"{provenance.package_version()} ({provenance.code_digest()[:12]})",
        "arithmetic": provenance.ARITHMETIC,
    }
    for package in ("keras", "tensorflow"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


class RayWorker:
    """Trains one rung after another. The training has a thread of its own, in which an interrupt is
    noticed between two steps; the methods, which Ray calls from other threads, return quickly, but
    for `next_message`.

    Checkpoints are written to a folder of this process, which the next worker on the machine
    removes should this one be killed.
    """

    def __init__(self) -> None:
        self._train: Train | None = None
        self._ticket = -1
        self._folder = Path()
        self._sent = 0.0
        self._every_seconds = 0.0
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._open = ExitStack()
        self._arrays: Arrays = {}

    def versions(self) -> dict[str, str]:
        """Return this worker's versions, see `versions_here`."""
        return versions_here()

    def prepare(
        self, job: bytes, run: bytes, arrays: Arrays, checkpoint_minutes: float
    ) -> Ready | CannotStart:
        """Load TensorFlow and map the data. `job` and `run`, a config, are pickled."""
        try:
            runtime.load_tensorflow()  # unpickling a builder may import Keras
            unpickled: Job = pickle.loads(job)
            set_up(unpickled)
            remove_abandoned()
            self._folder = self._open.enter_context(socket_folder())
            self._arrays = arrays  # they own the memory
            self._every_seconds = 60 * checkpoint_minutes
            self._train = self._trainer(unpickled)
            logging.getLogger("fmnist_sweep").addHandler(_Telling(self._messages))
            environment = provenance.environment_of_run(pickle.loads(run), ())
        except Exception as error:  # noqa: BLE001 - the owner raises it
            return CannotStart(message_of(error))
        return Ready(Place(environment, platform.node()))

    def _trainer(self, job: Job) -> Train:
        from fmnist_sweep.training.batches import TrainingData  # imports TensorFlow

        arrays: Arrays = {
            name: (_writable(images), _writable(labels))
            for name, (images, labels) in self._arrays.items()
        }
        return trainer_of(job, TrainingData.of_arrays(arrays, job.classes), self._tell_step)

    def start(self, ticket: int, rung: Rung, files: Files) -> None:
        """Start to train a rung from these files, in another thread."""
        self._ticket = ticket
        threading.Thread(target=self._run, args=(ticket, rung, files), daemon=True).start()

    def next_message(self, answer: Answer | None) -> Message:
        """Answer the last epoch, if it was the last message; return the next message."""
        if answer is not None:
            self._answers.put(answer)
        return self._messages.get()

    def end(self) -> None:
        """Have the training end between two steps."""
        ask_to_stop()
        self._answers.put(Answer(self._ticket, stop=True))

    def _run(self, ticket: int, rung: Rung, files: Files) -> None:
        assert self._train is not None  # set by `prepare`
        self._messages.put(Begun(ticket))
        here = replace(rung, folder=self._folder / str(ticket) / rung.folder.name)
        try:
            put_files(here.folder, files)
            self._sent = time.monotonic()
            outcome = outcome_of(
                self._train, here, lambda record: self._report(ticket, record, here)
            )
            made = [*checkpoint_names(here.folder, 1), BEST_MODEL_FILE]
            names = [] if outcome.result is None else made
            self._messages.put(Ended(ticket, outcome, files_of(here.folder, names)))
        except BaseException as error:  # noqa: BLE001 - the owner decides
            self._messages.put(Ended(ticket, None, {}, message_of(error)))
        finally:
            shutil.rmtree(here.folder.parent, ignore_errors=True)

    def _report(self, ticket: int, record: EpochRecord, here: Rung) -> bool:
        checkpoints: Files = {}
        if time.monotonic() - self._sent >= self._every_seconds:
            checkpoints = files_of(here.folder, checkpoint_names(here.folder, 1))
            self._sent = time.monotonic()
        self._messages.put(Epoch(ticket, record, checkpoints))
        while True:
            answer = self._answers.get()
            if answer.ticket == ticket:
                return answer.stop

    def _tell_step(self, _rung: Rung, progress: StepProgress) -> None:
        self._messages.put(Step(self._ticket, progress))


class _Telling(logging.Handler):
    """Passes warnings on to the owner."""

    def __init__(self, messages: queue.SimpleQueue[Message]) -> None:
        super().__init__(logging.WARNING)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on."""
        self._messages.put(Remark(record.getMessage()))


def _writable(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array of the same memory that counts as writable, which TensorFlow requires to use
    it without a copy; nothing is written. The given array must be kept."""
    memory = (ctypes.c_uint8 * array.nbytes).from_address(array.ctypes.data)
    flat: NDArray[Any] = np.frombuffer(memoryview(memory), dtype=array.dtype)
    return flat.reshape(array.shape)
