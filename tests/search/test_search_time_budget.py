"""`sweep.max_minutes` ends a training after the epoch that uses it up; a larger one goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from search_fakes import (
    InstantExecutor,
    LateExecutor,
    Run,
    config_with,
    journal_of,
    run,
    told,
)

from fmnist_sweep import run_sweep
from fmnist_sweep.config.schema import Config
from fmnist_sweep.journal.leaderboard import leaderboard
from fmnist_sweep.journal.records import (
    Continued,
    Ended,
    Paused,
    Record,
    RunsIn,
    Told,
    TrialStatus,
)

SPACE = {"train": {"batch_size": {"choice": [16, 32, 64, 128]}, "seed": {"int": [1, 50]}}}
SEARCHES: dict[str, dict[str, Any]] = {
    "full": {"tuner": "random"},
    "asha": {"tuner": "random", "scheduler": "asha"},
    "median": {"tuner": "tpe", "scheduler": "median", "scheduler__min_trials": 2},
    "hyperband": {"tuner": "hyperband"},
}
every_search = pytest.mark.parametrize("name", SEARCHES)


def sweep(name: str, epochs: float | None, **values: Any) -> Config:
    """A sweep with time for so many of the formula's epochs, which take a second each."""
    minutes = None if epochs is None else epochs / 60
    given = {"train__epochs": 9, "sweep__max_trials": 8, **SEARCHES[name], **values}
    return config_with(SPACE, sweep__max_minutes=minutes, **given)


def of_the_search(records: list[Record]) -> list[dict[str, Any]]:
    """Records without those of pauses and ends."""
    return told([r for r in records if not isinstance(r, Paused | Continued | Ended | RunsIn)])


def ended(end: Run) -> Run:
    """Record the end, as `run_sweep` does."""
    if end.state.ended is None:
        end.journal.append(Ended(end.reason, 0.0))
        end.state.apply(end.journal.records[-1])
    return end


@every_search
@pytest.mark.parametrize("epochs", [1, 5, 9, 10, 23.5])
def test_it_is_overrun_by_less_than_an_epoch(name: str, epochs: float, tmp_path: Path) -> None:
    end = run(sweep(name, epochs, sweep__max_trials=30), tmp_path)
    assert end.reason.startswith("sweep.max_minutes=")
    assert epochs <= end.state.epochs_total < epochs + 1
    assert end.state.minutes() * 60 == pytest.approx(end.state.epochs_total)


def test_after_a_pause_the_seconds_around_its_epochs_count_too(tmp_path: Path) -> None:
    # A part of a rung takes 4 seconds more than its epochs; a pause charges them.
    end = run(sweep("full", 2), tmp_path, InstantExecutor(seconds=6.0))
    assert (end.state.epochs_total, end.state.rung_seconds) == (2, 6.0)
    end = run(sweep("full", 7.5), tmp_path, InstantExecutor(seconds=6.0))
    assert (end.state.epochs_total, end.state.rung_seconds) == (4, 12.0)


@pytest.mark.parametrize("workers", [2, 3])
def test_each_worker_ends_with_its_current_epoch(workers: int, tmp_path: Path) -> None:
    end = run(sweep("full", 13.0), tmp_path, LateExecutor(workers=workers))
    assert 13 * workers <= end.state.epochs_total < 14 * workers
    assert all(trial.status is TrialStatus.COMPLETED for trial in end.state.trials.values())
    assert not end.state.running_asks


def test_what_it_has_counts(tmp_path: Path) -> None:
    end = run(sweep("full", 4.0), tmp_path)
    (trial,) = end.state.trials.values()
    assert (trial.is_paused, trial.last_epoch, len(trial.history)) == (True, 4, 4)
    assert end.state.best is trial
    (row,) = leaderboard(end.state).to_dict("records")
    assert row["reason"] == "paused after epoch 4: the time was used up"
    assert row["epochs"] == 4


