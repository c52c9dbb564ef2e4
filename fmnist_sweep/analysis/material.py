"""What a report needs beyond the journal: samples of the data, and the winner's predictions.

It is one file of arrays, `material.npz`, beside the journal, so that a report can be made again
without the data and the model.
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
AUGMENTED_SHOWN, EPOCHS_SHOWN = 6, 7
"""Training images that are shown augmented, and in how many epochs."""


@dataclass(frozen=True, eq=False)
class DataMaterial:
    """The data: `counts` are the images per class, int64 (classes,), of each set (`train`,
    `validation`, `test`, `official_test`, as far as present, in that order); `samples` are training
    images, uint8 (classes, up to 5, height, width, channels)."""

    name: str
    source: str
    synthetic: bool
    class_names: tuple[str, ...]
    counts: Mapping[str, NDArray[np.int64]]
    samples: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class WinnerMaterial:
    """The predictions of the winner's best weights for the test set: `probabilities` float32 (n,
    classes), `labels` int64 (n,). `wrong` are the rows, int64 (up to 24,), of the most confident
    wrong predictions, the most confident first; `wrong_images`, uint8 (up to 24, height, width,
    channels), are their images. `augmented` are training images as they are and as in the first
    epochs, uint8 (images, 1 + epochs, height, width, channels); None without augmentation."""

    trial: int
    best_weights_sha256: str
    probabilities: NDArray[np.float32]
    labels: NDArray[np.int64]
    wrong: NDArray[np.int64]
    wrong_images: NDArray[np.uint8]
    augmented: NDArray[np.uint8] | None = None

    @classmethod
    def of(
        cls,
        trial: int,
        best_weights_sha256: str,
        probabilities: NDArray[np.floating],
        labels: NDArray[np.int64],
        images: NDArray[np.uint8],
        augmented: NDArray[np.uint8] | None = None,
    ) -> WinnerMaterial:
        """Store the predictions, and the images of the most confident wrong ones."""
        answers = probabilities.argmax(axis=1)
        sureness = probabilities[np.arange(len(labels)), answers]
        wrong = np.flatnonzero(answers != labels)
        # A stable sort keeps equal probabilities in the test set's order.
        wrong = wrong[np.argsort(-sureness[wrong], kind="stable")][:WRONG_SHOWN]
        return cls(
            trial,
            best_weights_sha256,
            probabilities.astype(np.float32),
            labels.astype(np.int64),
            wrong.astype(np.int64),
            images[wrong],
            augmented,
        )


@dataclass(frozen=True, eq=False)
class Material:
    """All material. `winner` is None if no trial completed; `best_name` is the name of its config
    in `experiments/best`, None if there is none; `is_registered`: the winner is in MLflow's model
    registry; `metrics` are those of `sweep.metrics`."""

    data: DataMaterial
    winner: WinnerMaterial | None = None
    best_name: str | None = None
    is_registered: bool = False
    metrics: tuple[str, ...] = ()

    @property
    def winner_sha256(self) -> str | None:
        """The SHA-256 digest of the winner's best weights."""
        return None if self.winner is None else self.winner.best_weights_sha256

    def to_bytes(self) -> bytes:
        """Return the material as an .npz file."""
        data, winner = self.data, self.winner
        told: dict[str, object] = {
            "name": data.name,
            "source": data.source,
            "synthetic": data.synthetic,
            "class_names": data.class_names,
            "sets": list(data.counts),
            "best_name": self.best_name,
            "is_registered": self.is_registered,
            "metrics": self.metrics,
        }
        arrays: dict[str, NDArray[np.generic]] = {"samples": data.samples}
        arrays |= {f"counts.{name}": counts for name, counts in data.counts.items()}
        if winner is not None:
            told |= {"trial": winner.trial, "best_weights_sha256": winner.best_weights_sha256}
            arrays |= {name: getattr(winner, name) for name in _WINNERS_ARRAYS}
            if winner.augmented is not None:
                arrays["augmented"] = winner.augmented
        file = io.BytesIO()
        np.savez_compressed(file, allow_pickle=False, told=np.array(json.dumps(told)), **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Material:
        """Read the file that `to_bytes` returned.

        Raises:
            RunError: the file is not valid.
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
                        **{name: arrays[name] for name in _WINNERS_ARRAYS}
                        | {"augmented": arrays.get("augmented")},
                    )
        except Exception as error:  # a damaged archive makes NumPy and zipfile raise all kinds
            raise RunError(f"{MATERIAL_FILE} cannot be read: {error}") from error
        registered, metrics = told.get("is_registered", False), tuple(told.get("metrics", ()))
        return cls(data, winner, told["best_name"], registered, metrics)


_WINNERS_ARRAYS = ("probabilities", "labels", "wrong", "wrong_images")
