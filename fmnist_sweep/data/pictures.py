"""Sets of pictures, whatever they are stored in: read in parallel, fitted, kept in the cache."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from fmnist_sweep.config.data_schema import Fit
from fmnist_sweep.data.dataset import Dataset, in_words
from fmnist_sweep.data.picture import READER, Shape, UnreadableError, fitted_by, read_picture
from fmnist_sweep.data.picture_cache import ArrayFile, Making, kept
from fmnist_sweep.data.progress import report
from fmnist_sweep.errors import DataError
from fmnist_sweep.files import digest_of
from fmnist_sweep.runtime import cores
from fmnist_sweep.workspace import Workspace

AT_A_TIME = 256
"""Pictures in a piece, which one thread reads."""
_SHOWN = 3
_WORDS = {"validation": "validate", "official": "are the official test set"}

T = TypeVar("T")
Item = tuple[str, int, bytes]
"""A picture: its name for messages, its label, its file's bytes."""
Piece = Callable[[], Sequence[Item]]
"""Reads some pictures; called in a thread."""


@dataclass(frozen=True)
class PictureSet:
    """One set, `train`, `validation` or `official`: the number of its pictures, and their pieces in
    order."""

    name: str
    count: int
    pieces: Callable[[], Iterable[Piece]]


@dataclass(frozen=True)
class Reading:
    """How pictures become images, what their classes are called, and what else was understood."""

    shape: Shape
    fit: Fit
    skip_damaged: bool
    class_names: tuple[str, ...]
    remarks: tuple[str, ...] = ()


def load_pictures(
    name: str, source: str, place: str, content: str, sets: Sequence[PictureSet], how: Reading
) -> Dataset:
    """Return the pictures as a dataset whose images are mapped from the cache.

    Args:
        name: of the dataset.
        source: where it is read from, for messages too.
        place: identifies that place in the cache.
        content: digest of all that is read there.
        sets: the training set and, if present, the others.
        how: the pictures are read.

    Raises:
        DataError: a picture is damaged, naming it; a class has no pictures left.
        ConfigError: the cache is in a folder that is not writable.
        RunError: the cache cannot be written, for example because the disk is full.
    """
    settings = [READER, PIL.__version__, list(how.shape), how.fit, how.skip_damaged]
    place = digest_of([place, settings])

    def make(making: Making) -> None:
        damaged: list[str] = []
        for some in sets:
            images = making.array(f"{some.name}_images", how.shape, "|u1")
            labels = making.array(f"{some.name}_labels", (), "<i8")
            damaged += _write(some, source, how, images, labels)
        making.about["damaged"] = damaged

    digest = digest_of([place, content, list(how.class_names)])
    entry = kept(Workspace.here().pictures, place, digest, make)
    damaged = entry.about["damaged"]
    labels = {some.name: np.array(entry.arrays[f"{some.name}_labels"]) for some in sets}
    _refuse_lost_classes(source, labels["train"], how, damaged)

    def images(name: str) -> NDArray[np.uint8] | None:
        return entry.arrays[f"{name}_images"] if len(labels.get(name, ())) else None

    train = images("train")
    if train is None:
        raise DataError(f"{source} has no training pictures")
    return Dataset(
        name=name,
        source=source,
        images=train,
        labels=labels["train"],
        official_images=images("official"),
        official_labels=labels["official"] if images("official") is not None else None,
        class_names=how.class_names,
        validation_images=images("validation"),
        validation_labels=labels["validation"] if images("validation") is not None else None,
        understood=_understood(source, labels, how, damaged),
    )


def in_order(
    tasks: Iterable[Callable[[], T]], threads: int | None = None, ahead: int = 4
) -> Iterator[T]:
    """Call tasks in threads, and yield what they return in their order.

    Only a few are ahead of the one that is yielded, so that memory does not grow with their number.
    Raises what the first task that fails raises.
    """
    threads = threads or cores()
    rest = iter(tasks)
    with ThreadPoolExecutor(threads) as pool:
        running: deque[Future[T]] = deque()
        try:
            running.extend(pool.submit(task) for task in islice(rest, ahead * threads))
            while running:
                done = running.popleft().result()
                running.extend(pool.submit(task) for task in islice(rest, 1))
                yield done
        finally:
            for future in running:
                future.cancel()


def _write(
    some: PictureSet, source: str, how: Reading, images: ArrayFile, labels: ArrayFile
) -> list[str]:
    """Write a set's images and labels, and return the damaged pictures, each with the reason."""
    damaged: list[str] = []
    done = 0
    Image.init()  # all formats, before threads ask for one: Pillow adds them when first needed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about files that Pillow can read nevertheless
        tasks = (_fitting(piece, how) for piece in some.pieces())
        for read in in_order(tasks):
            if read.damaged and not how.skip_damaged:
                raise DataError(
                    f"{source}: {read.damaged[0]}; data.skip_damaged=true leaves out what cannot "
                    "be read"
                )
            damaged += read.damaged
            images.append(read.images)
            labels.append(read.labels)
            done += len(read.labels) + len(read.damaged)
            report("pictures read", done, some.count)
    return damaged


@dataclass(frozen=True, eq=False)
class _Read:
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    damaged: list[str]


def _fitting(piece: Piece, how: Reading) -> Callable[[], _Read]:
    def fit() -> _Read:
        items = piece()
        images = np.empty((len(items), *how.shape), np.uint8)
        labels: list[int] = []
        damaged: list[str] = []
        for name, label, content in items:
            try:
                images[len(labels)] = fitted_by(how.fit, read_picture(content), how.shape).pixels
            except UnreadableError as error:
                damaged.append(f"{name}: {error}")
            else:
                labels.append(label)
        return _Read(images[: len(labels)], np.array(labels, np.int64), damaged)

    return fit


def _refuse_lost_classes(
    source: str, labels: NDArray[np.int64], how: Reading, damaged: Sequence[str]
) -> None:
    counts = np.bincount(labels, minlength=len(how.class_names))
    if damaged and (counts == 0).any():
        name = how.class_names[int(np.argmin(counts))]
        raise DataError(
            f"{source}: class {name} has no training pictures; {len(damaged):,} are damaged"
        )


def _understood(
    source: str, labels: dict[str, NDArray[np.int64]], how: Reading, damaged: Sequence[str]
) -> str:
    fit = "as predict does" if how.fit == "predict" else f"by {how.fit}"
    words = [
        f"{source}: {len(labels['train']):,} pictures, fitted to {in_words(how.shape)} {fit}",
        *how.remarks,
        f"{len(how.class_names)} classes",
        *(
            f"{len(labels[name]):,} {does}"
            for name, does in _WORDS.items()
            if len(labels.get(name, ()))
        ),
    ]
    if damaged:
        shown = "; ".join(damaged[:_SHOWN]) + ("; …" if len(damaged) > _SHOWN else "")
        words.append(f"{len(damaged):,} damaged left out ({shown})")
    return ", ".join(words)
