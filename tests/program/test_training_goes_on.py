"""A single training that was killed or stopped ends, in one run, as if nothing had been."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
from forked import run_forked
from mlflow.entities import Run
from program import (
    EPOCH_METRICS,
    LAST_METRICS,
    PROGRAM,
    SMALL,
    Store,
    artifact,
    calls,
    environment,
)

from fmnist_sweep.journal.lock import held

pytestmark = pytest.mark.slow

EPOCHS = 4
TRAINING = [
    *SMALL, "model=small_cnn", "model.conv_blocks=[{channels: 4}]", "model.fc_layers=[]",
    f"train.epochs={EPOCHS}", "train.augment.shift=1", "tracking.every_steps=5",
]  # fmt: skip
_KILLS = """
import os
from fmnist_sweep.journal.file import Journal
append = Journal.append

def killing(self, record):
    {before}
    append(self, record)
    {after}

Journal.append = killing
"""
_ELSEWHERE = "import os\nos.environ['ONEDNN_DEFAULT_FPMATH_MODE'] = 'STRICT'\n"
_AWAY = """
from fmnist_sweep.tracking import outbox
from fmnist_sweep.tracking.mlflow.tracker import MlflowTracker
outbox._PATIENCE_AT_THE_END = 1.0

def away(*_, **__):
    raise ConnectionError("nobody answers")

MlflowTracker.file = away
"""


def killed_before(kind: str, number: int = signal.SIGKILL) -> str:
    return _KILLS.format(before=_signal(kind, number), after="")


def killed_after(kind: str, number: int = signal.SIGKILL) -> str:
    return _KILLS.format(before="", after=_signal(kind, number))


def _signal(kind: str, number: int) -> str:
    """Python that sends a signal at a record: `told`, or the epoch of that number."""
    here = f"record.kind == {kind!r}"
    if kind.isdecimal():
        here = f"record.kind == 'epoch' and record.epoch == {kind}"
    return f"{here} and os.kill(os.getpid(), {int(number)})"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, blank_store: Path) -> Path:
    """The training with nothing going wrong, exported as a winner and as a baseline."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "mlruns").mkdir()
    shutil.copy(blank_store, folder / "mlruns")
    done, exported = calls(folder, TRAINING, ["export", "synthetic-train", "mine"])
    assert (done.exit_code, exported.exit_code) == (0, 0), (done, exported)
    experiments = folder / "experiments"
    shutil.copytree(experiments / "best", experiments / "baseline")
    return folder


@pytest.fixture
def place(whole: Path, root: Path) -> Path:
    shutil.copytree(whole / "experiments", root / "experiments")
    return root


def killed(folder: Path, before: str, *arguments: str) -> tuple[int, str]:
    done = run_forked(before + PROGRAM, folder, arguments, environment())
    return done.returncode, done.stdout


def runs(folder: Path) -> list[Run]:
    return Store(folder, "fmnist-train").runs


def journaled(folder: Path) -> list[int]:
    """The epochs that the only unfinished training's journal has."""
    (journal,) = folder.glob("mlruns/trainings/*/journal.jsonl")
    records = map(json.loads, journal.read_text().splitlines())
    return [record["epoch"] for record in records if record["kind"] == "epoch"]


def assert_as_whole(run: Run, folder: Path, whole: Path) -> None:
    """The same weights, and each metric at each step once, with the same value."""
    store, other = Store(folder, "fmnist-train"), Store(whole, "fmnist-train")
    (straight,) = other.runs
    assert run.info.status == "FINISHED"
    for tag in ("weights.sha256", "best_weights.sha256"):
        assert run.data.tags[tag] == straight.data.tags[tag]
    assert run.data.params == straight.data.params
    for metric in (EPOCH_METRICS | LAST_METRICS | {"step_loss"}) - {"epoch_seconds"}:
        if metric != "train_seconds":
            assert store.values(run, metric) == other.values(straight, metric), metric
    assert store.steps(run, "epoch_seconds") == list(range(1, EPOCHS + 1))
    assert artifact(folder, run, "checkpoints/best.keras").exists()
    assert not list(folder.glob("mlruns/trainings/*")), "a finished one leaves nothing"


def test_a_training_that_is_killed_twice_is_one_run_with_the_same_bits(
    place: Path, whole: Path
) -> None:
    for moment, epochs in (
        (killed_before("2"), [1]),  # its checkpoint is ahead of the journal
        (killed_after("told"), [1, 2, 3, 4]),  # its journal is ahead of MLflow
    ):
        assert killed(place, moment, "+best=mine")[0] == -signal.SIGKILL
        assert journaled(place) == epochs
    (sent,) = calls(place, ["+best=mine"])
    assert sent.exit_code == 0, sent
    assert "is trained already" in sent.out
    assert "epoch  1" not in sent.out
    assert "verdict: exact (tested: the last bit" in sent.out
    (run,) = runs(place)
    assert run.data.tags["reproduction"] == "exact"
    assert run.data.tags["rerun_of"] == "best/mine"
    assert_as_whole(run, place, whole)


def test_ctrl_c_says_how_to_go_on_and_another_config_is_another_training(
    place: Path, whole: Path
) -> None:
    interrupted = _ELSEWHERE + killed_after("2", signal.SIGINT)
    code, printed = killed(place, interrupted, "+baseline=mine", "train.threads=1")
    assert code == 130
    assert "To resume: python -m fmnist_sweep +baseline=mine train.threads=1\n" in printed
    (run,) = runs(place)
    assert run.info.status == "KILLED"
    (journal,) = place.glob("mlruns/trainings/*/journal.jsonl")
    before = journal.read_bytes()

    with held(journal.with_name("lock")):
        refused, other = calls(
            place, ["+baseline=mine"], ["+baseline=mine", "train.seed=5", "train.stop_epoch=1"]
        )
    assert refused.exit_code == 1
    assert refused.err.startswith(f"error: training {journal.parent.name} is already running")
    assert refused.err.count("\n") == 1
    assert other.exit_code == 0, other
    assert journal.read_bytes() == before

    (done,) = calls(place, ["+baseline=mine"])
    assert done.exit_code == 0, done
    assert ": resumes after epoch 2\n" in done.out
    assert "verdict: exact (tested: the last bit; the environment differs" in done.out
    (resumed,) = [one for one in runs(place) if one.info.run_id == run.info.run_id]
    assert_as_whole(resumed, place, whole)
    assert len(runs(place)) == 2
    places = json.loads(artifact(place, resumed, "environment.json").read_text())
    assert [bool(one["numerics"]["settings"]) for one in places] == [True, False]


def test_what_could_not_be_sent_is_sent_by_the_same_command(root: Path, whole: Path) -> None:
    (unsent,) = calls(root, TRAINING, before=_AWAY)
    assert unsent.exit_code == 1
    assert "best epoch" in unsent.out
    assert "nobody answers. The trained model is in " in unsent.err
    (run,) = runs(root)
    assert run.info.status == "FAILED"
    sent, again = calls(root, TRAINING, [*TRAINING, "tracking=off"])
    assert sent.exit_code == 0, sent
    assert "is trained already" in sent.out
    (run,) = runs(root)
    assert_as_whole(run, root, whole)
    assert again.exit_code == 0, again
    assert f"epoch  {EPOCHS}" in again.out, "a finished one is trained again"
