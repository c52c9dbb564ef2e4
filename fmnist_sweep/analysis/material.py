"""What a report shows that no journal holds: samples of the data, and what the winner answers.

It is one file of arrays, `material.npz`, beside the journal, so that a report can be made again
where neither the data nor the model are.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.errors import RunError

MATERIAL_FILE = "material.npz"
SAMPLES_A_CLASS = 5
WRONG_SHOWN = 24


@dataclass(frozen=True, eq=False)
class DataMaterial:
    """The data: `counts` are the images of each class, int64 (classes,), in each of the sets
    (`train`, `validation`, `test`, `official_test`, those that there are, in that order);
    `samples` are training images, uint8 (classes, up to 5, height, width, channels)."""

    name: str
    source: str
    synthetic: bool
    class_names: tuple[str, ...]
    counts: Mapping[str, NDArray[np.int64]]
    samples: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class WinnerMaterial:
    """What the winner's best weights answer to the test set: `probabilities` float32 (n, classes),
    `labels` int64 (n,). `wrong` are rows of those (int64, up to 24), the most confidently wrong
    ones, the surest first; `wrong_images`, uint8 (the same number, height, width, channels), are
    their images."""

    trial: int
    best_weights_sha256: str
    probabilities: NDArray[np.float32]
    labels: NDArray[np.int64]
    wrong: NDArray[np.int64]
    wrong_images: NDArray[np.uint8]

    @classmethod
    def of(
        cls,
        trial: int,
        best_weights_sha256: str,
        probabilities: NDArray[np.floating],
        labels: NDArray[np.int64],
        images: NDArray[np.uint8],
    ) -> WinnerMaterial:
        """Keep the answers, and of the images those that are most confidently wrong."""
        answers = probabilities.argmax(axis=1)
        sureness = probabilities[np.arange(len(labels)), answers]
        wrong = np.flatnonzero(answers != labels)
        # Stable, so that equally sure ones stay in the test set's order.
        wrong = wrong[np.argsort(-sureness[wrong], kind="stable")][:WRONG_SHOWN]
        return cls(
            trial,
            best_weights_sha256,
            probabilities.astype(np.float32),
            labels.astype(np.int64),
            wrong.astype(np.int64),
            images[wrong],
        )


@dataclass(frozen=True, eq=False)
class Material:
    """All of it. `winner` is None where no trial completed; `best_name` is what its config is
    called in `experiments/best`, None where there is none; `is_registered`: MLflow's model registry
    has the winner."""

    data: DataMaterial
    winner: WinnerMaterial | None = None
    best_name: str | None = None
    is_registered: bool = False

    @property
    def winner_sha256(self) -> str | None:
        """The digest of the winner's best weights."""
        return None if self.winner is None else self.winner.best_weights_sha256

    def to_bytes(self) -> bytes:
        """Return it as an .npz file."""
        data, winner = self.data, self.winner
        told: dict[str, object] = {
            "name": data.name,
            "source": data.source,
            "synthetic": data.synthetic,
            "class_names": data.class_names,
            "sets": list(data.counts),
            "best_name": self.best_name,
            "is_registered": self.is_registered,
        }
        arrays: dict[str, NDArray[np.generic]] = {"samples": data.samples}
        arrays |= {f"counts.{name}": counts for name, counts in data.counts.items()}
        if winner is not None:
            told |= {"trial": winner.trial, "best_weights_sha256": winner.best_weights_sha256}
            arrays |= {name: getattr(winner, name) for name in _WINNERS_ARRAYS}
        file = io.BytesIO()
        np.savez_compressed(file, allow_pickle=False, told=np.array(json.dumps(told)), **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Material:
        """Read what `to_bytes` gave.

        Raises:
            RunError: this is no such file.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                told = json.loads(str(arrays["told"]))
                data = DataMaterial(
                    told["name"],
                    told["source"],
                    told["synthetic"],
                    tuple(told["class_names"]),
                    {name: arrays[f"counts.{name}"] for name in told["sets"]},
                    arrays["samples"],
                )
                winner = None
                if "trial" in told:
                    winner = WinnerMaterial(
                        told["trial"],
                        told["best_weights_sha256"],
                        *(arrays[name] for name in _WINNERS_ARRAYS),
                    )
        except Exception as error:  # whatever a damaged archive makes NumPy and zipfile raise
            raise RunError(f"{MATERIAL_FILE} cannot be read: {error}") from error
        return cls(data, winner, told["best_name"], told.get("is_registered", False))


_WINNERS_ARRAYS = ("probabilities", "labels", "wrong", "wrong_images")
