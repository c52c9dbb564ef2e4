"""A sweep's report: made when it ends, again from what is left, and sensible in any case."""

from __future__ import annotations

import html.parser
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from program import QUICK_SPACE, SHOWN, SMALL, calls

from fmnist_sweep.analysis.material import (
    MATERIAL_FILE,
    DataMaterial,
    Material,
    WinnerMaterial,
)
from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.journal.file import JOURNAL_FILE, Journal
from fmnist_sweep.journal.identity import sweep_identity
from fmnist_sweep.journal.records import (
    SCHEMA,
    Asked,
    Begun,
    Ended,
    EpochEnded,
    Record,
    Told,
    TrialStatus,
)
from fmnist_sweep.report.comparison_page import comparison_page
from fmnist_sweep.report.page import report_page
from fmnist_sweep.report.source import ReportSource, source_in
from fmnist_sweep.report.sweep_pictures import pictures_of
from fmnist_sweep.space.reading import read_space
from fmnist_sweep.training.results import RunResult

SWEEP = [*SMALL, *QUICK_SPACE, *SHOWN, "tuner=hyperband", "train.epochs=3", "sweep.max_trials=4",
         "sweep.name=mine"]  # fmt: skip
SEARCH = ["best_by_trial", "best_by_time", "accuracy_against_parameters", "accuracy_against_time",
          "rung_survival", "parallel_coordinates"]  # fmt: skip
WINNER = ["learning_curves", "accuracy_by_class", "confusion_matrix", "calibration",
          "confidently_wrong"]  # fmt: skip
DATA = ["samples", "class_distribution"]


class Page(html.parser.HTMLParser):
    """What a page shows, and what it would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.pictures: list[str] = []
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if tag == "figure":
            self.pictures.append(str(given["id"]))
        for name in ("src", "href", "data", "action"):
            value = given.get(name)
            if value is not None and not value.startswith(("data:image/png;base64,", "#")):
                self.fetched.append(value)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("report")
    first, again = calls(place, SWEEP, SWEEP, before=_FAILS_ONCE)
    assert (first.exit_code, again.exit_code) == (0, 0), first.err + again.err
    # A report that fails is a warning; all else is done, and the next call makes it.
    (warning,) = [line for line in first.err.splitlines() if "no report" in line]
    assert warning == (
        "no report was made: RuntimeError: no LaTeX; to make it: python -m fmnist_sweep report mine"
    )
    assert "version 1, the champion" in first.out
    assert "report.html" not in first.out
    assert "mlruns/reports/mine/report.html" in again.out
    return place


_FAILS_ONCE = """
import matplotlib as mpl
from fmnist_sweep import runtime
runtime.load_tensorflow()
from fmnist_sweep.report import reporting

mpl.rcParams.update({"text.usetex": True, "axes.facecolor": "red", "font.size": 30})
draw = reporting.pictures_of

def fail(source):
    reporting.pictures_of = draw
    raise RuntimeError("no LaTeX")

