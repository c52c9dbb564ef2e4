"""From a sweep to exported configs and back: reruns that match, and those that are caught."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from program import QUICK_SPACE, Called, Store, artifact, calls

from fmnist_sweep.config.data_schema import SyntheticData
from fmnist_sweep.data import load_dataset

ARRAYS = [
    "data=npz", "data.file=images.npz", "split.validation=100", "split.test=100",
    "train.threads=1", *QUICK_SPACE,
]  # fmt: skip
RUNGS = [*ARRAYS, "sweep.name=rungs", "tuner=hyperband", "train.epochs=4", "sweep.max_trials=5"]
STOPPED = [
    *ARRAYS, "sweep.name=stopped", "train.epochs=4", "sweep.max_trials=2",
    "train.early_stopping={patience: 1, min_delta: 0.9}",
]  # fmt: skip
# One index that trains changes places with one that validates.
SWAP = """
import fmnist_sweep.training.preparation as preparation
from dataclasses import replace
straight = preparation.make_split

def swapped(config, dataset):
    split = straight(config, dataset)
    train, validation = split.train.copy(), split.validation.copy()
    train[0], validation[0] = split.validation[0], split.train[0]
    return replace(split, train=train, validation=validation)

preparation.make_split = swapped
"""


def write_images(folder: Path, pixel: int | None = None) -> None:
    drawn = load_dataset(
        SyntheticData(
            source="synthetic",
            train_size=600,
            test_size=50,
            image_size=12,
            noise=0.1,
            seed=1,
            limit=None,
        )
    )
    if pixel is not None:
        drawn = replace(drawn, images=drawn.images.copy())
        drawn.images.reshape(-1)[pixel] ^= 1
    np.savez(
        folder / "images.npz",
        x_train=drawn.images[..., 0],
        y_train=drawn.labels,
        x_test=drawn.official_images[..., 0],  # type: ignore[index] # drawn data has them
        y_test=drawn.official_labels,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two finished sweeps, their winners and one of their trials exported."""
    folder = tmp_path_factory.mktemp("reruns")
    (folder / "experiments" / "baseline").mkdir(parents=True)
    (folder / "experiments" / "baseline" / "early.yaml").write_text("train: {epochs: 1}\n")
    write_images(folder)
    done = calls(folder, RUNGS, STOPPED, ["export", "stopped-1", "early"])
    assert [call.exit_code for call in done] == [0, 0, 0], done
    return folder


@pytest.fixture(scope="module")
def promoted(place: Path) -> str:
    """The trial that was trained in two rungs: which one is, depends on the processor's digits."""
    store = Store(place)
    [name, *_] = [
        str(run.info.run_name)
        for run in store.children
        if len(store.steps(run, "test_accuracy")) == 2
    ]
    return name


def best(folder: Path, name: str) -> Path:
    return folder / "experiments" / "best" / f"{name}.yaml"


def edited(folder: Path, name: str, old: str, new: str) -> str:
    """Copy an exported file with one passage changed; return the copy's name."""
    text = best(folder, name).read_text()
    assert text.count(old) == 1, old
    copy = f"{name}-edited-{abs(hash((old, new)))}"
    best(folder, copy).write_text(text.replace(old, new))
    return copy


def reruns(folder: Path) -> int:
    client = Store(folder).client
    found = client.get_experiment_by_name("fmnist-train")
    return 0 if found is None else len(client.search_runs([found.experiment_id]))


def test_winner_multi_rung_trial_and_early_stopped_one_reproduce_to_the_last_bit(
    place: Path, promoted: str
) -> None:
    children = {run.info.run_name: run for run in Store(place).children}
    assert Store(place).steps(children["stopped-1"], "loss") == [1, 2], "it was stopped early"

    names = ["rungs", promoted, "early", "stopped"]
    exported, *each = calls(place, ["export", promoted], *([f"+best={n}"] for n in names))
    assert exported.exit_code == 0, exported
    for name, done in zip(names, each, strict=True):
        assert done.exit_code == 0, done
        assert "verdict: exact (tested: the last bit; machine, threads and versions" in done.out
        (rerun, *_) = [
            run
            for run in Store(place, "fmnist-train").runs
            if run.data.tags.get("rerun_of") == f"best/{name}"
        ]
        assert rerun.data.tags["reproduction"] == "exact"


