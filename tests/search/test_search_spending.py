"""How much of a sweep's budget is spent, as a display says it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from search_fakes import InstantExecutor, LateExecutor, config_with, run

from fmnist_sweep import run_sweep
from fmnist_sweep.cli.console import SweepProgress
from fmnist_sweep.config.schema import Config
from fmnist_sweep.journal.records import EpochEnded, Record
from fmnist_sweep.journal.spending import RunningEpoch, spending
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.sweep.opening import Watch

SPACE = {"train": {"batch_size": {"choice": [16, 32, 64, 128]}}}


def config_of(**budgets: float) -> Config:
    values = {f"sweep__{name}": value for name, value in budgets.items()}
    return config_with(SPACE, train__epochs=4, tuner="grid", **values)


@pytest.mark.parametrize("workers", [1, 2])
def test_it_grows_from_nothing_to_all(tmp_path: Path, workers: int) -> None:
    config, shares = config_of(max_trials=4), []

    def observe(record: Record, state: SweepState) -> None:
        shares.append(spending(config, state, {}).share)

    end = run(config, tmp_path, LateExecutor(workers=workers), observer=observe)
    assert shares[0] == 0.0
    assert shares == sorted(shares)
    # Each epoch of the 16 is seen.
    assert {round(16 * share) for share in shares} == set(range(17))
    told = spending(config, end.state, {})
    assert (told.words, told.share, told.seconds_left) == ("4 of 4 trials", 1.0, 0.0)


def test_the_budget_that_ends_the_sweep_is_named(tmp_path: Path) -> None:
    for budgets, words in (
        ({"max_trials": 3, "max_epochs_total": 100, "max_minutes": 100}, "3 of 3 trials"),
        ({"max_trials": 4, "max_epochs_total": 9}, "8 of 9 epochs, 2 trials"),
        ({"max_trials": 4, "max_minutes": 0.1}, "0.1 of 0.1 min, 1 trial"),
        ({}, "4 trials, 16 epochs"),
    ):
        config = config_of(**budgets)
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        end = run(config, folder, InstantExecutor(seconds=4.0))
        assert spending(config, end.state, {}).words == words
        assert (spending(config, end.state, {}).share is None) == (not budgets)


def test_an_executor_s_workers_share_the_minutes_whatever_the_config_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wide = {"train": {"batch_size": {"choice": list(range(10, 50))}}}
    config = config_with(
        wide, train__epochs=4, sweep__max_minutes=1.0, sweep__name="mine", report=False
    )
    assert config.executor.workers == 1
    file = io.StringIO()
    lines = SweepProgress(config, Console(file=file, width=200))
    shown: list[tuple[str, float | None]] = []

    def observe(record: Record, state: SweepState) -> None:
        lines(record, state)
        told = spending(config, state, {})
        shown.append((told.words, told.share))

    executor = LateExecutor(seconds=30.0, workers=3)
    sweep = run_sweep(config, executor=executor, watch=Watch(on_record=observe))

    assert sweep.state.ended is not None
    assert sweep.state.ended.reason == "sweep.max_minutes=1 is used up"
    assert sweep.state.minutes() == sweep.state.rung_seconds / 60 / 3 >= 1.0
    # Three at a time: 30 seconds of one of them are 10 of each.
    assert "0.2 of 1 min, 1 trial" in [words for words, _ in shown]
    assert [share for _, share in shown if share == 1.0]
    assert "0.2 of 1 min" in file.getvalue()
    assert "trial 2: epoch  1" in file.getvalue()


@pytest.mark.slow
@given(part=st.floats(0.01, 0.99), seconds=st.floats(1.0, 1e4), epochs=st.integers(0, 3))
def test_what_is_left_follows_from_what_it_took(
    tmp_path_factory: pytest.TempPathFactory, part: float, seconds: float, epochs: int
) -> None:
    config = config_of(max_epochs_total=16)

    class Leaves(Exception):
        pass

    state = SweepState(config.sweep.objective)

    def observe(record: Record, now: SweepState) -> None:
        nonlocal state
        state = now
        if (
            len(now.trials)
            and now.epochs_total == epochs
            and (epochs == 0 or isinstance(record, EpochEnded))
        ):
            raise Leaves

    with pytest.raises(Leaves):
        run(config, tmp_path_factory.mktemp("sweep"), observer=observe)
    told = spending(config, state, {0: RunningEpoch(part, seconds)})
    # The fake's epochs took a second each.
    assert told.share == pytest.approx((epochs + part) / 16)
    per_epoch = (epochs + seconds) / (epochs + part)
    if epochs + seconds > 1.0:
        assert told.seconds_left == pytest.approx(per_epoch * (16 - epochs - part))
