"""Pictures in a folder: a subfolder for each class, below `train/`, `val/` and `test/` if there are
such."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fmnist_sweep.config.data_schema import FolderData
from fmnist_sweep.data.dataset import Dataset
from fmnist_sweep.data.picture import shown_path
from fmnist_sweep.data.pictures import (
    AT_A_TIME,
    Item,
    PictureSet,
    Piece,
    Reading,
    in_order,
    load_pictures,
)
from fmnist_sweep.data.progress import report
from fmnist_sweep.errors import DataError
from fmnist_sweep.workspace import Workspace

SETS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "official": ("test", "testing"),
}
"""Names of the folders above those of the classes, by what they hold."""
NO_PICTURES = {
    ".csv", ".db", ".doc", ".docx", ".htm", ".html", ".ini", ".json", ".log", ".mat", ".md", ".npy",
    ".npz", ".py", ".txt", ".xml", ".yaml", ".yml", ".zip",
}  # fmt: skip
"""Endings of files that lie beside pictures and are passed over."""
_SMALL = 1 << 15  # bytes
_HIDDEN = (".", "__MACOSX")
_LAYOUT = "allowed: DIR/CLASS/PICTURE or DIR/train/CLASS/PICTURE, with val/ and test/ beside train/"


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    shown: str
    label: int
    sha256: bytes = b""


def load_folder(config: FolderData) -> Dataset:
    """Read the pictures of a folder; a subfolder is a class, named by it.

    Without `train/` above the classes, all pictures are training images. Classes are in the order
    of their names, numbers in that of their values; pictures in that of class and path. Hidden
    files, and those whose names end like a text's or a table's, are passed over.

    Returns a dataset whose images, uint8 (n, height, width, channels), are mapped from the cache
    below `mlruns/`.

    Raises:
        DataError: the folder has another layout, a class without pictures or a class in `val/` or
            `test/` that `train/` lacks; a file cannot be read, or changes meanwhile; or a picture
            is damaged and `config.skip_damaged` is not set.
    """
    root = _folder(config.dir)
    parts = _parts(root)
    names = _class_names(root, parts["train"])
    files = {name: _files(root, name, folder, names) for name, folder in parts.items()}
    files = {name: _with_digests(root, some) for name, some in files.items()}
    content = hashlib.sha256()
    for name, some in files.items():
        content.update(f"{name}{len(some)};".encode())
        for file in some:
            content.update(f"{file.label} {file.shown}\n".encode())
            content.update(file.sha256)
    return load_pictures(
        shown_path(root.resolve().name) or "pictures",
        shown_path(root),
        f"folder {root.resolve()}".encode("utf-8", "backslashreplace").decode(),
        content.hexdigest(),
        [PictureSet(name, len(some), partial(_pieces, root, some)) for name, some in files.items()],
        Reading(
            (config.image_size[0], config.image_size[1], config.channels),
            config.fit,
            config.skip_damaged,
            names,
        ),
    )


def _folder(given: str) -> Path:
    try:
        path = Path(given).expanduser()
        if path.is_dir():
            return path
        exists = path.exists()
    except (OSError, RuntimeError) as error:  # a name that is too long; ~ of an unknown user
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"data.dir: {given[:200]} cannot be opened: {reason}") from error
    raise DataError(
        f"data.dir: {path} {'is no folder' if exists else 'does not exist'}; allowed: a folder"
    )


def _parts(root: Path) -> dict[str, Path]:
    """Return the folders of classes, by what they hold."""
    folders = _subfolders(root)
    if not folders:
        raise DataError(f"data.dir: {shown_path(root)} has no subfolders; {_LAYOUT}")
    found: dict[str, Path] = {}
    others = []
    for name in folders:
        part = next((part for part, names in SETS.items() if name.lower() in names), None)
        if part is None:
            others.append(name)
        elif part in found:
            raise DataError(
                f"data.dir: {shown_path(root)} has {found[part].name}/ and {name}/, which mean the "
                "same; allowed: one of them"
            )
        else:
            found[part] = root / name
    if not found or (others and "train" not in found):
        return {"train": root}  # a class may be called test
    if others:
        raise DataError(
            f"data.dir: {shown_path(root)} has {shown_path(Path(others[0]))}/ beside "
            f"{found['train'].name}/; {_LAYOUT}"
        )
    if "train" not in found:
        raise DataError(
            f"data.dir: {shown_path(root)} has {', '.join(f'{name}/' for name in folders)} but no "
            f"train/; {_LAYOUT}"
        )
    return {part: found[part] for part in SETS if part in found}


def _subfolders(folder: Path) -> list[str]:
    """Return the names of a folder's folders, but for a workspace's own."""
    ours = os.path.abspath(Workspace.here().mlruns)  # noqa: PTH100 - links stay as they are
    return [
        entry.name
        for entry in _entries(folder)
        if _is(entry.is_dir) and os.path.abspath(entry.path) != ours  # noqa: PTH100
    ]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return what a folder holds, in order, without hidden files."""
    try:
        with os.scandir(folder) as entries:
            seen = [entry for entry in entries if not entry.name.startswith(_HIDDEN)]
    except OSError as error:
        raise DataError(
            f"data.dir: {shown_path(folder)} cannot be read: {error.strerror}"
        ) from error
    return sorted(seen, key=lambda entry: entry.name)


