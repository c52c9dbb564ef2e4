"""Where a sweep's best models are: in its folder while they may win, then in MLflow."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from program import QUICK_SPACE, SMALL, Called, Store, artifact, calls, calls_in, sweep_folder

MODEL = "checkpoints/best.keras"
SWEEP = [*SMALL, *QUICK_SPACE, "train.epochs=1", "sweep.name=mine"]
_LOADS = """
import json
from fmnist_sweep import runtime
from fmnist_sweep.cli import app
runtime.load_tensorflow()
import fmnist_sweep
from fmnist_sweep.training.checkpoint import weights_digest
from fmnist_sweep.errors import FmnistSweepError

def load(config, composition, name):
    sweep = fmnist_sweep.load_sweep(name)
    recorded = sweep.state.best.result.best_weights_sha256
    try:
        print(json.dumps([weights_digest(sweep.best_model().get_weights()) == recorded, ""]))
    except FmnistSweepError as error:
        print(json.dumps([False, str(error)]))

app.COMMANDS["load"] = app.Command(load, "SWEEP", least=1, most=1)
"""
"""A command that says whether `best_model()` gives the weights of the journal, or why not."""
_SCORES = """
from concurrent.futures import Future
from dataclasses import replace
from fmnist_sweep.executors.inline import InlineExecutor

submit = InlineExecutor.submit

def scored(self, rung, on_epoch):
    outcome = submit(self, rung, on_epoch).result()
    is_confirmation = "confirmations" in rung.folder.parts
    score = 0.9 - rung.trial / 10 if is_confirmation else 0.5 + rung.trial / 100
    metrics = {**outcome.result.best_metrics, "val_accuracy": score}
    future = Future()
    future.set_result(replace(outcome, result=replace(outcome.result, best_metrics=metrics)))
    return future

