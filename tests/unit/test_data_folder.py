"""Folders of pictures: what is read, what is refused, and the cache of what was read."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from fmnist_sweep.cli.data_progress import progress_lines
from fmnist_sweep.config.data_schema import BalancedSplit, FolderData, OfficialSplit, WrapperSplit
from fmnist_sweep.data import Dataset, load_dataset, make_split
from fmnist_sweep.data import picture_cache as cache
from fmnist_sweep.data.picture import fitted
from fmnist_sweep.data.progress import watched_by
from fmnist_sweep.errors import ConfigError, DataError, RunError


@pytest.fixture(autouse=True)
def in_a_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "workspace").mkdir()
    monkeypatch.chdir(tmp_path / "workspace")
    return tmp_path / "workspace"


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Three classes of four pictures, of several modes and formats, 6 by 4 pixels."""
    root = tmp_path / "pets"
    for label, name in enumerate(["bird", "cat", "dog"]):
        fill(root / name, 4, seed=label)
    return root


def fill(folder: Path, count: int, seed: int = 0) -> None:
    folder.mkdir(parents=True)
    random = np.random.RandomState(seed)
    for number in range(count):
        pixels = random.randint(0, 256, (6, 4, 3)).astype(np.uint8)
        mode = ["L", "RGB", "P", "RGB"][number % 4]
        ending = ["png", "bmp", "gif", "tiff"][number % 4]
        Image.fromarray(pixels).convert(mode).save(folder / f"{number}.{ending}")


def folder(root: Path, **changed: Any) -> FolderData:
    values = {
        "source": "folder", "dir": str(root), "image_size": [6, 4], "channels": 1,
        "fit": "predict", "skip_damaged": False, "limit": None,
    }  # fmt: skip
    return FolderData.model_validate({**values, **changed})


def read(path: Path, channels: int = 1) -> Any:
    with Image.open(path) as picture:
        return fitted(picture.copy(), (6, 4, channels)).pixels


def test_a_subfolder_is_a_class(pets: Path) -> None:
    dataset = load_dataset(folder(pets))
    assert dataset.class_names == ("bird", "cat", "dog")
    assert dataset.name == "pets"
    assert dataset.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert (dataset.images.shape, dataset.images.dtype) == ((12, 6, 4, 1), np.uint8)
    paths = [path for name in dataset.class_names for path in sorted((pets / name).iterdir())]
    for image, path in zip(dataset.images, paths, strict=True):
        np.testing.assert_array_equal(image, read(path))
    assert dataset.official_images is None
    assert dataset.understood == (
        f"{pets}: 12 pictures, fitted to 6×4×1 as predict does, 3 classes"  # noqa: RUF001
    )


def test_sets_above_the_classes(pets: Path, tmp_path: Path) -> None:
    root = tmp_path / "sets"
    shutil.copytree(pets, root / "Train")
    fill(root / "val" / "cat", 2, seed=7)
    fill(root / "test" / "dog", 3, seed=8)

    dataset = load_dataset(folder(root, channels=3))

    assert dataset.image_shape == (6, 4, 3)
    assert len(dataset.labels) == 12
    assert dataset.validation_labels is not None
    assert dataset.validation_labels.tolist() == [1, 1]
    assert dataset.official_labels is not None
    assert dataset.official_labels.tolist() == [2, 2, 2]
    assert dataset.understood.endswith("3 classes, 2 validate, 3 are the official test set")
    without = load_dataset(folder(root / "Train", channels=3))
    assert without.sha256 != dataset.sha256

    for scheme, pool in [
        (BalancedSplit(scheme="balanced", validation=3, test=3, seed=1), "train"),
        (WrapperSplit(scheme="wrapper", test=3, seed=1), "train"),
        (OfficialSplit(scheme="official", validation=None), "official"),
    ]:
        split = make_split(scheme, dataset)
        assert (split.validation_pool, split.test_pool) == ("validation", pool)
        assert split.validation is not None
        assert split.validation.tolist() == [0, 1]
        validation = split.validation_set(dataset)
        assert validation is not None
        np.testing.assert_array_equal(validation[0], dataset.validation_images)
        used = set(split.train) | (set(split.test) if pool == "train" else set())
        assert used == set(range(12))
        assert split.images["train"] == (9 if pool == "train" else 12)


def test_the_test_set_of_a_split_does_not_depend_on_who_validates(pets: Path) -> None:
    shutil.copytree(pets, pets.parent / "sets" / "train")
    fill(pets.parent / "sets" / "val" / "cat", 2)
    config = BalancedSplit(scheme="balanced", validation=3, test=3, seed=1)
    alone, beside = load_dataset(folder(pets)), load_dataset(folder(pets.parent / "sets"))
    assert make_split(config, alone).test.tolist() == make_split(config, beside).test.tolist()


