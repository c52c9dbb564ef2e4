"""A real sweep on folds: what it leaves, its winner; neither kills nor workers change it."""

from __future__ import annotations

import json
import signal
import statistics
from pathlib import Path

import pandas as pd
import pytest
from program import (
    SHOWN,
    SMALL,
    Called,
    Store,
    artifact,
    assert_same_outcome,
    calls,
    program,
    sweep_folder,
)
from torture import FOLDS, Kill, arguments_of, launch, torture

from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.runtime import cores
from fmnist_sweep.training.preparation import prepare, with_threads

SWEEP = [*arguments_of(FOLDS), *SHOWN]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Called]:
    place = tmp_path_factory.mktemp("folds")
    done, again, rerun = calls(place, SWEEP, SWEEP, ["+best=mine"])
    for each in (done, again, rerun):
        assert each.exit_code == 0, each.err
    assert "verdict: exact" in rerun.out
    return place, done


def test_scores_are_means_and_each_fold_has_a_run(swept: tuple[Path, Called]) -> None:
    place, done = swept
    store = Store(place)
    table = pd.read_csv(artifact(place, store.parents[0], "leaderboard.csv"))
    runs = {run.info.run_id: run for run in store.runs}
    folds = [run for run in store.runs if run.data.tags["fmnist.role"] == "fold"]
    assert len(folds) == 2 * len(store.children)
    for trial, row in zip(store.children, table.sort_values("trial").itertuples(), strict=True):
        own = [run for run in folds if run.data.tags["mlflow.parentRunId"] == trial.info.run_id]
        scores = [run.data.metrics["best_val_accuracy"] for run in own]
        assert trial.data.metrics["best_val_accuracy"] == statistics.fmean(scores)
        assert row.val_accuracy == statistics.fmean(scores)
        assert row.val_accuracy_std == pytest.approx(statistics.stdev(scores))
        assert trial.data.metrics["best_val_accuracy_std"] == row.val_accuracy_std
        assert {run.info.status for run in own} == {"FINISHED"}
        epochs = store.steps(trial, "val_loss")
        assert all(store.steps(run, "val_loss") == epochs for run in own)
    (whole,) = (run for run in store.runs if run.data.tags["fmnist.role"] == "refit")
    parent = runs[whole.data.tags["mlflow.parentRunId"]]
    assert parent.data.tags["trial"] == str(table.loc[0, "trial"])
    assert artifact(place, parent, "checkpoints/best.keras").exists()
    assert "± is the standard deviation over 2 folds" in done.out
    assert "registered: synthetic-cnn version 1" in done.out
    assert "official test: trial" in done.out


def test_the_winner_was_trained_on_all_that_is_not_test_once(swept: tuple[Path, Called]) -> None:
    place, _ = swept
    lines = (sweep_folder(place) / "journal.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    (refitted,) = (record for record in records if record["kind"] == "refitted")
    (look,) = (record for record in records if record["kind"] == "official_test")
    told = [r for r in records if r["kind"] == "told" and r["trial"] == refitted["trial"]]
    assert refitted["result"]["last_epoch"] == told[-1]["result"]["best_epoch"]
    assert look["best_weights_sha256"] == refitted["result"]["best_weights_sha256"]
    for record in records:
        if record["kind"] == "epoch":
            accuracies = [fold["val_accuracy"] for fold in record["folds"]]
            assert record["metrics"]["val_accuracy"] == statistics.fmean(accuracies)


def test_what_folds_cannot_do_is_refused_in_a_line(tmp_path: Path) -> None:
    small = [word for word in SMALL if "validation" not in word]
    refused = calls(
        tmp_path,
        [*SWEEP, "train.epochs=null", "train.steps=20"],
        [*SWEEP, "split.folds=100"],
        [*small, "split=kfold", "train.early_stopping.patience=3"],
    )
    named = ("train.steps: split.scheme=kfold", "allowed: 2 to ", "patience=null")
    for done, words in zip(refused, named, strict=True):
        assert done.exit_code == 2, done
        assert done.err.strip().count("\n") == 0, done.err
        assert words in done.err
    assert list(tmp_path.iterdir()) == []


def test_early_stopping_goes_by_the_means() -> None:
    """A sweep may stop early on folds, which validate; a single training has nothing to go by."""
    threads = f"train.threads={cores()}"  # as this process has it
    patient = [*SWEEP, "train.early_stopping.patience=1", threads]
    split = prepare(with_threads(compose_config(patient))).split
    assert split.is_validated


@pytest.mark.release
def test_killed_in_the_middle_of_folds_and_in_workers_it_is_the_same(tmp_path: Path) -> None:
    whole, by_workers = tmp_path / "whole", tmp_path / "workers"
    whole.mkdir()
    ended = launch(FOLDS, whole)
    assert ended.code == 0, ended.printed
    kills = iter(
        [
            Kill(signal.SIGKILL, "checkpoint", 3, after=True),
            Kill(signal.SIGINT, "mid-epoch", 2),
            Kill(signal.SIGKILL, "best model", 1),
        ]
    )
    report = torture(FOLDS, tmp_path / "killed", kills, 3, whole)
    assert len(report.kills) == 3
    by_workers.mkdir()
    workers = ["executor=processes", "executor.workers=1"]
    done = program(by_workers, *arguments_of(FOLDS), *workers)
    assert done.returncode == 0, done.stderr
    assert_same_outcome(whole, by_workers)  # the command, which is recorded, is another
