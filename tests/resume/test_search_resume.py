"""A sweep that was killed, or given a larger budget, ends as one that never was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from search_fakes import (
    InstantExecutor,
    Run,
    config_with,
    journal_of,
    prepared,
    run,
    told,
)

from fmnist_sweep.config.schema import Config, RunConfig
from fmnist_sweep.journal.file import JOURNAL_FILE, Journal
from fmnist_sweep.journal.leaderboard import leaderboard
from fmnist_sweep.journal.records import Asked, FoundInfeasible, Told, TrialStatus
from fmnist_sweep.space.reading import read_space
from fmnist_sweep.tuners.feasibility import feasibility

TUNERS = ("random", "grid", "bayesian", "hyperband")
SPACE: dict[str, Any] = {
    "train": {
        "batch_size": {"choice": [32, 64]},
        "optimizer": {
            "name": {"choice": ["adam", "sgd"]},
            "momentum": {
                "float": [0.0, 0.9],
                "step": 0.3,
                "when": {"train.optimizer.name": ["sgd"]},
            },
        },
    },
    "model": {"conv_blocks": {"count": {"int": [1, 2]}, "each": {"channels": {"choice": [8, 64]}}}},
}
# The surrogate's asks take time: one parameter, of which a third is infeasible.
LINE: dict[str, Any] = {"model": {"conv_blocks": {"0": {"channels": {"int": [8, 96]}}}}}


def config_of(tuner: str, **values: Any) -> Config:
    """A sweep with infeasible points in it, the base config tried first."""
    if tuner == "bayesian":
        values = {"tuner__initial_points": 4, "sweep__max_trials": 9, **values}
    else:
        values = {"sweep__max_trials": 14, **values}
    return config_with(
        LINE if tuner == "bayesian" else SPACE,
        tuner=tuner,
        sweep__start_with=[{}, {"train.batch_size": 16}],
        sweep__max_mflops=3.5,
        sweep__max_failure_rate=1.0,
        train__epochs=4 if tuner == "hyperband" else 2,
        **values,
    )


def fails(config: RunConfig) -> bool:
    """Whether a training breaks: about one in four."""
    return config.model.conv_blocks[0].channels % 4 == 3 or config.train.optimizer.momentum == 0.3


def finished(tuner: str, folder: Path, **values: Any) -> Run:
    return run(config_of(tuner, **values), folder, InstantExecutor(fails))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """Each tuner's sweep, run once without an interruption."""
    runs: dict[str, Run] = {}

    def of(tuner: str) -> Run:
        if tuner not in runs:
            runs[tuner] = finished(tuner, tmp_path_factory.mktemp(tuner))
        return runs[tuner]

    return of


@pytest.mark.parametrize("tuner", TUNERS)
def test_the_sweeps_here_have_what_a_resume_must_get_right(
    tuner: str, undisturbed: Callable[[str], Run]
) -> None:
    whole = undisturbed(tuner)
    kinds = [type(record) for record in whole.journal.records]
    assert kinds.count(FoundInfeasible) > 0
    assert whole.state.failed_trials
    assert sum(isinstance(r, Asked) and r.oracle_id is None for r in whole.journal.records) == 2
    assert any(asked.rung for asked in whole.state.asks) == (tuner == "hyperband")


@pytest.mark.parametrize("tuner", TUNERS)
def test_two_sweeps_are_the_same_but_for_the_time(
    tuner: str, undisturbed: Callable[[str], Run], tmp_path: Path
) -> None:
    whole, again = undisturbed(tuner), finished(tuner, tmp_path)
    assert told(again.journal.records) == told(whole.journal.records)


