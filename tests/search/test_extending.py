"""The code in docs/extending.md runs, as a user would run it: from outside the package."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from program import REPOSITORY
from search_fakes import InstantExecutor, config_with, run, train_at_once

from fmnist_sweep.config import metrics
from fmnist_sweep.executors.protocol import Rung, RungOutcome
from fmnist_sweep.schedulers.opening import OwnSearch

SPACE = {"train": {"optimizer": {"learning_rate": {"float": [1e-4, 1e-1], "log": True}}}}


@pytest.fixture(scope="module")
def defined() -> Iterator[dict[str, Any]]:
    """What the page's blocks define; the metric that they register is removed again."""
    text = (REPOSITORY / "docs" / "extending.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "extending"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "_METRICS", dict(metrics._METRICS))
        for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
            exec(compile(block, "docs/extending.md", "exec"), names)
        yield names


def test_a_tuner_of_one_s_own(defined: dict[str, Any], tmp_path: Path) -> None:
    config = config_with(SPACE, sweep__max_trials=6)
    end = run(config, tmp_path, own=OwnSearch(tuner=defined["Shuffled"]))
    assert len(end.state.ranking()) == 6
    again = run(config, tmp_path, own=OwnSearch(tuner=defined["Shuffled"]))
    assert again.executor.rungs == []


def test_a_scheduler_of_one_s_own(defined: dict[str, Any], tmp_path: Path) -> None:
    config = config_with(SPACE, sweep__max_trials=12, train__epochs=4)
    end = run(config, tmp_path, own=OwnSearch(scheduler=defined["Hopeless"]))
    for trial in end.state.ranking():
        assert trial.result is not None
        is_hopeless = trial.history[0].metrics["val_accuracy"] < 0.3
        assert trial.result.last_epoch == (1 if is_hopeless else 4)
    assert {trial.result.last_epoch for trial in end.state.ranking() if trial.result} == {1, 4}


def test_an_executor_of_one_s_own(defined: dict[str, Any], tmp_path: Path) -> None:
    def train(rung: Rung, epochs: list[Any]) -> RungOutcome:
        records, result = train_at_once(rung.config, rung.last_epoch)
        epochs += records
        return RungOutcome(result, None, 1.0)

    config = config_with(SPACE, sweep__max_trials=6, train__epochs=2)
    end = run(config, tmp_path / "elsewhere", defined["Elsewhere"](train))
    here = run(config, tmp_path / "here", InstantExecutor())
    assert [trial.score for trial in end.state.ranking()] == [
        trial.score for trial in here.state.ranking()
    ]
