"""`run_sweep` from Python: an executor of one's own, behind `submit` and `wait`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from search_fakes import InstantExecutor, journal_of

from fmnist_sweep import load_sweep, run_sweep
from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.journal.file import JOURNAL_FILE, Journal
from fmnist_sweep.journal.records import Begun
from fmnist_sweep.report.source import source_in
from fmnist_sweep.runtime import cores
from fmnist_sweep.sweep.results import CONFIG_FILE, Sweep

SWEEP = (
    "data=synthetic", "data.train_size=600", "data.test_size=100", "split=wrapper",
    "split.test=100", "model=small_cnn", f"train.threads={cores()}", "train.epochs=2",
    "sweep.max_trials=3", "+space.train.optimizer.learning_rate={float: [1e-3, 1e-1], log: true}",
)  # fmt: skip


def refuse_one_that_maximised_a_loss(sweep: Sweep) -> None:
    """An earlier version took such an objective; its config and its journal have it."""
    wrong = {"metric": "val_loss", "direction": "max"}
    path = sweep.folder / CONFIG_FILE
    config = json.loads(path.read_text())
    config["sweep"]["objective"] = wrong
    path.write_text(json.dumps(config))
    begun, *rest = Journal(sweep.folder / JOURNAL_FILE).records
    assert isinstance(begun, Begun)
    old = replace(begun, identity={**begun.identity, "objective": wrong})
    journal_of([old, *rest], Path("old"))
    for read in (lambda: load_sweep(sweep.name), lambda: source_in(Path("old"))):
        with pytest.raises(ConfigError, match="direction=max with metric=val_loss: the best val_l"):
            read()


@pytest.mark.parametrize("tracking", ["off", "mlflow"])
def test_an_executor_of_one_s_own_runs_the_rungs(
    tracking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    executor = InstantExecutor()
    sweep = run_sweep(compose_config([*SWEEP, f"tracking={tracking}"]), executor=executor)
    assert [rung.last_epoch for rung in executor.rungs] == [2, 2, 2]
    assert list(load_sweep(sweep.name).leaderboard["trial"]) == list(sweep.leaderboard["trial"])
    assert len(sweep.leaderboard) == 3
    refuse_one_that_maximised_a_loss(sweep)
    again = InstantExecutor()
    run_sweep(compose_config([*SWEEP, f"tracking={tracking}"]), executor=again)
    assert again.rungs == []


def test_a_larger_budget_for_a_space_that_is_used_up_says_why_nothing_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # A grid takes eleven values of that range, which it does not know before it is asked.
    grid = [*SWEEP, "tuner=grid", "tracking=off", "report=false"]

    def ended(most: int) -> tuple[str, int]:
        config = compose_config([*grid, f"sweep.max_trials={most}"])
        sweep = run_sweep(config, executor=InstantExecutor())
        assert len(sweep.state.trials) == 11
        stored = load_sweep(sweep.name).state
        assert sweep.state.ended == stored.ended is not None
        return stored.ended.reason, stored.ends

    assert ended(11) == ("sweep.max_trials=11 is reached", 1)
    assert ended(11) == ("sweep.max_trials=11 is reached", 1)
    assert ended(20) == ("tuner grid has nothing more to propose", 2)
    assert ended(20) == ("tuner grid has nothing more to propose", 2)
