"""The exported winner: a config that composes, and that is never overwritten by another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from search_fakes import ENVIRONMENT

from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.config.schema import Config
from fmnist_sweep.data import load_dataset, make_split
from fmnist_sweep.journal.records import SCHEMA, Asked, Begun, EpochEnded, RunsIn, Told, TrialStatus
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.runs.best_file import best_config, write_best_file
from fmnist_sweep.training.results import RunResult

RESULT = RunResult(
    last_epoch=3,
    best_epoch=2,
    best_metrics={"val_accuracy": 0.9, "val_loss": 0.3},
    test_accuracy=0.89,
    test_loss=0.31,
    train_seconds=12.0,
    parameters=1234,
    stopped_early=False,
    weights_sha256="a" * 64,
    best_weights_sha256="b" * 64,
)


def finished(config: Config, overrides: dict[str, object], last_epoch: int) -> SweepState:
    """A sweep of one trial."""
    state = SweepState(config.sweep.objective)
    identity = {"data": "d" * 64, "split": "e" * 64}
    state.apply(Begun(SCHEMA, "mine-123456", identity, "python -m fmnist_sweep", at=0.0))
    state.apply(RunsIn(ENVIRONMENT, at=0.5))
    state.apply(Asked(0, 0, 0, 0, last_epoch, "0000", {}, overrides, at=1.0))
    for epoch in range(1, last_epoch + 1):
        state.apply(EpochEnded(0, epoch, {"loss": 0.1, "epoch_seconds": 1.0}, at=1.5))
    result = replace(RESULT, last_epoch=last_epoch)
    state.apply(Told(0, 0, TrialStatus.COMPLETED, 0.9, result, None, 5.0, at=2.0))
    return state


@pytest.fixture
def config() -> Config:
    return compose_config(["data=synthetic", "train.threads=2", "train.epochs=9"])


def export(folder: Path, config: Config, rate: float, last_epoch: int = 9) -> Path:
    state = finished(config, {"train.optimizer.learning_rate": rate}, last_epoch)
    assert state.best is not None
    split = make_split(config.split, load_dataset(config.data))
    best = folder / "experiments" / "best"
    return write_best_file(best, "mine-123456", config, state, state.best, split)


def test_it_composes_to_the_winner(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = export(tmp_path, config, rate=1.25e-05)
    monkeypatch.chdir(tmp_path)
    composed = compose_config([f"+best={path.stem}"])
    state = finished(config, {"train.optimizer.learning_rate": 1.25e-05}, 9)
    assert state.best is not None
    assert composed.run == best_config(config, state.best)
    assert composed.train.optimizer.learning_rate == 1.25e-05


def test_a_trial_that_ended_earlier_stops_there_on_the_same_schedule(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = export(tmp_path, config, rate=0.01, last_epoch=3)
    monkeypatch.chdir(tmp_path)
    train = compose_config([f"+best={path.stem}"]).train
    assert (train.epochs, train.stop_epoch) == (9, 3)


def test_the_same_winner_leaves_the_file_as_it_is(config: Config, tmp_path: Path) -> None:
    path = export(tmp_path, config, rate=0.01)
    path.write_text("# a remark of the user's\n" + path.read_text())
    before = path.read_text()
    assert export(tmp_path, config, rate=0.01) == path
    assert path.read_text() == before


def test_other_winners_get_files_of_their_own(config: Config, tmp_path: Path) -> None:
    paths = [export(tmp_path, config, rate) for rate in (0.01, 0.02, 0.03, 0.02, 0.01)]
    assert len(set(paths)) == 3
    assert paths[:2] == [paths[4], paths[3]]
    for path in paths:
        assert f"+best={path.stem}\n" in path.read_text()


def test_the_header_says_what_it_is(config: Config, tmp_path: Path) -> None:
    text = export(tmp_path, config, rate=0.01).read_text()
    for told in ("mine-123456", "Hardware:", "Versions:", "val_accuracy 0.9000", "expected:"):
        assert told in text