def _is(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except OSError:  # a link to itself
        return False


def _class_names(root: Path, train: Path) -> tuple[str, ...]:
    names = _subfolders(train)
    for name in names:
        if not name.isprintable():
            raise DataError(
                f"data.dir: {shown_path(train / name)}: a class is named by its folder; allowed: "
                "printable characters"
            )
    if len(names) < 2:
        raise DataError(
            f"data.dir: {shown_path(train)} has {len(names)} subfolders"
            f"{f' ({names[0]})' if names else ''}; {_LAYOUT}, with at least two classes"
        )
    if all(name.isascii() and name.isdecimal() for name in names):
        names.sort(key=lambda name: (int(name), name))
    return tuple(names)


def _files(root: Path, part: str, folder: Path, names: Sequence[str]) -> list[_File]:
    """Return the pictures of a folder of classes, in the order of class and path."""
    labels: Mapping[str, int] = {name: label for label, name in enumerate(names)}
    strays = [name for name in _subfolders(folder) if name not in labels]
    if strays:
        raise DataError(
            f"data.dir: {shown_path(folder / strays[0])}: no class of the training pictures; "
            f"allowed: {', '.join(names[:10])}{', …' if len(names) > 10 else ''}"
        )
    found: list[_File] = []
    for name in names:
        some = (
            [] if not (folder / name).is_dir() else list(_below(root, folder / name, labels[name]))
        )
        if not some and part == "train":
            raise DataError(f"data.dir: {shown_path(folder / name)} has no pictures")
        found += some
    return found


def _below(root: Path, folder: Path, label: int) -> Iterator[_File]:
    """Yield the pictures in a folder and its subfolders; links to folders are not followed."""
    above = len(str(root / "x")) - 1
    for entry in _entries(folder):
        if _is(entry.is_dir):
            if not entry.is_symlink():
                yield from _below(root, Path(entry.path), label)
        elif os.path.splitext(entry.name)[1].lower() not in NO_PICTURES:  # noqa: PTH122 - quick
            if not _is(entry.is_file):
                what = "leads nowhere" if entry.is_symlink() else "is no file"
                raise DataError(f"data.dir: {shown_path(Path(entry.path))} {what}")
            yield _File(entry.path, shown_path(entry.path[above:]), label)


def _with_digests(root: Path, files: Sequence[_File]) -> list[_File]:
    """Return the files with the SHA-256 of their content."""
    found: list[_File] = []
    tasks = (
        partial(_digests, root, files[start : start + AT_A_TIME])
        for start in range(0, len(files), AT_A_TIME)
    )
    # Threads would wait for one another: Python opens one file at a time.
    for some in in_order(tasks, threads=1 if _are_small(files) else None):
        found += some
        report("pictures compared with the cache", len(found), len(files))
    return found


def _are_small(files: Sequence[_File]) -> bool:
    """Whether the first files are small on average."""
    first = files[:AT_A_TIME]
    try:
        return sum(os.stat(file.path).st_size for file in first) < _SMALL * len(first)  # noqa: PTH116
    except OSError:  # which reading it will report
        return False


def _digests(root: Path, files: Sequence[_File]) -> list[_File]:
    return [
        _File(file.path, file.shown, file.label, hashlib.sha256(_content(root, file)).digest())
        for file in files
    ]


def _content(root: Path, file: _File) -> bytes:
    try:
        with open(file.path, "rb", buffering=0) as opened:  # noqa: PTH123 - half the time
            return opened.read()
    except OSError as error:
        raise DataError(
            f"{shown_path(root)}: {file.shown} cannot be read: {error.strerror}"
        ) from error


def _pieces(root: Path, files: Sequence[_File]) -> Iterable[Piece]:
    for start in range(0, len(files), AT_A_TIME):
        yield partial(_items, root, files[start : start + AT_A_TIME])


def _items(root: Path, files: Sequence[_File]) -> list[Item]:
    items = []
    for file in files:
        content = _content(root, file)
        if hashlib.sha256(content).digest() != file.sha256:
            raise DataError(
                f"{shown_path(root)}: {file.shown} changed while it was read; try again when "
                "nothing writes there"
            )
        items.append((file.shown, file.label, content))
    return items