@examples(25)
@given(data=st.data())
@pytest.mark.parametrize("tuner", TUNERS)
def test_cut_after_any_record_the_journal_grows_to_the_same(
    tuner: str,
    data: st.DataObject,
    undisturbed: Callable[[str], Run],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    whole = undisturbed(tuner)
    records = whole.journal.records
    # The surrogate is slow to ask again, so that its sweep is cut near its end only.
    first = len(records) - 4 if tuner == "bayesian" else 0
    cut = data.draw(st.integers(first, len(records)), label="records kept")
    folder = tmp_path_factory.mktemp("cut")
    journal_of(records[:cut], folder)
    resumed = finished(tuner, folder)
    assert told(resumed.journal.records) == told(records)
    assert told(Journal(folder / JOURNAL_FILE).records) == told(records)
    assert resumed.reason == whole.reason
    assert leaderboard(resumed.state).equals(leaderboard(whole.state))


@pytest.mark.parametrize("tuner", ["random", "grid", "hyperband"])
def test_killed_again_and_again_it_ends_the_same(
    tuner: str, undisturbed: Callable[[str], Run], tmp_path: Path
) -> None:
    class Killed(BaseException):
        """Nothing in the sweep may catch it."""

    whole = undisturbed(tuner)
    kills = 0
    for _ in range(10 * len(whole.journal.records)):
        seen = 0

        def kill_after_three(record: object, state: object) -> None:
            nonlocal seen
            seen += 1
            if seen == 3:
                raise Killed

        try:
            end = run(config_of(tuner), tmp_path, InstantExecutor(fails), observer=kill_after_three)
        except Killed:
            kills += 1
        else:
            break
    assert kills == (len(whole.journal.records)) // 3
    assert told(end.journal.records) == told(whole.journal.records)


@pytest.mark.parametrize("tuner", TUNERS)
def test_a_finished_sweep_adds_nothing(
    tuner: str, undisturbed: Callable[[str], Run], tmp_path: Path
) -> None:
    whole = undisturbed(tuner)
    journal_of(whole.journal.records, tmp_path)
    again = finished(tuner, tmp_path)
    assert again.journal.records == whole.journal.records
    assert again.executor.rungs == []
    assert again.reason == whole.reason


@pytest.mark.parametrize("tuner", ["random", "grid", "bayesian"])
@pytest.mark.parametrize("budget", ["max_trials", "max_epochs_total"])
def test_a_raised_budget_ends_as_the_larger_one_would_have(
    tuner: str, budget: str, tmp_path: Path
) -> None:
    small, large = (5, 8) if budget == "max_trials" else (9, 15)
    limits = {"sweep__max_trials": None, "sweep__max_epochs_total": None}
    name = f"sweep__{budget}"
    begun = finished(tuner, tmp_path / "raised", **{**limits, name: small})
    assert f"{small} is" in begun.reason
    raised = finished(tuner, tmp_path / "raised", **{**limits, name: large})
    at_once = finished(tuner, tmp_path / "at once", **{**limits, name: large})
    assert told(raised.journal.records) == told(at_once.journal.records)
    assert leaderboard(raised.state).equals(leaderboard(at_once.state))
    assert len(raised.state.trials) > len(begun.state.trials)


def test_a_raised_hyperband_goes_on_with_its_bracket(tmp_path: Path) -> None:
    begun = finished("hyperband", tmp_path, sweep__max_trials=4)
    raised = finished("hyperband", tmp_path)
    assert told(raised.journal.records)[: len(begun.journal.records)] == told(begun.journal.records)
    assert any(asked.rung > 0 for asked in raised.state.asks)


def test_after_a_kill_no_epoch_is_told_twice_and_the_open_rung_is_run_again(
    undisturbed: Callable[[str], Run], tmp_path: Path
) -> None:
    records = undisturbed("hyperband").journal.records
    last = max(i for i, r in enumerate(records) if isinstance(r, Asked) and r.rung > 0)
    journal_of(records[: last + 2], tmp_path)  # the promotion, and one of its two epochs
    resumed = finished("hyperband", tmp_path)
    asked = records[last]
    assert isinstance(asked, Asked)
    assert resumed.executor.rungs[0].last_epoch == asked.last_epoch
    history = [record.epoch for record in resumed.state.trials[asked.trial].history]
    assert history == list(range(1, asked.last_epoch + 1))


def test_a_resume_asks_neither_data_nor_model_again_of_what_it_knows(
    undisturbed: Callable[[str], Run], tmp_path: Path
) -> None:
    # A surrogate refitted for each recorded ask would make a resume as slow as the sweep.
    whole = undisturbed("bayesian")
    journal_of(whole.journal.records, tmp_path)
    config = config_of("bayesian")
    space, _ = read_space(config)
    real, asked = feasibility(config, space, prepared(), on_paper=True), []

    def counted(point: Any) -> str | None:
        asked.append(point)
        return real(point)

    run(config, tmp_path, why_infeasible=counted)
    assert asked == []


@pytest.mark.parametrize("tuner", ["random", "grid", "hyperband"])
def test_a_parallel_sweep_resumes_from_the_order_in_its_journal(tuner: str, tmp_path: Path) -> None:
    config = config_of(tuner)
    whole = run(config, tmp_path / "whole", InstantExecutor(fails, workers=3))
    asks = "".join(
        "a" if isinstance(record, Asked) else "t"
        for record in whole.journal.records
        if isinstance(record, Asked | Told)
    )
    assert "aaa" in asks
    for cut in range(0, len(whole.journal.records), 9):
        folder = tmp_path / str(cut)
        journal_of(whole.journal.records[:cut], folder)
        resumed = run(config, folder, InstantExecutor(fails, workers=3))
        assert told(resumed.journal.records)[:cut] == told(whole.journal.records)[:cut]
        assert not resumed.state.open_asks
        assert len(resumed.state.trials) == len(whole.state.trials)
        assert all(t.status is not TrialStatus.RUNNING for t in resumed.state.trials.values())
