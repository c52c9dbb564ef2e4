"""A sweep told to MLflow, cut off at any call and told again, ends as one told once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from search_fakes import ENVIRONMENT

from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.config.schema import Config
from fmnist_sweep.data import Dataset, Split, load_dataset, make_split
from fmnist_sweep.errors import RunError
from fmnist_sweep.journal.file import JOURNAL_FILE, Journal
from fmnist_sweep.journal.records import (
    SCHEMA,
    Asked,
    Begun,
    Confirmed,
    Ended,
    EpochEnded,
    Record,
    RunsIn,
    Told,
    TrialStatus,
)
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.space.reading import read_space
from fmnist_sweep.sweep.trial_folders import trial_folder
from fmnist_sweep.tracking.mlflow.store import local_store_uri
from fmnist_sweep.tracking.opening import open_tracker
from fmnist_sweep.tracking.sweep_log import SweepLog
from fmnist_sweep.tracking.tracker import Tracker
from fmnist_sweep.training.results import RunResult
from fmnist_sweep.workspace import Workspace

IDENTITY = {"tuner": {"name": "random"}}
METRICS = {"loss": 0.5, "accuracy": 0.8, "val_loss": 0.4, "val_accuracy": 0.85}
RESULT = RunResult(
    last_epoch=1,
    best_epoch=1,
    best_metrics=METRICS,
    test_accuracy=0.84,
    test_loss=0.41,
    train_seconds=3.0,
    parameters=100,
    stopped_early=False,
    weights_sha256="1" * 64,
    best_weights_sha256="2" * 64,
)
LATER = replace(RESULT, last_epoch=2, best_epoch=2, weights_sha256="3" * 64)
OVERRIDES = {"train.batch_size": 50}
ELSEWHERE = ENVIRONMENT.model_copy(update={"git_commit": "e" * 40})
RECORDS: list[Record] = [
    RunsIn(ENVIRONMENT, at=100.5),
    Asked(0, 0, 0, 0, 1, "0000", {}, OVERRIDES, at=101.0),
    EpochEnded(0, 1, METRICS, at=102.0),
    Told(0, 0, TrialStatus.COMPLETED, 0.85, RESULT, None, 1.0, at=103.0),
    Ended("sweep.max_trials=1 is reached", at=104.0),
    Asked(1, 1, 0, 0, 1, "0001", {}, OVERRIDES, at=105.0),
    Told(1, 1, TrialStatus.FAILED, None, None, "TrialFailed: it broke", 1.0, at=106.0),
    Asked(2, 0, 1, 1, 2, "0002", {}, OVERRIDES, at=107.0),
    EpochEnded(0, 2, METRICS, at=108.0),
    Told(2, 0, TrialStatus.COMPLETED, 0.85, LATER, None, 1.0, at=109.0),
    RunsIn(ELSEWHERE, at=109.5),
    Confirmed(0, 7, 0.84, RESULT, at=110.0),
    Confirmed(0, 8, 0.86, RESULT, at=111.0),
    Ended("sweep.max_trials=2 is reached", at=112.0),
]
"""Two rungs of one trial, a failed one, an end that was gone past, confirmations, the end."""


class Interrupting:
    """A tracker whose n-th call raises, before or after it does its work."""

    def __init__(self, tracker: Tracker, at: int, error: BaseException, *, after: bool) -> None:
        self._tracker, self._at, self._error, self._after = tracker, at, error, after
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._tracker, name)
        if name == "where":
            return method

        def call(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            if self.calls == self._at and not self._after:
                raise self._error
            answer = method(*arguments, **named)
            if self.calls == self._at:
                raise self._error
            return answer

        return call


class Place:
    """One store, in which the same sweep is told again and again under other names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        small = ["data=synthetic", "data.train_size=300", "data.test_size=20", "data.image_size=8"]
        self.config: Config = compose_config(
            [*small, "split.validation=50", "split.test=50", "model=small_cnn", "train.threads=1",
             "model.conv_blocks=[{channels: 2}]", "+space.train.batch_size={choice: [25, 50]}"]
        )  # fmt: skip
        self.dataset: Dataset = load_dataset(self.config.data)
        self.split: Split = make_split(self.config.split, self.dataset)
        self.client = MlflowClient(local_store_uri(folder))

    def tracker(self) -> Tracker:
        return open_tracker(self.config.tracking, Workspace(self.folder), "sweeps")

    def log(self, name: str, tracker: Tracker) -> SweepLog:
        folder = self.folder / name
        (folder / "trials" / "0000").mkdir(parents=True, exist_ok=True)
        (folder / "trials" / "0000" / "best.keras").write_bytes(b"a model")
        (folder / "best.yaml").write_text("model: {}\n")
        return SweepLog(
            tracker,
            self.config,
            name,
            folder,
            lambda number: trial_folder(folder, number) / "best.keras",
            self.dataset,
            self.split,
            read_space(self.config, ())[0],
            custom_builder=False,
            custom_data=False,
        )

    def tell_live(self, name: str, tracker: Tracker) -> None:
        """Go on from where the journal ends, as a sweep does: journal first, then the tracker."""
        log, state = self.log(name, tracker), SweepState(self.config.sweep.objective)
        journal = Journal(self.folder / name / JOURNAL_FILE)
        with log.ends_what_is_open():
            log.replay(journal, state)
            begun = Begun(SCHEMA, name, IDENTITY, "python -m fmnist_sweep", at=100.0)
            for record in [begun, *RECORDS][len(journal.records) :]:
                journal.append(record)
                state.apply(record)
                log(record, state)

    def standing(self, name: str) -> dict[str, Any]:
        """All that MLflow shows of a sweep, names and ids aside."""
        experiment = self.client.get_experiment_by_name("sweeps")
        assert experiment is not None
        runs = self.client.search_runs(
            [experiment.experiment_id], f"tags.`sweep.name` = '{name}'", max_results=100
        )
        return {
            run.info.run_name.removeprefix(name): (
                run.info.status,
                run.data.params,
                {k: v for k, v in run.data.tags.items() if not k.startswith(("mlflow.", "fmnist."))}
                | {"sweep.name": ""},
                {
                    metric: [(m.step, m.value, m.timestamp) for m in history]
                    for metric in run.data.metrics
                    if (history := self.client.get_metric_history(run.info.run_id, metric))
                },
                sorted(self.files(run.info.run_id, "")),
            )
            for run in runs
        }

    def notes(self, name: str) -> dict[str, str]:
        """The descriptions of a sweep's runs, by their names without its own."""
        experiment = self.client.get_experiment_by_name("sweeps")
        assert experiment is not None
        runs = self.client.search_runs(
            [experiment.experiment_id], f"tags.`sweep.name` = '{name}'", max_results=100
        )
        return {
            run.info.run_name.removeprefix(name): run.data.tags.get("mlflow.note.content", "")
            for run in runs
        }

    def views(self) -> dict[str, dict[str, Any]]:
        """The views of the experiment, by their keys."""
        experiment = self.client.get_experiment_by_name("sweeps")
        assert experiment is not None
        prefix = "mlflow.sharedViewState."
        return {
            tag.removeprefix(prefix): json.loads(value)
            for tag, value in experiment.tags.items()
            if tag.startswith(prefix)
        }

    def files(self, run_id: str, folder: str) -> Iterator[tuple[str, int]]:
        for found in self.client.list_artifacts(run_id, folder):
            if found.is_dir:
                yield from self.files(run_id, found.path)
            elif "journal" not in found.path and "config.yaml" not in found.path:
                yield found.path, found.file_size
            else:  # their text has the sweep's name in it
                yield found.path, 0