def test_the_working_directory_and_a_set_without_pictures(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load_dataset(folder(pets))
    monkeypatch.chdir(pets)
    here = load_dataset(folder(Path()))
    assert (here.sha256, here.name) == (whole.sha256, "pets")
    assert (pets / "mlruns").exists()  # which is no class
    assert load_dataset(folder(Path())).class_names == whole.class_names
    (pets / "dog" / "0.png").write_text("no picture")
    with pytest.raises(DataError, match=r"^\.: dog/0\.png: cannot be read"):
        load_dataset(folder(Path()))
    shutil.copytree(pets / "cat", pets.parent / "sets" / "train" / "cat")
    shutil.copytree(pets / "cat", pets.parent / "sets" / "train" / "dog")
    (pets.parent / "sets" / "val" / "cat").mkdir(parents=True)
    dataset = load_dataset(folder(pets.parent / "sets"))
    assert dataset.validation_labels is None
    assert dataset.understood.endswith("2 classes")


def test_numbers_are_classes_in_their_order_and_any_set_name_may_be_a_class(pets: Path) -> None:
    for name in ("10", "9", "1"):
        shutil.copytree(pets / "cat", pets / "digits" / name)
    assert load_dataset(folder(pets / "digits")).class_names == ("1", "9", "10")
    (pets / "dog").rename(pets / "test")
    shutil.rmtree(pets / "digits")
    assert load_dataset(folder(pets)).class_names == ("bird", "cat", "test")


def test_hidden_files_texts_and_deeper_folders(pets: Path) -> None:
    before = load_dataset(folder(pets))
    (pets / ".DS_Store").touch()
    (pets / "cat" / "._1.png").write_bytes(b"x")
    (pets / "cat" / "notes.TXT").write_text("x")
    (pets / "README").write_text("x")
    (pets / "__MACOSX").mkdir()
    assert load_dataset(folder(pets)).sha256 == before.sha256
    (pets / "cat" / "more").mkdir()
    (pets / "cat" / "3.tiff").rename(pets / "cat" / "more" / "3.tiff")
    assert load_dataset(folder(pets)).sha256 == before.sha256
    (pets / "cat" / "more" / "round").symlink_to(pets)  # not followed
    assert load_dataset(folder(pets)).sha256 == before.sha256


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_other_ways_to_fit(tmp_path: Path, fit: str) -> None:
    for name in ("a", "b"):
        (tmp_path / "wide" / name).mkdir(parents=True)
        wide = np.full((10, 40), 200, np.uint8)
        wide[:, :10] = 50
        Image.fromarray(wide).save(tmp_path / "wide" / name / "1.png")
    config = folder(tmp_path / "wide", image_size=[20, 20], fit=fit)
    image = load_dataset(config).images[0, :, :, 0]
    assert {
        "stretch": [50, 50, 200, 200], "crop": [200, 200, 200, 200], "pad": [0, 50, 200, 0],
    }[fit] == [image[0, 0], image[10, 1], image[10, 18], image[19, 19]]  # fmt: skip


def damage(root: Path) -> None:
    (root / "cat" / "1.bmp").write_bytes(b"no picture")
    whole = (root / "dog" / "0.png").read_bytes()
    (root / "dog" / "0.png").write_bytes(whole[: len(whole) // 2])


def test_a_damaged_picture_is_named(pets: Path, in_a_workspace: Path) -> None:
    damage(pets)
    with pytest.raises(
        DataError, match=r"pets: cat/1.bmp: cannot be read as a picture.*data.skip_damaged=true"
    ):
        load_dataset(folder(pets))
    assert list(in_a_workspace.iterdir()) == []


def test_a_damaged_picture_is_left_out(pets: Path) -> None:
    damage(pets)
    for _ in range(2):  # read, and from the cache
        dataset = load_dataset(folder(pets, skip_damaged=True))
        assert dataset.labels.tolist() == [0] * 4 + [1] * 3 + [2] * 3
        assert len(dataset.images) == 10
        np.testing.assert_array_equal(dataset.images[5], read(pets / "cat" / "2.gif"))
        assert "2 damaged left out (cat/1.bmp: cannot be read" in dataset.understood
        assert "dog/0.png: cannot be read as a picture" in dataset.understood
    for path in (pets / "dog").iterdir():
        path.write_bytes(b"x")
    with pytest.raises(DataError, match="class dog has no training pictures; 5 are damaged"):
        load_dataset(folder(pets, skip_damaged=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: shutil.rmtree(root), r"pets does not exist; allowed: a folder"),
        (lambda root: [shutil.rmtree(root), root.touch()], "pets is no folder"),
        (lambda root: [shutil.rmtree(root), root.mkdir()], "pets has no subfolders; allowed: DIR/"),
        (lambda root: [shutil.rmtree(root / "cat"), shutil.rmtree(root / "dog")], "1 subfolders"),
        (lambda root: [shutil.rmtree(root / "cat"), (root / "cat").mkdir()], "cat has no pictures"),
        (lambda root: shutil.copytree(root / "cat", root / "train" / "cat"), "bird/ beside train/"),
        (lambda root: (root / "cat").rename(root / "c\nt"), r"pets/c\\nt: a class is named by its"),
        (lambda root: (root / "cat" / "x.png").symlink_to("nowhere"), "cat/x.png leads nowhere"),
        (lambda root: (root / "cat" / "x.png").symlink_to("x.png"), "cat/x.png leads nowhere"),
        (lambda root: os.mkfifo(root / "cat" / "x.png"), "cat/x.png is no file"),
    ],
)  # fmt: skip
def test_a_folder_that_does_not_fit_is_refused(
    pets: Path, in_a_workspace: Path, change: Callable[[Path], Any], message: str
) -> None:
    change(pets)
    with pytest.raises(DataError, match=message) as refusal:
        load_dataset(folder(pets))
    assert str(refusal.value).startswith("data.dir: ")
    assert "\n" not in str(refusal.value)
    assert list(in_a_workspace.iterdir()) == []


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("val/zebra", "val/zebra: no class of the training pictures; allowed: bird, cat, dog"),
        ("testing/cat", "has test/ and testing/, which mean the same"),
        ("more/cat", "has more/ beside train/"),
    ],
)
def test_sets_that_do_not_fit_are_refused(pets: Path, extra: str, message: str) -> None:
    root = pets.parent / "sets"
    for name in ("train", "test"):
        shutil.copytree(pets, root / name)
    fill(root / extra, 2)
    with pytest.raises(DataError, match=message):
        load_dataset(folder(root))
    if extra.startswith("val"):
        shutil.rmtree(root / "train")
        with pytest.raises(DataError, match="has test/, val/ but no train/"):
            load_dataset(folder(root))


