"""How much of a sweep's budget is spent, as a display says it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_fakes import InstantExecutor, LateExecutor, config_with, run

from fmnist_sweep.config.schema import Config
from fmnist_sweep.journal.records import EpochEnded, Record
from fmnist_sweep.journal.spending import RunningEpoch, spending
from fmnist_sweep.journal.state import SweepState

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
        ({"max_trials": 4, "max_minutes": 0.1}, "0.1 of 0.1 min, 2 trials"),
        ({}, "4 trials, 16 epochs"),
    ):
        config = config_of(**budgets)
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        end = run(config, folder, InstantExecutor(seconds=4.0))
        assert spending(config, end.state, {}).words == words
        assert (spending(config, end.state, {}).share is None) == (not budgets)


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
