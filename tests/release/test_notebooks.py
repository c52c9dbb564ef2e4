"""What a notebook has done before it calls `run_sweep`, and what it does when all trials failed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from program import QUICK_SPACE, SMALL, environment

from fmnist_sweep.journal.failed_attempt import attempts
from fmnist_sweep.journal.file import JOURNAL_FILE, Journal

# The second point comes from the surrogate, which scikit-learn fits.
SWEEP = [
    *SMALL, *QUICK_SPACE, "train.epochs=1", "tuner=bayesian", "tuner.initial_points=1",
    "sweep.max_trials=2", "sweep.name=mine",
]  # fmt: skip
FAILING = [*SMALL, *QUICK_SPACE, "sweep.name=fails", "sweep.max_trials=1", "tuner=random"]

_SCRIPT = """
import contextlib, io, json, os, sys, threading
import mlflow

start, sweep, failing = json.load(sys.stdin)
mlflow.set_tracking_uri(f"sqlite:///{start}/user.db")
del os.environ["MLFLOW_TRACKING_URI"]  # which that has set: it would be ours too
os.environ["MLFLOW_EXPERIMENT_NAME"] = "of the user"
user = mlflow.MlflowClient()

def runs():
    ids = [experiment.experiment_id for experiment in user.search_experiments()]
    return [
        [run.info.run_name, run.info.status, run.data.params, run.data.metrics,
         {key: tag for key, tag in run.data.tags.items() if not key.startswith("mlflow.")},
         len(user.list_artifacts(run.info.run_id))]
        for run in user.search_runs(ids)
    ]

def digests(swept):
    return [[t.status, t.reason, t.result and t.result.weights_sha256]
            for t in swept.state.trials.values()]

from fmnist_sweep import compose_config, run_sweep
from fmnist_sweep.cli.app import main
from fmnist_sweep.training.autologging import autologging_off
from sklearn.linear_model import LinearRegression
import keras, numpy as np

def in_folder(name):
    os.chdir(f"{start}/{name}")

told = {}
in_folder("plain")
told["plain"] = digests(run_sweep(compose_config(sweep)))

mlflow.autolog(log_models=False, silent=True)
mlflow.keras.autolog(log_models=False, silent=True)
run = mlflow.start_run(run_name="open")
os.environ["MLFLOW_RUN_ID"] = run.info.run_id
before = runs()
in_folder("autologged")
told["autologged"] = digests(run_sweep(compose_config(sweep)))
told["untouched"] = runs() == before
told["open"] = mlflow.active_run().info.run_id == run.info.run_id
mlflow.end_run()
os.environ.pop("MLFLOW_RUN_ID", None)

fit = lambda: LinearRegression().fit(np.zeros((8, 3)), np.zeros(8))
counts = [len(runs())]
for block in (contextlib.nullcontext(), autologging_off()):
    with block:
        fit()
    counts.append(len(runs()))
with autologging_off():
    thread = threading.Thread(target=fit)
    thread.start()
    thread.join()
counts.append(len(runs()))
told["fits"] = [after - before for before, after in zip(counts, counts[1:])]

def build(config, shape, classes):
    if os.environ["BROKEN"] == "yes":
        raise ValueError("out of order")
    return keras.Sequential([
        keras.Input(shape), keras.layers.Flatten(),
        keras.layers.Dense(classes, activation="softmax"),
    ])

def statuses():
    client = mlflow.MlflowClient(f"sqlite:///{os.getcwd()}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("fmnist-sweep")
    found = client.search_runs([experiment.experiment_id], order_by=["start_time ASC"])
    return [[run.info.run_name, run.info.status, run.data.tags.get("status_reason")]
            for run in found]

from fmnist_sweep.sweep import run as running
from fmnist_sweep.training import rung

# A builder that fails at first, and in a trial, is meant here: one that always fails is refused.
running.check_builder = lambda plan, build_model: None
rung.check_network = lambda *given: False
in_folder("failing")
told["attempts"] = []
for is_broken in ("yes", "yes", "no", "no"):
    os.environ["BROKEN"] = is_broken  # an edit of a global would be another sweep
    swept = run_sweep(compose_config(failing), build)
    told["attempts"].append([digests(swept), statuses(), swept.state.begun.at])

in_folder("program")
told["program"] = []
for _ in range(2):
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        code = main([*failing, "space.train.optimizer.learning_rate={float: [1e37, 1e38]}"])
    told["program"].append([code, err.getvalue().splitlines()[-1]])
with contextlib.redirect_stdout(io.StringIO()) as out:
    main(["clean", "fails"])
told["program"].append(out.getvalue().splitlines()[0])
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, blank_store: Path) -> Path:
    place = tmp_path_factory.mktemp("notebook")
    shutil.copy(blank_store, place / "user.db")
    for name in ("plain", "autologged", "failing", "program"):
        (place / name / "mlruns").mkdir(parents=True)
        shutil.copy(blank_store, place / name / "mlruns")
    return place


@pytest.fixture(scope="module")
def told(place: Path) -> Any:
    """One process for all of it: TensorFlow takes seconds to import."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        cwd=place, env=environment(), input=json.dumps([str(place), SWEEP, FAILING]),
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "out of order; it starts over, and the journal so far is kept in" in done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_autologging_changes_no_sweep_and_no_sweep_changes_the_users_store(told: Any) -> None:
    assert told["autologged"] == told["plain"]
    assert [status for status, _, _ in told["plain"]] == ["completed"] * 2
    assert (told["untouched"], told["open"]) == (True, True)


def test_other_fits_are_autologged_as_before(told: Any) -> None:
    """After a sweep; not inside the block; in another thread meanwhile."""
    assert told["fits"] == [1, 0, 1]


def test_a_sweep_in_which_no_trial_completed_is_tried_again(told: Any, place: Path) -> None:
    reason = "ValueError: out of order"
    failed = [
        ["fails", "FAILED", f"no trial completed; trial 0: {reason}"],
        ["fails-0", "FAILED", reason],
    ]
    finished = [["fails", "FINISHED", None], ["fails-0", "FINISHED", None]]
    first, second, third, fourth = told["attempts"]
    assert first[:2] == [[["failed", reason, None]], failed]
    assert second[:2] == [[["failed", reason, None]], [*failed, *failed]]
    assert third[0][0][:2] == ["completed", None]
    assert third[1] == [*failed, *failed, *finished]
    assert fourth == third, "what has a completed trial is finished"
    folder = place / "failing" / "mlruns" / "sweeps" / "fails"
    kept = [Journal(path).records for path in attempts(folder)]
    assert [records[-1].kind for records in kept] == ["ended", "ended"]
    assert [records[0].at for records in kept] == [first[2], second[2]]  # type: ignore[union-attr]
    assert Journal(folder / JOURNAL_FILE).records[0].at == third[2]  # type: ignore[union-attr]


def test_the_program_ends_with_an_error_each_time(told: Any) -> None:
    once, again, cleaned = told["program"]
    assert once == again == [1, "error: sweep fails: no trial completed"]
    assert cleaned.startswith("4 runs in MLflow, "), "of both attempts"