@pytest.fixture(autouse=True)
def outside_any_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # whose changes would become an artifact


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("store"))


def test_the_names_of_the_design(place: Place) -> None:
    place.tell_live("whole", place.tracker())
    shown = place.standing("whole")
    assert {name: run[0] for name, run in shown.items()} == {
        "": "FINISHED", "-0": "FINISHED", "-1": "FAILED",
        "-0-seed7": "FINISHED", "-0-seed8": "FINISHED",
    }  # fmt: skip
    assert {path for path, _ in shown[""][4]} == {
        "best.yaml", "config.yaml", "environment.json", "journal.jsonl", "leaderboard.csv",
        "split/classes.csv", "split/indices.npz",
    }  # fmt: skip
    assert {path for path, _ in shown["-0"][4]} == {
        "checkpoints/best.keras", "config.yaml", "environment.json"
    }  # fmt: skip
    assert shown["-0"][1].keys() == {"train.batch_size", "model.parameters"}
    assert shown["-0"][2]["weights.sha256"] == LATER.weights_sha256
    assert [step for step, _, _ in shown["-0"][3]["test_accuracy"]] == [1, 2]
    # A second in a rung, then three: what MLflow's table shows is no longer than needed.
    assert [minutes for _, minutes, _ in shown[""][3]["search_minutes"]] == [0.02, 0.05]
    made_at = {name: run[2]["git.commit"] for name, run in shown.items()}
    here, there = ENVIRONMENT.git_commit, ELSEWHERE.git_commit
    assert made_at == {"": there, "-0": here, "-1": here, "-0-seed7": there, "-0-seed8": there}
    assert shown["-1"][2]["status_reason"] == "TrialFailed: it broke"
    assert "status_reason" not in shown[""][2]


