"""Several rungs at a time: every worker has work, and a resume stands where the sweep stood."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from search_fakes import LateExecutor, config_with, journal_of, run, told

from fmnist_sweep.config.schema import Config
from fmnist_sweep.executors.protocol import OnEpoch, Rung, RungOutcome
from fmnist_sweep.journal.records import Asked

FEW: dict[str, Any] = {"train": {"batch_size": {"choice": [16, 32, 48, 64]}}}
MORE: dict[str, Any] = {
    "train": {
        "batch_size": {"int": [8, 64]},
        "label_smoothing": {"float": [0.0, 0.5]},
    }
}
TUNERS = ("random", "grid", "bayesian", "hyperband")


def config_of(tuner: str, space: dict[str, Any]) -> Config:
    values: dict[str, Any] = {"sweep__max_trials": 9}
    if tuner == "bayesian":
        values["tuner__initial_points"] = 6
    if tuner == "hyperband":
        values |= {"train__epochs": 9, "tuner__iterations": 2, "sweep__max_trials": 14}
    return config_with(space, tuner=tuner, **values)


@pytest.mark.parametrize("tuner", TUNERS)
@pytest.mark.parametrize("space", [FEW, MORE], ids=["few-points", "more-points"])
@pytest.mark.parametrize("workers", [2, 3])
def test_whatever_was_running_a_resume_goes_on(
    tuner: str, space: dict[str, Any], workers: int, tmp_path: Path
) -> None:
    config = config_of(tuner, space)
    whole = run(config, tmp_path / "whole", LateExecutor(workers=workers))
    records = whole.journal.records
    asked = [number for number, record in enumerate(records) if isinstance(record, Asked)]
    # A cut before and after each ask: those between come to the same oracle.
    cuts = sorted({cut for number in asked for cut in (number, number + 1)} | {len(records)})
    if tuner == "bayesian":
        cuts = cuts[::8]  # each of its own asks takes a second
    if tuner == "hyperband":
        cuts = cuts[workers % 2 :: 2]  # twice as many as others have
    for cut in cuts:
        folder = tmp_path / f"cut-{cut}"
        journal_of(records[:cut], folder)
        again = run(config, folder, LateExecutor(workers=workers))
        assert told(again.journal.records[:cut]) == told(records[:cut])
        assert not again.state.open_asks
        assert len(again.state.trials) == len(whole.state.trials)


@pytest.mark.parametrize("tuner", ["random", "grid", "hyperband"])
def test_every_worker_has_work(tuner: str, tmp_path: Path) -> None:
    executor = LateExecutor(workers=4)
    run(config_of(tuner, MORE), tmp_path, executor)
    assert executor.at_once[:3] == [4, 4, 4]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_grid_comes_to_every_combination_once(workers: int, tmp_path: Path) -> None:
    space = {
        "train": {
            "batch_size": {"choice": [16, 32, 48]},
            "label_smoothing": {"choice": [0.0, 0.1]},
            "optimizer": {"nesterov": {"choice": [True, False]}},
        }
    }
    end = run(config_with(space, tuner="grid"), tmp_path, LateExecutor(workers=workers))
    points = {repr(sorted(trial.overrides.items())) for trial in end.state.trials.values()}
    assert len(points) == len(end.state.trials) == 12


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_epochs_that_early_stopping_leaves_are_used(workers: int, tmp_path: Path) -> None:
    """A budget is used up when the rungs that run have ended, not while they might take it all."""
    config = config_with(MORE, train__epochs=6, sweep__max_epochs_total=12)
    end = run(config, tmp_path, EarlyExecutor(workers=workers))
    assert len(end.state.trials) == 4, "from 0, 2, 4 and 6 epochs 6 more are affordable"
    assert end.state.epochs_total == 8
    assert end.reason == "sweep.max_epochs_total=12 is used up: 14 are needed to go on"


@pytest.mark.parametrize("tuner", TUNERS)
@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize(
    "budget",
    [{"sweep__max_trials": 7}, {"sweep__max_epochs_total": 31}],
    ids=["trials", "epochs"],
)
def test_a_sweep_that_has_ended_has_nothing_left_to_do(
    tuner: str, workers: int, budget: dict[str, Any], tmp_path: Path
) -> None:
    values: dict[str, Any] = {"train__epochs": 9, "sweep__max_trials": None, **budget}
    config = config_with(MORE, tuner=tuner, **values)
    for executor in (LateExecutor, EarlyExecutor):
        folder = tmp_path / executor.__name__
        whole = run(config, folder, executor(workers=workers))
        asks = len(whole.state.asks)
        assert whole.state.epochs_total <= budget.get("sweep__max_epochs_total", 10**9)
        for later in (1, workers):
            again = run(config, folder, executor(workers=later))
            assert again.reason == whole.reason
            assert len(again.state.asks) == asks


class EarlyExecutor(LateExecutor):
    """One whose trainings stop early, after their second epoch."""

    def submit(self, rung: Rung, on_epoch: OnEpoch) -> Future[RungOutcome]:
        return super().submit(replace(rung, last_epoch=min(2, rung.last_epoch)), on_epoch)
