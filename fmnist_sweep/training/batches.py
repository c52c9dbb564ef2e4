"""Batches for the model: images are stored as uint8 once, and scaled to 0..1 per batch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fmnist_sweep.config.train_schema import TrainConfig
from fmnist_sweep.data import Dataset, Split
from fmnist_sweep.data.pools import Pool, pool_of
from fmnist_sweep.training.augmentation import (
    Augmentation,
    Rows,
    changed,
    cut_in,
    mixed,
    scaled,
    with_partners,
)

_AT_A_TIME = 4096  # images
_ALIGNMENT = 64  # bytes; TensorFlow aborts on unaligned tensors


Arrays = dict[str, tuple[NDArray[Any], NDArray[np.int64]]]
"""Images, uint8 (n, height, width, channels), and labels, int64 (n,), by the set's name; and the
rows of each fold, both int64 (n,)."""
_FOLD = "fold_"


@dataclass(frozen=True, eq=False)
class ImageSet:
    """One set of a split: `images` uint8 (n, height, width, channels), `labels` int64 (n,).

    With `rows`, int64 (n,), the set's images are those rows of `images`: so a mapped file larger
    than memory is never copied. `of` is the set whose images these are a part of, and share.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: int
    rows: NDArray[np.int64] | None = None
    of: ImageSet | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return some images, uint8 (indices, height, width, channels)."""
        return self.images[indices if self.rows is None else self.rows[indices]]

    def some(self, indices: NDArray[np.int64]) -> ImageSet:
        """Return some of the images as a set of their own, without copying them."""
        rows = indices if self.rows is None else self.rows[indices]
        return ImageSet(self.images, self.labels[indices], self.classes, rows, of=self)

    def save_images(self, path: Path) -> None:
        """Write the images as an .npy file, a part at a time."""
        shape = (len(self), *self.images.shape[1:])
        saved = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        for start in range(0, len(self), _AT_A_TIME):
            some = slice(start, start + _AT_A_TIME)
            saved[some] = self.images[some] if self.rows is None else self.images[self.rows[some]]
        saved.flush()

    def shuffled(
        self,
        order: NDArray[np.int64],
        batch_size: int,
        steps: int,
        *,
        one_hot: bool,
        weigh_classes: bool = False,
        augmentation: Augmentation | None = None,
        epoch: int = 1,
    ) -> tf.data.Dataset:
        """Return the first `steps` batches in the given order: (images, labels), and with
        `weigh_classes` the weight of each image.

        Images are float32 in 0..1, augmented as in that epoch; labels are int64, or float32 rows
        with `one_hot`, which mixed labels require. The last batch may be smaller.
        """
        order = order[: steps * batch_size]
        draws = {} if augmentation is None else augmentation.of_epoch(epoch)
        rows = with_partners(draws, order)
        how = "NEAREST" if augmentation is None else augmentation.interpolation
        weights = tf.constant(self._class_weights, tf.float32) if weigh_classes else None

        def pixels(indices: tf.Tensor, of_images: Rows) -> tf.Tensor:
            return changed(self._pixels(indices), of_images, how)

        def per_class(values: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
            return tf.gather(values, tf.gather(self._label_tensor, indices))

        def batch(indices: tf.Tensor, of_images: Rows, of_partners: Rows) -> tuple[tf.Tensor, ...]:
            images = pixels(indices, of_images)
            others = partners = None
            if "partner" in of_images:
                partners = of_images["partner"]
                others = pixels(partners, of_partners)
            if others is not None and "cut" in of_images:
                images = cut_in(images, others, of_images["cut"])
            images = scaled(images)
            if others is not None and "mix" in of_images:
                images = mixed(images, scaled(others), of_images["mix"])

            def shared(values: tf.Tensor) -> tf.Tensor:
                own = per_class(values, indices)
                if partners is None:
                    return own
                return mixed(own, per_class(values, partners), of_images["share"])

            labels = tf.gather(self._label_tensor, indices)
            if one_hot:
                labels = shared(tf.eye(self.classes))
            return (images, labels) if weights is None else (images, labels, shared(weights))

        numbers = tf.data.Dataset.from_tensor_slices((order, *rows))
        return numbers.batch(batch_size).map(_plain(batch)).prefetch(2).with_options(_options())

    def in_order(self, batch_size: int) -> tf.data.Dataset:
        """Return all images, float32 in 0..1, in order."""
        made = self._in_order.get(batch_size)
        if made is None:  # creating one traces a function, 15 ms per epoch
            numbers = tf.data.Dataset.range(len(self)).batch(batch_size)
            made = numbers.map(_plain(self._scaled)).prefetch(2).with_options(_options())
            self._in_order[batch_size] = made
        return made

    @cached_property
    def _in_order(self) -> dict[int, tf.data.Dataset]:
        return {}

    @cached_property
    def _class_weights(self) -> NDArray[np.float64]:
        """The weight of each class that gives all classes the same weight, 1 on average."""
        counts = np.bincount(self.labels, minlength=self.classes)
        return len(self) / (np.maximum(counts, 1) * np.count_nonzero(counts))

    @cached_property
    def _image_tensor(self) -> tf.Tensor:
        return _tensor(self.images) if self.of is None else self.of._image_tensor

    @cached_property
    def _label_tensor(self) -> tf.Tensor:
        return _tensor(self.labels)

    @cached_property
    def _row_tensor(self) -> tf.Tensor | None:
        return None if self.rows is None else _tensor(self.rows)

    def _pixels(self, indices: tf.Tensor) -> tf.Tensor:
        if self._row_tensor is not None:
            indices = tf.gather(self._row_tensor, indices)
        return tf.gather(self._image_tensor, indices)

    def _scaled(self, indices: tf.Tensor) -> tf.Tensor:
        return scaled(self._pixels(indices))


@dataclass(frozen=True, eq=False)
class TrainingData:
    """The sets of a split for a training; each trial is evaluated on `test`. `folds`, if there are
    such, are rows of `train` that train and that validate, each int64 (n,)."""

    train: ImageSet
    validation: ImageSet | None
    test: ImageSet
    folds: tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...] = ()

    @classmethod
    def of(cls, dataset: Dataset, split: Split) -> TrainingData:
        """Return the sets of a split."""
        sets = {
            name: _image_set(dataset, pool, indices)
            for name, (pool, indices) in split.parts.items()
        }
        folds = tuple(
            (
                np.searchsorted(split.train, fold.train),
                np.searchsorted(split.train, fold.validation),
            )
            for fold in split.folds
        )
        return cls(sets["train"], sets.get("validation"), sets["test"], folds)

    @property
    def of_folds(self) -> list[TrainingData]:
        """The sets of each fold, which share the images."""
        return [
            TrainingData(self.train.some(train), self.train.some(validation), self.test)
            for train, validation in self.folds
        ]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        height, width, channels = self.train.images.shape[1:]
        return (height, width, channels)

    @classmethod
    def of_arrays(cls, arrays: Arrays, classes: int) -> TrainingData:
        """Return the sets of what `arrays` returned; writable arrays are not copied."""
        folds = {name for name in arrays if name.startswith(_FOLD)}
        sets = {name: ImageSet(*arrays[name], classes) for name in arrays if name not in folds}
        rows = tuple(arrays[name] for name in sorted(folds))
        return cls(sets["train"], sets.get("validation"), sets["test"], rows)

    def arrays(self) -> Arrays:
        """Return the sets as plain arrays."""
        sets = {"train": self.train, "validation": self.validation, "test": self.test}
        return {
            name: (
                images.images if images.rows is None else images.images[images.rows],
                images.labels,
            )
            for name, images in sets.items()
            if images is not None
        } | {f"{_FOLD}{number:04d}": rows for number, rows in enumerate(self.folds)}

    def save(self, folder: Path) -> None:
        """Write the sets to a folder, for other processes to map into memory."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("train", "validation", "test"):
            images: ImageSet | None = getattr(self, name)
            if images is not None:
                images.save_images(folder / f"{name}_images.npy")
                np.save(folder / f"{name}_labels.npy", images.labels)
        for number, (train, validation) in enumerate(self.folds):
            np.savez(folder / f"{_FOLD}{number:04d}.npz", train=train, validation=validation)

    @classmethod
    def mapped(cls, folder: Path, classes: int) -> TrainingData:
        """Return the sets of a folder, in shared memory for all processes that read them."""

        def images(name: str) -> ImageSet:
            # Mode "c", because TensorFlow requires writable arrays; nothing is written.
            pixels, labels = (
                np.load(folder / f"{name}_{part}.npy", mmap_mode="c")
                for part in ("images", "labels")
            )
            return ImageSet(pixels, labels, classes)

        validates = (folder / "validation_images.npy").exists()
        folds = []
        for path in sorted(folder.glob(f"{_FOLD}*.npz")):
            with np.load(path) as rows:
                folds.append((rows["train"], rows["validation"]))
        return cls(
            images("train"),
            images("validation") if validates else None,
            images("test"),
            tuple(folds),
        )