@pytest.mark.parametrize(
    ("error", "after"), [(KeyboardInterrupt(), False), (KeyboardInterrupt(), True),
                         (RunError("the store is away"), False)],
)  # fmt: skip
def test_cut_off_at_any_call_it_leaves_nothing_open_and_is_made_good(
    place: Place, error: BaseException, after: bool
) -> None:
    counting = Interrupting(place.tracker(), 0, error, after=after)
    label = f"{type(error).__name__}{after}".lower()
    place.tell_live(f"{label}-0", counting)  # type: ignore[arg-type]
    whole = place.standing(f"{label}-0")
    assert counting.calls > 30

    # Every fifth, from another start for each kind of error: each takes half a second.
    for call in range(1 + len(label) % 5, counting.calls + 1, 5):
        name = f"{label}-{call}"
        with pytest.raises(type(error)):
            place.tell_live(name, Interrupting(place.tracker(), call, error, after=after))  # type: ignore[arg-type]
        statuses = {run[0] for run in place.standing(name).values()}
        assert "RUNNING" not in statuses, call
        place.tell_live(name, place.tracker())
        assert place.standing(name) == whole, call


def test_a_description_follows_the_sweep_and_a_replay_changes_none(place: Place) -> None:
    log, state = place.log("noted", place.tracker()), SweepState(place.config.sweep.objective)
    journal = Journal(place.folder / "noted" / JOURNAL_FILE)
    stages = []
    begun = Begun(SCHEMA, "noted", IDENTITY, "python -m fmnist_sweep +sweep=x", 100.0)
    for record in [begun, *RECORDS]:
        journal.append(record)
        state.apply(record)
        log(record, state)
        stages.append(place.notes("noted")[""].partition("###")[0].strip())
    stages = list(dict.fromkeys(stages))
    assert [stage.splitlines()[0].rstrip() for stage in stages] == [
        "**noted** (running or interrupted): 0 trials, 0 epochs, 0.0 minutes of training",
        "**noted** (ended: `sweep.max_trials=1 is reached`): "
        "1 trial, 1 epoch, 0.0 minutes of training",
        "**noted** (running or interrupted): 2 trials, 1 epoch, 0.0 minutes of training",
        "**noted** (ended: `sweep.max_trials=2 is reached`): "
        "2 trials, 2 epochs, 0.1 minutes of training",
    ]
    notes, views = place.notes("noted"), place.views()
    assert notes["-0"] == "Trial 0 of `noted`: `train.batch_size=50`"
    assert {key: view["name"] for key, view in views.items()} == {
        "sweeps": "Sweeps and their trials", "curves": "Learning curves of noted"
    }  # fmt: skip
    columns = json.loads(views["sweeps"]["state"])["selectedColumns"]
    assert {"metrics.`best_val_accuracy`", "params.`train.batch_size`"} <= {*columns}

    place.tell_live("noted", place.tracker())
    assert place.notes("noted") == notes
    assert place.views() == views
