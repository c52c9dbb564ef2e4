"""Names of classes that are put right after a sweep has ended."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from PIL import Image
from program import Store, artifact, calls

from fmnist_sweep.report.class_names import renaming
from fmnist_sweep.report.gathering import standing_material


def table(path: Path, images: int, seed: int) -> Path:
    random = np.random.RandomState(seed)
    frame = pd.DataFrame(random.randint(0, 100, (images, 36)))
    frame.columns = [f"pixel{number}" for number in range(1, 37)]
    frame.insert(0, "label", np.arange(images) % 2)
    frame.iloc[1::2, 1:19] += 150
    frame.to_csv(path, index=False)
    return path


def test_names_put_right_reach_report_registry_and_champion_without_training(
    tmp_path: Path,
) -> None:
    sweep = [
        "data=csv", f"data.train_file={table(tmp_path / 'own.csv', 80, 1)}",
        f"data.val_file={table(tmp_path / 'val.csv', 20, 2)}", "data.image_size=[6, 6]",
        "split=official", "split.validation={fraction: 0.2, take: last}", "train.threads=1",
        "model=small_cnn", "model.conv_blocks=[{channels: 2}]", "model.fc_layers=[]",
        "train.epochs=1", "+space.train.batch_size={choice: [16, 32]}", "sweep.name=own",
    ]  # fmt: skip
    other = [*sweep, "report=false", "sweep.name=other", "train.seed=7"]
    Image.new("L", (6, 6)).save(tmp_path / "one.png")
    wrong, right = "data.class_names=[Dress, Sneaker]", "data.class_names=[zero, one]"
    first, renamed, again, asked, back, more, others = calls(
        tmp_path,
        [*sweep, wrong, "sweep.max_trials=1"],
        [*sweep, right, "sweep.max_trials=1"],
        [*sweep, right, "sweep.max_trials=1"],
        ["predict", "own", "one.png"],
        [*sweep, wrong, "sweep.max_trials=1", "report=false"],
        [*sweep, "data.class_names=[zero, one, two]", "sweep.max_trials=1"],
        [*other, right, "sweep.max_trials=1"],
    )
    codes = [done.exit_code for done in (first, renamed, again, asked, back, others)]
    assert codes == [0] * 6, (first.err, renamed.err, again.err, back.err, others.err)
    assert "names of the classes" not in first.out + again.out
    told = (
        "the names of the classes have changed: class 0 was {}, is {}, and 1 more; rewritten "
        "without training: {}split/classes.csv in MLflow, the registered model\n"
    )
    assert told.format("Dress", "zero", "the report, ") in renamed.out
    assert "version 2, the champion (as version 1 was, under other names" in renamed.out
    assert "version 2, the champion (it was that before)" in again.out
    assert any(name in asked.out for name in ("zero", "one 0", "one 1"))
    assert "Dress" not in asked.out
    assert told.format("zero", "Dress", "") in back.out
    assert "version 3, the champion" in back.out
    assert more.exit_code == 2
    assert "sweep own: its networks are for 2 classes, and there are 3 now" in more.err
    assert "cannot be compared" not in others.out  # the same images, under other names

    store = Store(tmp_path)
    ours = next(run for run in store.parents if run.info.run_name == "own")
    counts = pd.read_csv(artifact(tmp_path, ours, "split/classes.csv"), index_col="class")
    assert counts.to_dict("index") == {
        "Dress": {"train": 32, "validation": 8, "test": 10},
        "Sneaker": {"train": 32, "validation": 8, "test": 10},
    }
    folder = tmp_path / "mlruns" / "sweeps" / "own"
    material = standing_material(folder)
    assert material is not None
    assert material.data.class_names == ("zero", "one")  # the last that had a report
    page = artifact(tmp_path, ours, "report.html").read_text()
    assert "0 zero, 1 one" in page
    assert page == (tmp_path / "mlruns" / "reports" / "own" / "report.html").read_text()
    asks = [line for line in (folder / "journal.jsonl").read_text().splitlines() if "asked" in line]
    assert len(asks) == 1
    client = MlflowClient(f"sqlite:///{tmp_path}/mlruns/mlflow.db")
    versions = client.search_model_versions("name = 'own-cnn'", order_by=["version_number ASC"])
    names = {
        str(version.version): json.loads(
            (
                Path(version.source.removeprefix("file://")) / "artifacts" / "classes.json"
            ).read_text()
        )
        for version in versions
    }
    assert (names["1"], names["2"]) == (["Dress", "Sneaker"], ["zero", "one"])
    assert names["3"] == names["1"]


def test_a_renaming_in_words() -> None:
    assert renaming(["a", "b"], ["a", "c"]) == "class 1 was b, is c"
    assert renaming(["a"], ["b", "c"]) == "class 0 was a, is b, and 1 more"
