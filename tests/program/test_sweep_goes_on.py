"""Sweeps that were stopped, killed or given a larger budget end as if nothing had been."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from program import (
    QUICK_SPACE,
    SMALL,
    Store,
    assert_same_outcome,
    calls_in,
    program,
    started,
    sweep_folder,
    wait_for_epochs,
)

TUNERS = {
    "random": [], "tpe": ["tuner.initial_points=1", "scheduler=asha"], "hyperband": [],
}  # fmt: skip
"""The contract test of the search has all of them, and `make torture` kills each."""


@pytest.fixture(scope="module")
def raised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sweeps of each tuner, whole ones and ones whose budget was raised in another process."""
    place = tmp_path_factory.mktemp("budgets")

    def sweep(kind: str, tuner: str, trials: int) -> tuple[Path, list[str]]:
        folder = place / kind / tuner
        folder.mkdir(parents=True, exist_ok=True)
        budget = f"sweep.max_trials={trials}"
        return folder, [*SMALL, *QUICK_SPACE, f"tuner={tuner}", *TUNERS[tuner], budget]

    begun = [sweep("raised", tuner, 1) for tuner in TUNERS]
    for sweeps in (begun, [sweep(k, t, 3) for k in ("raised", "whole") for t in TUNERS]):
        for done in calls_in(*sweeps):
            assert done.exit_code == 0, done
    return place


@pytest.mark.parametrize("tuner", TUNERS)
def test_a_raised_budget_ends_where_the_larger_one_would_have(tuner: str, raised: Path) -> None:
    assert_same_outcome(raised / "whole" / tuner, raised / "raised" / tuner)
    left = {path.name for path in sweep_folder(raised / "raised" / tuner).iterdir()}
    assert left == {"best.yaml", "classes.csv", "config.json", "journal.jsonl", "lock"}, (
        "and no checkpoint"
    )


def test_a_sweep_that_was_interrupted_goes_on_as_if_it_never_was(tmp_path: Path) -> None:
    """The command itself; `test_torture.py` has the other signals, moments and tuners."""
    arguments = [*SMALL, *QUICK_SPACE, "tuner=hyperband", "train.epochs=3", "sweep.max_trials=4"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for folder in (whole, stopped):
        folder.mkdir()
    assert program(whole, *arguments).returncode == 0

    with started(stopped, *arguments) as running:
        wait_for_epochs(stopped, 3)
        running.send_signal(signal.SIGTERM)
        printed, errors = running.communicate(timeout=300)
    assert running.returncode == 128 + signal.SIGTERM
    assert "To resume: python -m fmnist_sweep" in printed + errors
    statuses = {run.info.status for run in Store(stopped).runs}
    assert "KILLED" in statuses
    assert "RUNNING" not in statuses
    assert program(stopped, *arguments).returncode == 0
    assert_same_outcome(whole, stopped)
    assert {run.info.status for run in Store(stopped).runs} == {"FINISHED"}
