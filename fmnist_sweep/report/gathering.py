"""Writes a report's material at the end of a sweep, when data and model are available."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.analysis.material import (
    AUGMENTED_SHOWN,
    EPOCHS_SHOWN,
    MATERIAL_FILE,
    SAMPLES_A_CLASS,
    DataMaterial,
    Material,
    WinnerMaterial,
)
from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.data import Dataset, Split
from fmnist_sweep.data.split_report import split_table
from fmnist_sweep.errors import RunError
from fmnist_sweep.files import write_whole
from fmnist_sweep.journal.trial import Trial
from fmnist_sweep.training.batches import ImageSet, augmentation_of
from fmnist_sweep.training.preparation import Prepared
from fmnist_sweep.training.rung import answers_of_saved

_log = logging.getLogger(__name__)


def gather(
    folder: Path,
    prepared: Prepared,
    best: Trial | None,
    best_run: RunConfig | None,
    best_name: str | None,
    files: Callable[[int], Iterable[Path]],
    *,
    is_registered: bool,
    metrics: tuple[str, ...],
) -> Path:
    """Write `material.npz` into a sweep's folder, unless what stands there is the same: of the same
    winner, registered or not, and with the same metrics and names of the classes.

    Args:
        folder: the sweep's folder.
        prepared: its data.
        best: its winner.
        best_run: the winner's config.
        best_name: what the winner's config is called in `experiments/best`.
        files: gives where the best model of a trial may be read from, one after another.
        is_registered: whether MLflow's model registry has the winner.
        metrics: what leaderboards show besides.
    """
    path = folder / MATERIAL_FILE
    result = None if best is None else best.model_result
    digest = None if result is None else result.best_weights_sha256
    before = standing_material(folder)
    is_of_winner = before is not None and before.winner_sha256 == digest
    if (
        before is not None
        and is_of_winner
        and (before.best_name, before.is_registered) == (best_name, is_registered)
        and before.metrics == metrics
        and before.data.class_names == prepared.dataset.class_names
    ):
        return path
    if before is not None and is_of_winner:
        winner = before.winner
    else:
        winner = None
        if best is not None and best_run is not None:
            winner = _winner(best, best_run, prepared, files)
    data = _data(prepared.dataset, prepared.split)
    material = Material(data, winner, best_name, is_registered, metrics)
    with write_whole(path) as file:
        file.write(material.to_bytes())
    return path


def standing_material(folder: Path) -> Material | None:
    """Return the material in a sweep's folder, None if absent or unreadable."""
    try:
        return Material.from_bytes((folder / MATERIAL_FILE).read_bytes())
    except (OSError, RunError):
        return None


def _data(dataset: Dataset, split: Split) -> DataMaterial:
    table = split_table(split, dataset)
    counts = {str(name): table[name].to_numpy(np.int64) for name in table.columns}
    if split.validation is None:
        del counts["validation"]
    official = split.official_set(dataset)
    if official is not None:
        counts["official_test"] = np.bincount(official[1], minlength=dataset.classes)
    return DataMaterial(
        dataset.name,
        dataset.source,
        dataset.synthetic,
        dataset.class_names,
        counts,
        _samples(dataset, split),
    )


def _samples(dataset: Dataset, split: Split) -> NDArray[np.uint8]:
    """Return the first training images of each class, the same number for each."""
    labels = dataset.labels[split.train]
    of_each = [split.train[labels == label] for label in range(dataset.classes)]
    most = min(SAMPLES_A_CLASS, *(len(indices) for indices in of_each))
    samples: NDArray[np.uint8] = dataset.images[np.stack([some[:most] for some in of_each])]
    return samples


def _winner(
    best: Trial, run: RunConfig, prepared: Prepared, files: Callable[[int], Iterable[Path]]
) -> WinnerMaterial | None:
    assert best.model_result is not None  # the sweep has ended
    digest = best.model_result.best_weights_sha256
    images, labels = prepared.split.test_set(prepared.dataset)
    for path in files(best.number):
        try:
            answers = answers_of_saved(
                path, ImageSet(images, labels, prepared.dataset.classes), digest
            )
        except RunError as error:
            _log.warning("%s", error)
            continue
        augmented = _augmented(run, prepared)
        return WinnerMaterial.of(best.number, digest, answers, labels, images, augmented)
    return None


def _augmented(run: RunConfig, prepared: Prepared) -> NDArray[np.uint8] | None:
    """Return the first training image of some classes, as it is and as the first epochs have it."""
    train = prepared.data.train
    augmentation = augmentation_of(run.train, train)
    if not augmentation.of_epoch(1):
        return None
    _, firsts = np.unique(train.labels, return_index=True)
    firsts = firsts[:AUGMENTED_SHOWN].astype(np.int64)
    epochs = []
    for epoch in range(1, EPOCHS_SHOWN + 1):
        batches = train.shuffled(
            firsts, len(firsts), 1, one_hot=True, augmentation=augmentation, epoch=epoch
        )
        ((images, _),) = batches.as_numpy_iterator()
        epochs.append(np.rint(images * 255.0).astype(np.uint8))
    return np.stack([train.at(firsts), *epochs], axis=1)
