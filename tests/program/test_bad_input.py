"""A user's mistake gets one line that names it, exit code 2, and leaves nothing behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forked import run_forked
from mlflow import MlflowClient
from program import SMALL, environment

from fmnist_sweep.tracking.mlflow.store import local_store_uri

BAD = {
    "space.train.bach_size": ["+space.train.bach_size={choice: [1]}"],
    "space.data": ["+space.data.limit={choice: [100]}"],
    "train.threads": ["+space.train.threads={choice: [1, 2]}"],
    "the range is empty": ["+space.train.optimizer.learning_rate={float: [1e-2, 1e-4]}"],
    "is not searched": [
        "+space.train.batch_size={choice: [32], when: {train.optimizer.name: [sgd]}}"
    ],
    "is circular": [
        "+space.train.batch_size={choice: [32], when: {train.label_smoothing: [0.1]}}",
        "+space.train.label_smoothing={choice: [0.1], when: {train.batch_size: [32]}}",
    ],
    "model.conv_blocks.0.activation": ["model.conv_blocks=[{activation: rleu}]"],
    "train.optimizer.name": ["train.optimizer.name=adagrad"],
    "conv block 0": ["model.conv_blocks=[{filter: 40, pad: valid}]"],
    "sweep.name": ["+sweep=smoke", "sweep.name=../elsewhere"],
    "split.test": ["split.test=55"],
    "/nowhere": ["data=fashion_mnist", "data.limit=null", "data.dir=/nowhere"],
    "needs a budget": ["+space.train.batch_size={choice: [32]}"],
    "objective.metric": ["+sweep=smoke", "sweep.objective.metric=test_accuracy"],
    "pixel3": ["data=csv", "data.train_file={folder}/column.csv"],
    "label": ["data=csv", "data.train_file={folder}/label.csv"],
    "pixel1": ["data=csv", "data.train_file={folder}/pixel.csv"],
    "data.train_file": ["data=csv", "data.train_file={folder}/page.zip"],
    "data.file": ["data=npz", "data.file={folder}/page.npz"],
    "has no column label": ["data=csv", "data.train_file={folder}/unlabelled.csv"],
    "data.label=kind": ["data=csv", "data.train_file={folder}/column.csv", "data.label=kind"],
    "cat/1.png: cannot be read as a picture": ["data=folder", "data.dir={folder}/pets"],
    "data.pixel_max=7: must be one of 1, 255 or null": [
        "data=csv",
        "data.train_file=a.csv",
        "data.pixel_max=7",
    ],
    "has no subfolders": ["data=folder", "data.dir={folder}/pets/cat"],
    "data.channels=2: must be one of 1, 3": [
        "data=folder",
        "data.dir={folder}/pets",
        "data.channels=2",
    ],
    "data.fit=squeeze": ["data=folder", "data.dir={folder}/pets", "data.fit=squeeze"],
    "data.dir: missing": ["data=folder"],
    "understood as": ["data=npz", "data.file={folder}/first.npz"],
    "data.files": ["data=npz"],
    "data.arrays.x_trein": ["data=npz", "data.file=a.npz", "data.arrays={x_trein: a}"],
    "is not a readable Parquet file": ["data=parquet", "data.file={folder}/page.npz"],
    "train-images": ["data=fashion_mnist", "data.limit=null", "data.dir={folder}"],
    "is not writable": ["model=small_cnn"],
    "they are stored by a tracking server": ["model=small_cnn", "tracking.experiment=served"],
    "its artifacts cannot be written to mlflow-artifacts:/7": [
        "+space.train.batch_size={choice: [32]}",
        "sweep.max_trials=1",
        "tracking.experiment=served",
    ],
}
CSV = {
    "column.csv": "label,pixel1,pixel2,pixel4\n0,1,2,4\n",
    "label.csv": "label,pixel1,pixel2,pixel3,pixel4\n-1,1,2,3,4\n",
    "pixel.csv": "label,pixel1,pixel2,pixel3,pixel4\n0,256,2,3,4\n",
    "unlabelled.csv": "pixel1,pixel2,pixel3,pixel4\n1,2,3,4\n",
    "page.zip": "<html>Sign in to download</html>",
    "page.npz": "<html>Sign in to download</html>",
}


def bad_files(folder: Path) -> None:
    """Write data files with one thing wrong in each, and a truncated Fashion-MNIST."""
    for name, text in CSV.items():
        (folder / name).write_text(text)
    for name in ("cat", "dog"):
        (folder / "pets" / name).mkdir(parents=True)
        (folder / "pets" / name / "1.png").write_text("no picture")
    np.savez(folder / "first.npz", x_train=np.ones((4, 5, 8, 8)), y_train=np.arange(4))
    real = Path("/usr/share/datasets/fashion-mnist")
    for path in real.glob("*.gz"):
        content = path.read_bytes()
        half = "train-images" in path.name
        (folder / path.name).write_bytes(content[: len(content) // 2] if half else content)


ALL_CASES = """
import contextlib, glob, io, json, os, sys
from fmnist_sweep.cli.app import main
told = {}
for named, (folder, arguments) in json.load(sys.stdin).items():
    os.chdir(folder)
    before = sorted(glob.glob("**", recursive=True))
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = main(arguments)
    told[named] = [code, said.getvalue(), before == sorted(glob.glob("**", recursive=True))]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, blank_store: Path) -> Any:
    data = tmp_path_factory.mktemp("data")
    bad_files(data)
    cases = {}
    for named, overrides in BAD.items():
        folder = tmp_path_factory.mktemp("case")
        if named == "is not writable":
            (folder / "mlruns").write_text("a file, where a folder is to be")
        if "tracking.experiment=served" in overrides:
            (folder / "mlruns").mkdir()
            shutil.copy(blank_store, folder / "mlruns")
            client = MlflowClient(local_store_uri(folder))
            client.create_experiment("served", "mlflow-artifacts:/7")  # as its UI does
        typed = [o.replace("{folder}", str(data)) for o in overrides]
        small = [] if typed[0] in ("data=fashion_mnist", "+sweep=smoke") else SMALL
        if typed[0] in ("data=csv", "data=npz", "data=folder", "data=parquet"):
            small = ["train.threads=1"]
        if typed[0] == "data=csv":
            small.append("data.image_size=[2, 2]")
        cases[named] = (str(folder), [*small, *typed])
    done = run_forked(ALL_CASES, data, (), environment(), json.dumps(cases))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("named", BAD)
def test_it_is_one_line_and_leaves_nothing(named: str, told: Any) -> None:
    code, said, nothing_is_left = told[named]
    (line,) = said.splitlines()
    assert line.startswith("error: ")
    assert named in line
    assert (code, nothing_is_left) == (2, True)
