"""Everything that a training needs to go on as if it had never stopped."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from lzma import LZMAError
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401 - gives NumPy bfloat16 and the like by name
import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.errors import RunError
from fmnist_sweep.files import write_whole
from fmnist_sweep.training.results import EpochRecord

Arrays = tuple[NDArray[Any], ...]
_PARTS = ("weights", "optimizer", "best_weights")
# What NumPy's and zipfile's readers raise on files that were cut or altered.
_UNREADABLE = (
    EOFError, KeyError, LZMAError, MemoryError, NotImplementedError, OSError, RuntimeError,
    TypeError, ValueError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The state of a training after its last epoch.

    `weights` and `best_weights` are in the order of `model.weights`; `optimizer` in that of the
    optimizer's variables, the step (and with it the schedule's position) among them. Early
    stopping and the best epoch are functions of `history`, so they need no state of their own.
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
        """Write a `.npz` file, whole or not at all."""
        arrays: dict[str, NDArray[Any]] = {}
        dtypes = {}
        for part in _PARTS:
            dtypes[part] = [array.dtype.name for array in getattr(self, part)]
            for number, array in enumerate(getattr(self, part)):
                arrays[f"{part}/{number}"] = array
        about = {"history": [asdict(record) for record in self.history], "dtypes": dtypes}
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
            with np.load(path, allow_pickle=False) as arrays:
                about = json.loads(arrays["about"].tobytes())
                parts = {
                    # The view brings back kinds of number that NumPy has not, such as bfloat16.
                    part: tuple(
                        arrays[f"{part}/{number}"].view(dtype)
                        for number, dtype in enumerate(about["dtypes"][part])
                    )
                    for part in _PARTS
                }
            history = tuple(map(EpochRecord.of, about["history"]))
        except _UNREADABLE as error:
            raise RunError(f"checkpoint {path} cannot be read: {error}") from error
        return cls(history=history, **parts)


def weights_digest(weights: Sequence[NDArray[Any]]) -> str:
    """Return the SHA-256 of the values in their order, in hex; layer names do not count."""
    digest = hashlib.sha256()
    for array in weights:
        digest.update(f"{array.dtype.name}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