reporting.pictures_of = fail
"""


def report_in(folder: Path) -> Path:
    return folder / "mlruns" / "reports" / "mine" / "report.html"


def test_it_holds_all_it_shows(folder: Path) -> None:
    text = report_in(folder).read_text()
    page = Page(text)
    assert sorted(page.pictures) == sorted(SEARCH + WINNER + DATA)
    assert page.fetched == []
    assert not {"script", "link", "iframe"} & {*page.tags}
    assert "url(" not in text.partition("</style>")[0]
    assert len(text) < 5_000_000
    source = source_in(folder / "mlruns" / "sweeps" / "mine")
    assert source is not None
    best = source.state.best
    assert best is not None
    assert best.result is not None
    for told in (
        f"{best.score:.4f}", f"{best.result.test_accuracy:.4f}", "images are synthetic",
        "python -m fmnist_sweep +best=mine", "predict mine IMAGE.png", source.begun.command,
        source.begun.identity["data"], source.begun.identity["split"], best.result.weights_sha256,
    ):  # fmt: skip
        assert told in page.text
    for leaf in source.begun.identity["space_order"]:
        assert leaf in page.text


def test_mlflow_has_it_and_its_pictures(folder: Path) -> None:
    client = MlflowClient(f"sqlite:///{folder}/mlruns/mlflow.db")
    (run,) = client.search_runs(
        [e.experiment_id for e in client.search_experiments()], "tags.`fmnist.role` = 'sweep'"
    )
    found = {artifact.path for artifact in client.list_artifacts(run.info.run_id, "pictures")}
    assert found == {f"pictures/{name}.png" for name in SEARCH + WINNER + DATA}
    fetched = Path(client.download_artifacts(run.info.run_id, "report.html"))
    assert fetched.read_bytes() == report_in(folder).read_bytes()


def test_the_store_alone_is_enough(folder: Path, tmp_path: Path) -> None:
    before = report_in(folder).read_bytes()
    shutil.copytree(folder / "mlruns", tmp_path / "mlruns")
    for gone in ("sweeps", "reports"):
        shutil.rmtree(tmp_path / "mlruns" / gone)
    (done, missing) = calls(tmp_path, ["report", "mine"], ["report", "other"])
    assert done.exit_code == 0, done.err
    # Its artifacts are still where the first store has them; the page is the same to the byte.
    assert report_in(tmp_path).read_bytes() == before
    assert missing.exit_code == 2
    assert missing.err == "error: report: sweep other: not found; there are: none\n"


def test_a_page_compares_two(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "mlruns" / "sweeps", tmp_path / "mlruns" / "sweeps")
    other = [*SWEEP[:-1], "tuner=random", "sweep.name=other", "report=false", "tracking=off"]
    random, compared = calls(tmp_path, other, ["report", "mine", "other"])
    assert (random.exit_code, compared.exit_code) == (0, 0), random.err + compared.err
    page = Page((tmp_path / "mlruns" / "reports" / "mine-and-other.html").read_text())
    assert page.pictures == ["best_by_trial", "best_by_time"]
    assert page.fetched == []
    assert "hyperband" in page.text
    assert "random" in page.text


def sources(folder: Path, trials: int, fails: int = 0, name: str = "made-up") -> ReportSource:
    """Return a sweep of that many trials over the `cnn` sweep's space; the first ones fail."""
    config = compose_config(["+sweep=cnn", "tuner=random"])
    space, _ = read_space(config)
    identity = sweep_identity(config, space, "d" * 64, "s" * 64, None)
    at, records = 1e9, list[Record]()
    records.append(Begun(SCHEMA, name, identity, "python -m fmnist_sweep +sweep=cnn", at))
    drawn = np.random.RandomState(3)
    for number in range(trials):
        overrides = {
            "train.batch_size": [64, 128][drawn.randint(2)],
            "train.optimizer.learning_rate": float(10 ** drawn.uniform(-3.3, -2.3)),
            "model.conv_blocks.count": int(drawn.randint(2, 5)),
            "model.fc_layers.0.neurons": [64, 128, 256][drawn.randint(3)],
            "variant": ["plain", "smoothed"][drawn.randint(2)],
        }
        records.append(Asked(number, number, 0, 0, 3, f"{number}", {}, overrides, at))
        if number < fails:
            told = Told(number, number, TrialStatus.FAILED, None, None, "no <memory> & $x$", 1, at)
            records.append(told)
            continue
        score = 0.9 + 0.01 * math.log10(overrides["train.optimizer.learning_rate"])
        score += 0.004 * overrides["model.conv_blocks.count"] + 0.002 * drawn.randn()
        for epoch in (1, 2, 3):
            at += 10.0
            metrics = {
                "loss": 1 / epoch, "accuracy": score - 0.1 / epoch, "val_loss": 1.1 / epoch,
                "val_accuracy": score - 0.05 / epoch + 0.05 / 3, "learning_rate": 1e-3,
                "epoch_seconds": 10.0,
            }  # fmt: skip
            records.append(EpochEnded(number, epoch, metrics, at))
        result = RunResult(3, 3, metrics, score, 0.3, 30.0, 10_000 + number, False, "w", "b")
        records.append(Told(number, number, TrialStatus.COMPLETED, score, result, None, 30.0, at))
    records.append(Ended("sweep.max_trials is reached", at))
    journal = Journal(folder / name / JOURNAL_FILE)
    for record in records:
        journal.append(record)
    made = source_in(folder / name)
    assert made is not None
    return ReportSource(made.begun, made.journal, made.state, material())


def material(classes: int = 10) -> Material:
    drawn = np.random.RandomState(0)
    names = tuple(f"class <{number}> $a_b$" for number in range(classes))
    counts = {name: drawn.randint(1, 50, classes) for name in ("train", "test")}
    labels = np.repeat(np.arange(classes), 20)
    chances = drawn.dirichlet(np.full(classes, 0.3), len(labels))
    images = drawn.randint(0, 256, (len(labels), 8, 8, 1)).astype(np.uint8)
    data = DataMaterial(
        "made-up", "nowhere", False, names, counts, images.reshape(-1, 20, 8, 8, 1)[:, :5]
    )
    return Material(data, WinnerMaterial.of(0, "b", chances, labels, images), "made-up")


