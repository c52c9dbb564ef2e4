"""Where a sweep's best models are: in its folder while they may win, then in MLflow."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from program import QUICK_SPACE, SMALL, Store, artifact, calls, environment, sweep_folder

MODEL = "checkpoints/best.keras"
SWEEP = [*SMALL, *QUICK_SPACE, "train.epochs=1", "sweep.name=mine"]
_LOAD = """
import json, sys
import fmnist_sweep
from fmnist_sweep.training.checkpoint import weights_digest
from fmnist_sweep.errors import FmnistSweepError

sweep = fmnist_sweep.load_sweep("mine")
recorded = sweep.state.best.result.best_weights_sha256
try:
    print(json.dumps([weights_digest(sweep.best_model().get_weights()) == recorded, ""]))
except FmnistSweepError as error:
    print(json.dumps([False, str(error)]))
"""


def best_model(folder: Path) -> tuple[bool, str]:
    """Whether `best_model()` gives the weights of the journal, and what it says if it cannot."""
    done = subprocess.run(
        [sys.executable, "-c", _LOAD],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    same, said = json.loads(done.stdout)
    return same, said


def trials_with_model(folder: Path) -> set[str]:
    return {
        run.data.tags["trial"]
        for run in Store(folder).children
        if artifact(folder, run, MODEL).exists()
    }


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    (done,) = calls(tmp_path, [*SWEEP, "sweep.max_trials=3"])
    assert done.exit_code == 0, done
    return tmp_path


def test_of_a_finished_sweep_mlflow_has_them_and_its_folder_has_none(finished: Path) -> None:
    assert trials_with_model(finished) == {"0", "1", "2"}
    assert not list(sweep_folder(finished).rglob("*.keras"))
    assert not (sweep_folder(finished) / "trials").exists()
    assert best_model(finished) == (True, "")
    shutil.rmtree(finished / "mlruns" / "artifacts")
    same, said = best_model(finished)
    assert not same
    assert said.startswith("sweep mine: the best model is not to be had")


def test_without_tracking_the_winner_s_stays_in_the_folder(tmp_path: Path) -> None:
    (done,) = calls(tmp_path, [*SWEEP, "sweep.max_trials=3", "tracking=off"])
    assert done.exit_code == 0, done
    assert len(list(sweep_folder(tmp_path).rglob("*.keras"))) == 1
    assert best_model(tmp_path) == (True, "")


def test_only_the_best_so_many_are_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    for trials in (4, 8):
        (done,) = calls(
            tmp_path, [*SWEEP, f"sweep.max_trials={trials}", "tracking.keep_checkpoints=2"]
        )
        assert done.exit_code == 0, done
        lines = artifact(tmp_path, Store(tmp_path).parents[0], "leaderboard.csv").read_text()
        best = {line.split(",")[1] for line in lines.splitlines()[1:3]}
        assert trials_with_model(tmp_path) == best
    assert best_model(tmp_path) == (True, "")


@pytest.mark.parametrize("mlflow_has_it", [True, False])
def test_a_winner_whose_model_is_gone_is_fetched_or_trained_again(
    mlflow_has_it: bool, finished: Path
) -> None:
    journal = sweep_folder(finished) / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    (place,) = [n for n, line in enumerate(lines) if b'"kind":"official_test"' in line]
    first = json.loads(lines[place])
    journal.write_bytes(b"".join(lines[:place]))  # as if killed before
    if not mlflow_has_it:
        for run in Store(finished).children:
            artifact(finished, run, MODEL).unlink()
    (again,) = calls(finished, [*SWEEP, "sweep.max_trials=3"])
    assert again.exit_code == 0, again
    second = json.loads(journal.read_bytes().splitlines()[place])
    own = {"at": 0, "crc32": ""}
    assert {**second, **own} == {**first, **own}
    assert not list(sweep_folder(finished).rglob("*.keras"))


ONE_VALUE = [
    *SMALL, "model=small_cnn", "model.conv_blocks=[{channels: 4}]", "model.fc_layers=[]",
    "train.epochs=1", "sweep.name=mine",
    "+space.train.optimizer.learning_rate={float: [1e-2, 5e-2], log: true}",
]  # fmt: skip


def test_a_winner_by_confirmation_is_kept_though_another_scored_better(tmp_path: Path) -> None:
    confirmed = [*ONE_VALUE, "sweep.confirm={top: 3, seeds: 2}", "sweep.max_trials=3"]
    (done,) = calls(tmp_path, [*confirmed, "tracking.keep_checkpoints=1", "train.seed=2"])
    assert done.exit_code == 0, done
    assert "winner: trial 2" in done.out, "the search's own scores have another leader"
    assert trials_with_model(tmp_path) == {"2"}
    assert best_model(tmp_path) == (True, "")


def test_a_confirmed_winner_is_kept_when_a_larger_budget_finds_a_better_score(
    tmp_path: Path,
) -> None:
    confirmed = [*ONE_VALUE, "sweep.confirm={top: 1, seeds: 2}", "tracking=off", "train.seed=5"]
    done = calls(tmp_path, *([*confirmed, f"sweep.max_trials={trials}"] for trials in (2, 5)))
    assert [call.exit_code for call in done] == [0, 0], done
    assert best_model(tmp_path) == (True, "")


@pytest.mark.parametrize("later", ["tracking.experiment=other", "tracking=off"])
def test_tracking_that_changed_since_loses_no_model(later: str, finished: Path) -> None:
    (again,) = calls(finished, [*SWEEP, "sweep.max_trials=3", later])
    assert again.exit_code == 0, again
    assert best_model(finished) == (True, "")