@pytest.fixture(scope="module")
def edits(place: Path) -> dict[str, Called]:
    """What reruns of edited records, and two others, came to; one process for them all."""
    value = OmegaConf.load(best(place, "rungs")).expected.metrics.test_accuracy.value
    metric = f"test_accuracy: {{value: {value}"
    changes = {
        "hyperparameter": ("  label_smoothing: 0.0\n", "  label_smoothing: 0.1\n"),
        "metric": (f"{metric},", f"{metric}1,"),
        "versions": ("tensorflow: 2.", "tensorflow: 1."),
    }
    each = {
        **{what: [f"+best={edited(place, 'rungs', *change)}"] for what, change in changes.items()},
        "derived": ["+best=rungs", "train.seed=3"],
        "noted": ["+best=rungs", "tracking.note=again"],
        "untracked": ["+best=rungs", "tracking=off"],
        "winner": ["export", "rungs", "winner"],
    }
    return dict(zip(each, calls(place, *each.values()), strict=True))


def test_an_altered_pixel_is_caught_before_training(place: Path) -> None:
    write_images(place, pixel=12345)
    try:
        before = reruns(place)
        (done,) = calls(place, ["+best=rungs"])
    finally:
        write_images(place)
    assert_refused(done, r"best/rungs differs from its record: data has sha256 \w{64}, recorded")
    assert reruns(place) == before


def test_a_changed_index_is_caught_before_training(place: Path) -> None:
    (done,) = calls(place, ["+best=rungs"], before=SWAP)
    assert_refused(done, r"best/rungs differs from its record: split has sha256 \w{64}, recorded")


def test_a_changed_hyperparameter_is_caught_before_training_and_named(
    edits: dict[str, Called],
) -> None:
    assert_refused(
        edits["hyperparameter"],
        r"train.label_smoothing is 0.1, recorded: 0.0\. Nothing was trained",
    )


def test_a_metric_that_is_not_reached_is_told_and_exits_with_1(
    place: Path, edits: dict[str, Called]
) -> None:
    value = OmegaConf.load(best(place, "rungs")).expected.metrics.test_accuracy.value
    done = edits["metric"]
    assert done.exit_code == 1
    assert re.search(rf"test_accuracy +│ +{value}1 │ +{value} │ the same │ DIFFERS", done.out)
    assert "verdict: not reproduced" in done.out
    line = r"error: best/rungs-edited-\d+: the rerun's result differs from the record\n"
    assert re.fullmatch(line, done.err)


def test_elsewhere_the_table_says_what_differs(edits: dict[str, Called]) -> None:
    done = edits["versions"]
    assert done.exit_code == 0
    # The weights are equal: it is the same machine.
    assert "verdict: exact (tested: the last bit; the environment differs" in done.out
    assert "tensorflow 1." in done.out
    assert "not compared" not in done.out


def test_overrides_derive_a_run_without_a_verdict(place: Path, edits: dict[str, Called]) -> None:
    derived, looked_at = edits["derived"], edits["noted"]
    assert (derived.exit_code, looked_at.exit_code) == (0, 0)
    assert "derived from best/rungs: train.seed=3; not compared" in derived.out
    assert "verdict: exact" in looked_at.out, "a note changes nothing that is trained"
    tags = [run.data.tags for run in Store(place, "fmnist-train").runs]
    (mine,) = [tag for tag in tags if tag.get("derived_from") == "best/rungs"]
    assert "rerun_of" not in mine
    assert "reproduction" not in mine


def test_without_tracking_a_rerun_is_held_to_its_record_too(edits: dict[str, Called]) -> None:
    done = edits["untracked"]
    assert done.exit_code == 0, done
    assert "verdict: exact" in done.out
    assert "next:" not in done.out


def test_the_record_of_another_run_is_never_taken_for_this_ones(place: Path, promoted: str) -> None:
    elsewhere = "import os\nos.environ['ONEDNN_DEFAULT_FPMATH_MODE'] = 'STRICT'\n"
    (trained,) = calls(place, ["+best=rungs"], before=elsewhere)
    run_id = trained.out.partition("fmnist_sweep export ")[2].split()[0]
    _, first, again, other = calls(
        place,
        ["export", promoted],
        ["export", promoted],
        ["export", run_id, "rungs"],
        ["export", run_id, "rungs.yaml"],
    )
    assert f"exists already: experiments/best/{promoted}.yaml" in first.out
    written = again.out.partition("+best=")[2].strip()
    assert re.fullmatch(r"rungs-\w{6}", written)
    settings = OmegaConf.load(best(place, written)).expected.numerics.settings
    assert settings == {"ONEDNN_DEFAULT_FPMATH_MODE": "STRICT"}
    assert f"exists already: experiments/best/{written}.yaml" in other.out