@pytest.mark.slow
@every_search
@given(data=st.data())
@examples(15)
def test_with_ever_larger_budgets_it_ends_as_with_the_largest(
    name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    budgets = sorted(data.draw(st.sets(st.integers(1, 40), max_size=4), label="budgets"))
    whole = run(sweep(name, None), tmp_path_factory.mktemp("whole"))
    folder = tmp_path_factory.mktemp("parts")
    for budget in [*budgets, None]:
        end = ended(run(sweep(name, budget), folder))
        records = end.journal.records
        again = run(sweep(name, budget), folder)  # changes nothing
        assert (again.journal.records, again.executor.rungs) == (records, [])
    assert of_the_search(end.journal.records) == of_the_search(whole.journal.records)
    assert leaderboard(end.state).equals(leaderboard(whole.state))
    assert not end.state.open_asks


@pytest.mark.slow
@every_search
@given(data=st.data())
@examples(25)
def test_killed_after_any_record_it_ends_the_same(
    name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    first, second = 7, 21.5

    def gone_on(folder: Path, records: list[Record]) -> list[Record]:
        if not any(isinstance(record, Ended) for record in records):
            ended(run(sweep(name, first), folder))
        return ended(run(sweep(name, second), folder)).journal.records

    whole = gone_on(tmp_path_factory.mktemp("whole"), [])
    kept = whole[: data.draw(st.integers(0, len(whole)), label="records kept")]
    folder = tmp_path_factory.mktemp("cut")
    journal_of(kept, folder)
    resumed = gone_on(folder, kept)
    assert told(_without_seconds(resumed)) == told(_without_seconds(whole))


def _without_seconds(records: list[Record]) -> list[Record]:
    return [replace(r, seconds=0.0) if isinstance(r, Paused | Told) else r for r in records]


def test_a_grid_whose_last_trial_is_paused_is_not_used_up(tmp_path: Path) -> None:
    config = config_with(
        {"train": {"batch_size": {"choice": [16, 32]}}},
        tuner="grid",
        train__epochs=4,
        sweep__max_minutes=6 / 60,
    )
    end = run(config, tmp_path)
    assert end.reason == "sweep.max_minutes=0.1 is used up"
    assert len(end.state.open_asks) == 1


def test_the_last_epoch_of_a_training_is_no_pause(tmp_path: Path) -> None:
    end = run(sweep("full", 9), tmp_path)
    assert not end.state.open_asks
    assert not any(isinstance(record, Paused) for record in end.journal.records)


def test_a_failed_trial_is_not_paused(tmp_path: Path) -> None:
    end = run(
        sweep("full", 1, sweep__max_failure_rate=1.0), tmp_path, InstantExecutor(lambda c: True)
    )
    assert [t.status for t in end.state.trials.values()] == [TrialStatus.FAILED]
    assert not end.state.open_asks


@pytest.mark.slow
def test_a_real_sweep_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = {"train": {"batch_size": {"choice": [32, 64]}}}
    config = config_with(space, tuner="grid", train__epochs=6, report=False)

    def ran(folder: str, *minutes: float) -> Any:
        (tmp_path / folder).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / folder)
        for budget in minutes:
            values = config.sweep.model_copy(update={"max_minutes": budget})
            sweep = run_sweep(config.model_copy(update={"sweep": values}))
        return sweep

    cut = ran("parts", 1e-6)
    assert cut.state.epochs_total == 1
    assert cut.state.best is not None
    assert cut.best_model() is not None
    records = (cut.folder / "journal.jsonl").read_bytes()
    assert (ran("parts", 1e-6).folder / "journal.jsonl").read_bytes() == records
    seconds = cut.state.rung_seconds
    parts = ran("parts", (seconds + 0.01) / 60, 1000.0)
    whole = ran("whole", 1000.0)
    kept = ["trial", "rank", "best_weights_sha256", "epochs", "best_epoch", "status"]
    assert leaderboard(parts.state)[kept].equals(leaderboard(whole.state)[kept])
    assert [t.result.weights_sha256 for t in parts.state.trials.values()] == [
        t.result.weights_sha256 for t in whole.state.trials.values()
    ]