# --- the cache --------------------------------------------------------------------------------


def entries(workspace: Path) -> list[Path]:
    return sorted((workspace / "mlruns" / "pictures").iterdir())


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is read, one item each time that pictures are decoded."""
    seen: list[str] = []
    real = cache._made

    def made(path: Path, *others: Any) -> Any:
        seen.append(path.name)
        return real(path, *others)

    monkeypatch.setattr(cache, "_made", made)
    return seen


def test_pictures_are_decoded_once(pets: Path, made: list[str], in_a_workspace: Path) -> None:
    first = load_dataset(folder(pets))
    again = load_dataset(folder(pets))
    assert len(made) == 1
    assert (again.sha256, again.understood) == (first.sha256, first.understood)
    assert isinstance(again.images, np.memmap)
    assert len(entries(in_a_workspace)) == 1
    for changed in (
        {"channels": 3},
        {"fit": "pad"},
        {"image_size": [4, 6]},
        {"skip_damaged": True},
    ):
        load_dataset(folder(pets, **changed))
    assert len(made) == len(entries(in_a_workspace)) == 5


@pytest.mark.parametrize(
    "change",
    [
        lambda root: shutil.copy(root / "cat" / "0.png", root / "cat" / "2.gif"),
        lambda root: (root / "cat" / "0.png").rename(root / "dog" / "9.png"),
        lambda root: (root / "cat" / "0.png").unlink(),
        lambda root: (root / "cat").rename(root / "horse"),
    ],
)
def test_a_change_of_the_files_is_seen_whatever_their_times(
    pets: Path, made: list[str], in_a_workspace: Path, change: Callable[[Path], Any]
) -> None:
    before = load_dataset(folder(pets))
    seen = (before.sha256, before.class_names)
    times = {path.name: path.stat().st_mtime_ns for path in pets.rglob("*")}
    change(pets)
    for path in pets.rglob("*"):
        os.utime(path, ns=(times.get(path.name, 0), times.get(path.name, 0)))

    after = load_dataset(folder(pets))

    assert len(made) == 2
    assert (after.sha256, after.class_names) != seen
    assert len(entries(in_a_workspace)) == 1  # the former is removed
    assert before.images.sum() > 0  # and still mapped


def spoil_images(entry: Path) -> None:
    with (entry / "train_images.bin").open("r+b") as file:
        file.seek(5)
        value = file.read(1)
        file.seek(5)
        file.write(bytes([value[0] ^ 1]))


def spoil_about(entry: Path) -> None:
    about = json.loads((entry / "about.json").read_text())
    about["arrays"]["train_images"]["shape"] = [4, 12, 6, 1]
    (entry / "about.json").write_text(json.dumps(about))


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_images,
        spoil_about,
        lambda entry: (entry / "about.json").write_text("[]"),
        lambda entry: (entry / "about.json").unlink(),
        lambda entry: (entry / "train_labels.bin").unlink(),
        lambda entry: (entry / "train_labels.bin").write_bytes(b""),
    ],
)
def test_a_damaged_cache_is_made_again(
    pets: Path, made: list[str], in_a_workspace: Path, spoil: Callable[[Path], None]
) -> None:
    sha256 = load_dataset(folder(pets)).sha256
    spoil(*entries(in_a_workspace))
    assert load_dataset(folder(pets)).sha256 == sha256
    assert load_dataset(folder(pets)).sha256 == sha256
    assert len(made) == 2


def test_the_cache_is_made_by_several_at_once(pets: Path, in_a_workspace: Path) -> None:
    def load(_number: int) -> Dataset:
        return load_dataset(folder(pets))

    with ThreadPoolExecutor(4) as pool:
        datasets = list(pool.map(load, range(8)))
    assert len({dataset.sha256 for dataset in datasets}) == 1
    assert len(entries(in_a_workspace)) == 1


def test_the_cache_is_made_by_several_processes_at_once(pets: Path, in_a_workspace: Path) -> None:
    code = (
        "from fmnist_sweep.config.data_schema import FolderData\n"
        "from fmnist_sweep.data import load_dataset\n"
        f"config = FolderData.model_validate({folder(pets).model_dump()!r})\n"
        "print(load_dataset(config).sha256)"
    )
    path = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    several = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=path)
        for _ in range(3)
    ]
    digests = {process.communicate(timeout=120)[0] for process in several}
    assert digests == {f"{load_dataset(folder(pets)).sha256}\n"}
    assert len(entries(in_a_workspace)) == 1


def test_what_killed_processes_left_is_removed(pets: Path, in_a_workspace: Path) -> None:
    left = in_a_workspace / "mlruns" / "pictures" / ".abc-def.99999999.1.tmp"
    left.mkdir(parents=True)
    load_dataset(folder(pets))
    assert not left.exists()


def test_a_cache_that_cannot_be_written_is_named(
    pets: Path, in_a_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (in_a_workspace / "mlruns").write_text("a file")
    with pytest.raises(ConfigError, match="mlruns/pictures: is not writable"):
        load_dataset(folder(pets))
    (in_a_workspace / "mlruns").unlink()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.ArrayFile, "append", full)
    with pytest.raises(RunError, match="cannot be written: No space left on device"):
        load_dataset(folder(pets))
    assert list(in_a_workspace.iterdir()) == []


def test_files_that_change_while_they_are_read_are_refused(
    pets: Path, in_a_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = cache.kept

    def changed(*given: Any) -> Any:
        shutil.copy(pets / "cat" / "0.png", pets / "dog" / "0.png")
        return real(*given)

    monkeypatch.setattr("fmnist_sweep.data.pictures.kept", changed)
    with pytest.raises(DataError, match=r"dog/0\.png changed while it was read"):
        load_dataset(folder(pets))
    assert list(in_a_workspace.iterdir()) == []


def test_progress_is_reported(pets: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    with watched_by(lambda *heard: seen.append(heard)):
        load_dataset(folder(pets))
    assert seen == [("pictures compared with the cache", 12, 12), ("pictures read", 12, 12)]


def test_a_line_says_how_far_it_is(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Console(file=io.StringIO(), width=100)
    with progress_lines(out):
        load_dataset(folder(pets))
    monkeypatch.setattr("fmnist_sweep.cli.data_progress._SECONDS", 0.0)
    with progress_lines(out):
        load_dataset(folder(pets, channels=3))
    load_dataset(folder(pets, fit="crop"))
    assert isinstance(out.file, io.StringIO)
    assert out.file.getvalue() == (
        "pictures compared with the cache: 12 of 12\npictures read: 12 of 12\n"
    )


def test_a_limit_keeps_the_first_of_each_class(pets: Path) -> None:
    dataset = load_dataset(folder(pets, limit=6))
    whole = load_dataset(folder(pets))
    assert dataset.labels.tolist() == [0, 0, 1, 1, 2, 2]
    np.testing.assert_array_equal(dataset.images[2:4], whole.images[4:6])
