"""The complete state of a training, from which it continues as if never interrupted."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from lzma import LZMAError
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401 - registers bfloat16 and others with NumPy
import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.errors import RunError
from fmnist_sweep.files import write_whole
from fmnist_sweep.training.results import EpochRecord

_log = logging.getLogger(__name__)

_FOLD = "fold-"
Arrays = tuple[NDArray[Any], ...]
_PARTS = ("weights", "optimizer", "best_weights")
# Raised by the readers of NumPy and zipfile for truncated or altered files.
_UNREADABLE = (
    EOFError, KeyError, LZMAError, MemoryError, NotImplementedError, OSError, RuntimeError,
    TypeError, ValueError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The state of a training after its last epoch.

    `weights` and `best_weights` are in the order of `model.weights`; `optimizer` is in the order of
    the optimizer's variables, including the step (and so the schedule's position). Early stopping
    and the best epoch are functions of `history`, so they have no state.
    """

    weights: Arrays
    optimizer: Arrays
    best_weights: Arrays
    history: tuple[EpochRecord, ...]

    @property
    def epoch(self) -> int:
        """The last finished epoch."""
        return self.history[-1].epoch

    def save(self, path: Path) -> None:
        """Write a `.npz` file, atomically."""
        arrays: dict[str, NDArray[Any]] = {}
        dtypes = {}
        for part in _PARTS:
            dtypes[part] = [array.dtype.name for array in getattr(self, part)]
            for number, array in enumerate(getattr(self, part)):
                arrays[f"{part}/{number}"] = array
        about = {
            "history": [asdict(record) for record in self.history],
            "dtypes": dtypes,
            "sha256": self._digests(),
        }
        arrays["about"] = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
        with write_whole(path) as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read a file that `save` wrote.

        Raises:
            RunError: the file cannot be read; the message names it.
        """
        try:
            # NumPy does not close a file that it cannot read.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                about = json.loads(arrays["about"].tobytes())
                parts = {
                    # The view restores dtypes that NumPy lacks, such as bfloat16.
                    part: tuple(
                        arrays[f"{part}/{number}"].view(dtype)
                        for number, dtype in enumerate(about["dtypes"][part])
                    )
                    for part in _PARTS
                }
            history = tuple(map(EpochRecord.of, about["history"]))
            checkpoint = cls(history=history, **parts)
            if checkpoint._digests() != about["sha256"]:
                raise ValueError("its content does not match its digest")
        except _UNREADABLE as error:
            raise RunError(f"checkpoint {path} cannot be read: {error}") from error
        return checkpoint

    def _digests(self) -> dict[str, str]:
        return {part: weights_digest(getattr(self, part)) for part in _PARTS}


class CheckpointFolder:
    """The last two checkpoints of a training; if one is damaged, the previous one is used."""

    FILES = ("checkpoint.npz", "checkpoint-before.npz")

    def __init__(self, folder: Path) -> None:
        self._latest, self._before = (folder / name for name in self.FILES)

    @property
    def is_empty(self) -> bool:
        """Whether there is no checkpoint to continue from."""
        return not (self._latest.exists() or self._before.exists())

    def clear(self) -> None:
        """Remove the checkpoints."""
        for path in (self._latest, self._before):
            path.unlink(missing_ok=True)

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, atomically, and keep the previous one."""
        if self._latest.exists():
            self._latest.replace(self._before)
        checkpoint.save(self._latest)

    def save_bytes(self, content: bytes) -> None:
        """Write a checkpoint that another process saved, as `save` does."""
        if self._latest.exists():
            self._latest.replace(self._before)
        with write_whole(self._latest) as file:
            file.write(content)

    def latest(self, last_epoch: int) -> Checkpoint | None:
        """Return the last readable checkpoint that is not past `last_epoch`, or None.

        Damaged ones are logged.
        """
        for path in (self._latest, self._before):
            if not path.exists():
                continue
            try:
                checkpoint = Checkpoint.load(path)
            except RunError as error:
                _log.warning("%s; continuing from the previous one, or from the start", error)
                continue
            if checkpoint.epoch <= last_epoch:
                return checkpoint
        return None


def fold_folder(folder: Path, number: int) -> Path:
    """Return the folder of a fold's checkpoints, in that of its trial."""
    return folder / f"{_FOLD}{number:04d}"


def clear_checkpoints(folder: Path) -> None:
    """Remove a training's checkpoints, and those of its folds."""
    CheckpointFolder(folder).clear()
    for of_fold in _fold_folders(folder):
        shutil.rmtree(of_fold, ignore_errors=True)


def checkpoint_names(folder: Path, kept: int = len(CheckpointFolder.FILES)) -> list[str]:
    """Return the files of a training's checkpoints, and of its folds', as paths below the folder:
    the latest of each, or the latest two."""
    places = ["", *(f"{of_fold.name}/" for of_fold in _fold_folders(folder))]
    return [place + name for place in places for name in CheckpointFolder.FILES[:kept]]


def _fold_folders(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{_FOLD}*"))


def weights_digest(weights: Sequence[NDArray[Any]]) -> str:
    """Return the SHA-256 of the values in their order, in hex, without layer names."""
    digest = hashlib.sha256()
    for array in weights:
        digest.update(f"{array.dtype.name}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
