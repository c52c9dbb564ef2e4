"""`run_sweep` from Python: an executor of one's own, behind `submit` and `wait`."""

from __future__ import annotations

from pathlib import Path

import pytest
from search_fakes import InstantExecutor

from fmnist_sweep import load_sweep, run_sweep
from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.environment import cores

SWEEP = (
    "data=synthetic", "data.train_size=600", "data.test_size=100", "split=wrapper",
    "split.test=100", "model=small_cnn", f"train.threads={cores()}", "train.epochs=2",
    "sweep.max_trials=3", "+space.train.optimizer.learning_rate={float: [1e-3, 1e-1], log: true}",
)  # fmt: skip


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
    again = InstantExecutor()
    run_sweep(compose_config([*SWEEP, f"tracking={tracking}"]), executor=again)
    assert again.rungs == []