InlineExecutor.submit = scored
"""
"""The later a trial, the better its search finds it, and the worse its confirmation."""


def loaded(called: Called) -> tuple[bool, str]:
    assert called.exit_code == 0, called
    same, said = json.loads(called.out)
    return same, said


def trials_with_model(folder: Path) -> set[str]:
    return {
        run.data.tags["trial"]
        for run in Store(folder).children
        if artifact(folder, run, MODEL).exists()
    }


def test_of_a_finished_sweep_mlflow_has_them_and_its_folder_has_none(tmp_path: Path) -> None:
    done, found = calls(tmp_path, [*SWEEP, "sweep.max_trials=2"], ["load", "mine"], before=_LOADS)
    assert done.exit_code == 0, done
    assert trials_with_model(tmp_path) == {"0", "1"}
    assert not list(sweep_folder(tmp_path).rglob("*.keras"))
    assert not (sweep_folder(tmp_path) / "trials").exists()
    assert loaded(found) == (True, "")
    shutil.rmtree(tmp_path / "mlruns" / "artifacts")
    (gone,) = calls(tmp_path, ["load", "mine"], before=_LOADS)
    same, said = loaded(gone)
    assert not same
    assert said.startswith("sweep mine: the best model is unavailable")


def test_without_tracking_the_winner_s_stays_in_the_folder(tmp_path: Path) -> None:
    sweep = [*SWEEP, "sweep.max_trials=2", "tracking=off"]
    done, found = calls(tmp_path, sweep, ["load", "mine"], before=_LOADS)
    assert done.exit_code == 0, done
    assert len(list(sweep_folder(tmp_path).rglob("*.keras"))) == 1
    assert loaded(found) == (True, "")


@pytest.mark.release
def test_only_the_best_so_many_are_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    for trials in (3, 5):
        sweep = [*SWEEP, f"sweep.max_trials={trials}", "tracking.keep_checkpoints=2"]
        done, found = calls(tmp_path, sweep, ["load", "mine"], before=_LOADS)
        assert done.exit_code == 0, done
        lines = artifact(tmp_path, Store(tmp_path).parents[0], "leaderboard.csv").read_text()
        best = {line.split(",")[1] for line in lines.splitlines()[1:3]}
        assert trials_with_model(tmp_path) == best
        assert loaded(found) == (True, "")


def test_a_winner_whose_model_is_gone_is_fetched_or_trained_again(tmp_path: Path) -> None:
    folders = {"fetched": tmp_path / "fetched", "trained": tmp_path / "trained"}
    sweep = [*SWEEP, "sweep.max_trials=2"]
    for folder in folders.values():
        folder.mkdir()
    for done in calls_in(*((folder, sweep) for folder in folders.values())):
        assert done.exit_code == 0, done
    before = {}
    for how, folder in folders.items():
        journal = sweep_folder(folder) / "journal.jsonl"
        lines = journal.read_bytes().splitlines(keepends=True)
        (place,) = [n for n, line in enumerate(lines) if b'"kind":"official_test"' in line]
        before[how] = place, json.loads(lines[place])
        journal.write_bytes(b"".join(lines[:place]))  # as if killed before
        if how == "trained":
            for run in Store(folder).children:
                artifact(folder, run, MODEL).unlink()
    for again in calls_in(*((folder, sweep) for folder in folders.values())):
        assert again.exit_code == 0, again
    for how, folder in folders.items():
        place, first = before[how]
        lines = (sweep_folder(folder) / "journal.jsonl").read_bytes().splitlines()
        own = {"at": 0, "crc32": ""}
        assert {**json.loads(lines[place]), **own} == {**first, **own}
        assert not list(sweep_folder(folder).rglob("*.keras"))


@pytest.mark.release
def test_a_winner_by_confirmation_is_kept_though_another_scored_better(tmp_path: Path) -> None:
    sweep = [*SWEEP, "sweep.max_trials=2", "sweep.confirm={top: 2, seeds: 2}",
             "tracking.keep_checkpoints=1"]  # fmt: skip
    done, found = calls(tmp_path, sweep, ["load", "mine"], before=_LOADS + _SCORES)
    assert done.exit_code == 0, done
    assert "winner: trial 0" in done.out, "the search's own scores have trial 1 first"
    assert trials_with_model(tmp_path) == {"0"}
    assert loaded(found) == (True, "")


@pytest.mark.release
def test_a_confirmed_winner_is_kept_when_a_larger_budget_finds_a_better_score(
    tmp_path: Path,
) -> None:
    confirmed = [*SWEEP, "sweep.confirm={top: 1, seeds: 2}", "tracking=off"]
    budgets = [[*confirmed, f"sweep.max_trials={trials}"] for trials in (2, 3)]
    *done, found = calls(tmp_path, *budgets, ["load", "mine"], before=_LOADS + _SCORES)
    assert [call.exit_code for call in done] == [0, 0], done
    assert all("winner: trial 1" in call.out for call in done), "trial 2 has the better score"
    assert loaded(found) == (True, "")


def test_a_store_of_an_older_mlflow_is_named_whatever_the_tracking_is_now(tmp_path: Path) -> None:
    sweep = [*SWEEP, "sweep.max_trials=1"]
    for call in calls(tmp_path, sweep, [*sweep, "tracking=off"]):
        assert call.exit_code == 0, call
    with closing(sqlite3.connect(tmp_path / "mlruns" / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'acf3f17fdcc7'")
    (called,) = calls(tmp_path, ["load", "mine"], before=_LOADS)
    same, said = loaded(called)
    assert not same
    assert "is an MLflow store of an older version" in said
    assert "mlflow db upgrade" in said


def test_tracking_that_changed_since_loses_no_model(tmp_path: Path) -> None:
    each = []
    for name, later in (("one", "tracking.experiment=other"), ("two", "tracking=off")):
        sweep = [*SWEEP, "sweep.max_trials=2", f"sweep.name={name}"]
        each += [sweep, [*sweep, later], ["load", name]]
    called = calls(tmp_path, *each, before=_LOADS)
    assert [call.exit_code for call in called] == [0] * 6, called
    assert [loaded(called[2]), loaded(called[5])] == [(True, "")] * 2