def test_odd_names_are_text_and_nothing_else(place: Path) -> None:
    client, runs = Store(place).client, Store(place).children[:3]
    ids = [run.info.run_id for run in runs]
    names = {
        "odd [/bold] {x}\nexpected: {y: 1}": "odd-bold-x-expected-y-1",
        "x" * 300: "x" * 90,
        "///": ids[2],
    }
    each = []
    for run, (odd, stem) in zip(ids, names.items(), strict=True):
        client.set_tag(run, "mlflow.runName", odd)
        each += [["export", run], [f"+best={stem}", "train.seed=9"]]
    called = iter(calls(place, *each))
    for run in runs:
        client.set_tag(run.info.run_id, "mlflow.runName", str(run.info.run_name))
    for odd, exported, rerun in zip(names, called, called, strict=True):
        assert exported.exit_code == 0, exported
        assert exported.out.startswith(f"run {odd.splitlines()[0]}")
        assert rerun.exit_code == 0, rerun


def test_a_run_has_its_environment(place: Path) -> None:
    store = Store(place)
    for run in [*store.parents, *store.children]:
        (made_in,) = json.loads(artifact(place, run, "environment.json").read_text())
        assert made_in["numerics"]["threads"] == 1
        assert made_in["numerics"]["versions"]["tensorflow"]
        assert made_in["command"].startswith("python -m fmnist_sweep data=npz")
        assert run.data.tags["cpu"] == made_in["numerics"]["cpu"]


def test_what_cannot_be_exported_or_run_gets_a_line(place: Path) -> None:
    older = edited(place, "rungs", "schema_version: 1\n", "schema_version: 0\n")
    for done, told in zip(
        calls(
            place,
            ["export", "nosuch"],
            ["export", "f" * 32],
            ["export", "rungs-0", "../outside"],
            ["export", "rungs-0", "x", "tracking.uri=sqlite:////nowhere/at/all.db"],
            ["export", """it's "odd\""""],
            ["+best=nosuch"],
            ["+best=rungs", "+baseline=early"],
            ["+best=rungs", "schema_version=2"],
            ["+best=../rungs"],
            [f"+best={older}"],
        ),
        [
            r"run nosuch: not found at sqlite:///.*; the latest are: .*\(\w{32}\)",
            r"run f{32}: not found at .*",
            r"export: NAME=\.\./outside: must be a name of at most 150 letters, .*",
            r"/nowhere/at/all.db: does not exist, so it has no runs",
            r"run it's \"odd\": cannot be looked up by that name; use its id",
            r"best=nosuch: .*",
            r"\+best=rungs \+baseline=early: choose one of the two",
            r"schema_version=2: this version of fmnist_sweep reads 1; .*",
            r"best=\.\./rungs: must be a name, not a path",
            r"experiments/best/rungs-edited-\d+.yaml: schema_version=0: this version .* reads 1.*",
        ],
        strict=True,
    ):
        assert done.exit_code == 2, done
        assert re.fullmatch(f"error: {told}\n", done.err), done.err
        assert done.out == ""


def test_a_run_of_another_version_gets_a_line(place: Path) -> None:
    runs = Store(place).children[:3]
    kept = {path: path.read_text() for path in (artifact(place, r, "config.yaml") for r in runs)}
    changes = [
        ("schema_version: 1", "schema_version: 0", "schema_version=0: this version"),
        ("  neurons:", "  units:", "model.fc_defaults.neurons: missing"),
        ("", "[", "while parsing"),
    ]
    for (path, text), (old, new, _) in zip(kept.items(), changes, strict=True):
        path.write_text(text.replace(old, new) if old else new)
    try:
        each = calls(place, *(["export", run.info.run_id] for run in runs))
    finally:
        for path, text in kept.items():
            path.write_text(text)
    for run, done, (*_, told) in zip(runs, each, changes, strict=True):
        assert done.exit_code == 2, done
        assert re.fullmatch(rf"error: run {run.info.run_name}, config.yaml: .*\n", done.err)
        assert told in done.err


def test_a_sweeps_own_run_gives_its_winner(place: Path, edits: dict[str, Called]) -> None:
    done = edits["winner"]
    assert done.exit_code == 0, done
    ours, theirs = (OmegaConf.load(best(place, name)) for name in ("winner", "rungs"))
    assert ours == theirs
    assert "+best=winner\n" in best(place, "winner").read_text()


def assert_refused(done: Called, told: str) -> None:
    assert done.exit_code == 1
    assert re.search(told, done.err), done.err
    assert done.err.count("\n") == 1
    assert done.out == ""