@pytest.mark.parametrize(("trials", "fails"), [(1, 0), (2, 0), (3, 3), (7, 4), (200, 5)])
def test_any_sweep_has_a_sensible_one(tmp_path: Path, trials: int, fails: int) -> None:
    source = sources(tmp_path, trials, fails)
    pictures, notes = pictures_of(source)
    page = Page(report_page(source, pictures, notes))
    completed = trials - fails
    assert page.pictures == [picture.name for picture in pictures]
    assert ("best_by_trial" in page.pictures) == (completed > 0)
    assert ("confusion_matrix" in page.pictures) == (completed > 0)
    assert "samples" in page.pictures
    assert ("importances" in page.pictures) == (completed > 100)
    assert any("Importances are not available" in note for note in notes) == (completed < 100)
    assert ("No trial has completed." in page.text) == (completed == 0)
    assert page.text.count("no <memory> & $x$") == fails
    assert "memory" not in page.tags
    assert sum(len(picture.png) for picture in pictures) < 3_000_000


def test_answers_of_an_earlier_winner_are_not_shown_as_the_winners(tmp_path: Path) -> None:
    # A finished sweep that goes on finds a better trial; until it ends, the material is the old.
    source = sources(tmp_path, 3)
    best = source.state.best
    assert best is not None
    assert best.result is not None
    best.result = replace(best.result, best_weights_sha256="another")
    pictures, notes = pictures_of(source)
    page = Page(report_page(source, pictures, notes))
    assert {"learning_curves", "samples"} <= {*page.pictures}
    assert not {"confusion_matrix", "calibration", "confidently_wrong"} & {*page.pictures}
    assert "of the previous winner" in page.text
    assert "+best=" not in page.text


@pytest.mark.parametrize("is_registered", [True, False])
def test_the_winner_is_asked_where_the_registry_has_it(tmp_path: Path, is_registered: bool) -> None:
    source = sources(tmp_path, 1)
    assert source.material is not None
    made = replace(source.material, best_name=None, is_registered=is_registered)
    read = Material.from_bytes(made.to_bytes())
    page = Page(report_page(replace(source, material=read), [], []))
    assert ("predict made-up IMAGE.png" in page.text) == is_registered
    assert "+best=" not in page.text


def test_a_sweep_from_python_is_not_said_to_be_resumed_by_a_command(tmp_path: Path) -> None:
    source = sources(tmp_path, 1)
    begun = replace(source.begun, command="python -m fmnist_sweep")
    page = Page(report_page(replace(source, begun=begun), [], []))
    assert "run_sweep(config)" in page.text
    assert "run_sweep" not in Page(report_page(source, [], [])).text


def test_sweeps_of_different_objectives_are_not_compared(tmp_path: Path) -> None:
    one, other = sources(tmp_path, 3), sources(tmp_path, 4, name="second")
    assert "made-up" in comparison_page([one, other])
    other.state.objective = other.state.objective.model_copy(update={"metric": "val_loss"})
    with pytest.raises(ConfigError, match="different objectives"):
        comparison_page([one, other])


def test_material_is_what_was_written() -> None:
    made = material()
    read = Material.from_bytes(made.to_bytes())
    assert read.to_bytes() == made.to_bytes()
    assert read.winner is not None
    assert made.winner is not None
    wrong = read.winner.wrong
    answers = read.winner.probabilities.argmax(axis=1)
    assert (answers[wrong] != read.winner.labels[wrong]).all()
    sure = read.winner.probabilities[wrong, answers[wrong]]
    assert (np.diff(sure) <= 0).all()
    assert len(wrong) == 24


def test_damaged_material_is_named_with_what_helps(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "mlruns", tmp_path / "mlruns")
    material_of_mine = tmp_path / "mlruns" / "sweeps" / "mine" / MATERIAL_FILE
    material_of_mine.write_bytes(material_of_mine.read_bytes()[:500])
    damaged, again, mended = calls(tmp_path, ["report", "mine"], SWEEP, ["report", "mine"])
    assert (damaged.exit_code, again.exit_code, mended.exit_code) == (1, 0, 0), again.err
    assert damaged.err.startswith("error: report: sweep mine: material.npz cannot be read: ")
    assert "running the sweep's command again rewrites it" in damaged.err
    assert damaged.err.count("\n") == 1


def test_a_place_that_reports_cannot_go_to_is_refused_before_anything(tmp_path: Path) -> None:
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns" / "reports").touch()
    refused, without = calls(tmp_path, SWEEP, [*SWEEP, "report=false"])
    assert refused.exit_code == 2
    assert "mlruns/reports: is not writable" in refused.err
    assert not (tmp_path / "mlruns" / "sweeps" / "mine" / "trials").exists()
    assert without.exit_code == 0, without.err