def augmentation_of(config: TrainConfig, images: ImageSet) -> Augmentation:
    """Return the augmentation of a training with these images."""
    height, width = images.images.shape[1:3]
    return Augmentation(config.augment, config.seed, len(images), height, width)


def _image_set(dataset: Dataset, pool: Pool, indices: NDArray[np.int64]) -> ImageSet:
    images, labels = pool_of(dataset, pool)
    if isinstance(images, np.memmap):
        return ImageSet(images, labels[indices], dataset.classes, rows=indices)
    return ImageSet(images[indices], labels[indices], dataset.classes)


def _tensor(array: NDArray[np.generic]) -> tf.Tensor:
    """Return an array as a tensor of this process, for use in any graph."""
    with tf.init_scope():
        usable = array.flags.writeable and array.flags.c_contiguous
        if usable and array.ctypes.data % _ALIGNMENT == 0:  # without copying
            return tf.experimental.dlpack.from_dlpack(np.asarray(array).__dlpack__())
        return tf.constant(array)


# Functions without control flow on tensors: rewriting them for it takes a second per process.
_plain = tf.autograph.experimental.do_not_convert


def _options() -> tf.data.Options:
    options = tf.data.Options()
    # Disabled: there is nothing to tune, and the tuning thread sleeps twice as long each time, up
    # to seconds, while the end of an epoch may wait for it.
    options.autotune.enabled = False
    # Disabled, because rewriting would copy all images.
    options.experimental_optimization.apply_default_optimizations = False
    return options
