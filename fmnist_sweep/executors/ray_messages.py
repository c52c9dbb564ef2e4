"""Messages between a sweep's owner and the workers that Ray runs for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fmnist_sweep.executors.protocol import Place, RungOutcome
from fmnist_sweep.files import write_whole
from fmnist_sweep.training.progress import StepProgress
from fmnist_sweep.training.results import EpochRecord

Files = dict[str, bytes]
"""Contents of files of a trial's folder, by their paths below it."""


@dataclass(frozen=True)
class Ready:
    """The worker can train, and where it is."""

    place: Place


@dataclass(frozen=True)
class Begun:
    """A rung's training has begun, so that a death is attributed to it."""

    ticket: int


@dataclass(frozen=True)
class Step:
    """How far an epoch is."""

    ticket: int
    progress: StepProgress


@dataclass(frozen=True)
class Epoch:
    """An epoch has ended; the worker waits for the answer. `checkpoints`: that of the training or
    those of its folds, if it is time for them."""

    ticket: int
    record: EpochRecord
    checkpoints: Files


@dataclass(frozen=True)
class Remark:
    """A warning that was logged in the worker."""

    text: str


@dataclass(frozen=True)
class Ended:
    """A rung has ended, with its checkpoints and best model; or, with an `error`, because its files
    cannot be written."""

    ticket: int
    outcome: RungOutcome | None
    files: Files
    error: str | None = None


Message = Begun | Step | Epoch | Remark | Ended


@dataclass(frozen=True)
class Answer:
    """Whether to stop after the epoch that was reported."""

    ticket: int
    stop: bool


def files_of(folder: Path, names: Iterable[str]) -> Files:
    """Return the contents of those of a folder's files that exist."""
    return {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}


def put_files(folder: Path, files: Files) -> None:
    """Write files to a folder, each atomically."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with write_whole(folder / name) as file:
            file.write(content)
