"""One trial is stopped on request: it ends where it is, and the sweep goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from search_fakes import InstantExecutor, Run, config_with, journal_of, run, told, train_at_once

from fmnist_sweep.config.schema import Config
from fmnist_sweep.journal.leaderboard import leaderboard
from fmnist_sweep.journal.records import Asked, EpochEnded, Stopped, Told, TrialStatus
from fmnist_sweep.runs.best_file import best_config
from fmnist_sweep.space.overrides import apply_overrides
from fmnist_sweep.sweep.stopping import StopRequests, request_stop

TUNERS = ["random", "grid", "hyperband"]
EPOCHS = 9


def sweep(tuner: str) -> Config:
    return config_with(
        {"train": {"batch_size": {"choice": [10, 20, 30, 40, 50, 60]}}},
        tuner=tuner,
        train__epochs=EPOCHS,
        sweep__max_trials=6,
        sweep__max_failure_rate=1.0,
    )


def asking(folder: Path, trial: int, epoch: int) -> Callable[[Any, Any], None]:
    """An observer that asks to have a trial stopped when it has trained that epoch."""

    def observer(record: Any, state: Any) -> None:
        if isinstance(record, EpochEnded) and (record.trial, record.epoch) == (trial, epoch):
            request_stop(folder, trial)

    return observer


def stopped_at(tuner: str, trial: int, epoch: int, folder: Path) -> Run:
    return run(sweep(tuner), folder, observer=asking(folder, trial, epoch))


@pytest.mark.parametrize("tuner", TUNERS)
@pytest.mark.parametrize(("trial", "epoch"), [(0, 1), (2, 1), (1, 3)])
def test_it_ends_after_that_epoch_with_what_it_has(
    tuner: str, trial: int, epoch: int, tmp_path: Path
) -> None:
    end = stopped_at(tuner, trial, epoch, tmp_path)
    records = end.journal.records
    if not any(isinstance(record, Stopped) for record in records):
        assert tuner == "hyperband", "only there a trial may never get that far"
        assert not list(tmp_path.glob("stop/*"))
        return
    place = records.index(Stopped(trial, epoch, at=next(
        record.at for record in records if isinstance(record, Stopped)
    )))  # fmt: skip
    before, after = records[place - 1], records[place + 1]
    assert isinstance(before, EpochEnded)
    assert (before.trial, before.epoch) == (trial, epoch)
    assert isinstance(after, Told)
    assert (after.trial, after.status) == (trial, TrialStatus.COMPLETED)
    stopped = end.state.trials[trial]
    assert stopped.result is not None
    assert stopped.result.last_epoch == stopped.last_epoch == len(stopped.history) == epoch
    _, result = train_at_once(apply_overrides(sweep(tuner).run, stopped.overrides), epoch)
    assert after.score == result.best_metrics["val_accuracy"]
    assert not list(tmp_path.glob("stop/*")), "the request is in the journal now"

    assert len(end.state.trials) == 6, "the sweep goes on"
    assert not any(
        isinstance(record, EpochEnded) and record.trial == trial for record in records[place:]
    ), "but that trial does not, not even where it is promoted"
    row = leaderboard(end.state).set_index("trial").loc[trial]
    assert row["reason"] == f"stopped on request after epoch {epoch}"
    exported = best_config(sweep(tuner), stopped)
    assert exported.train.stop_epoch == epoch
    assert exported.train.epochs == EPOCHS


def test_a_promotion_of_a_stopped_trial_is_answered_with_its_result(tmp_path: Path) -> None:
    # Each trial of the first rung is asked to stop while it waits to be promoted.
    def observer(record: Any, state: Any) -> None:
        if isinstance(record, Told) and state.asks[record.ask].rung == 0:
            request_stop(tmp_path, record.trial)

    end = run(sweep("hyperband"), tmp_path, observer=observer)
    promoted = [ask for ask in end.state.asks if ask.rung > 0]
    assert promoted
    for asked in promoted:
        trial = end.state.trials[asked.trial]
        assert trial.stopped_at == len(trial.history) == trial.last_epoch
        tells = [r for r in end.journal.records if isinstance(r, Told) and r.trial == asked.trial]
        assert asked.ask in {tell.ask for tell in tells[1:]}
        assert all(tell.result == tells[0].result for tell in tells)
        assert all(tell.seconds == 0.0 for tell in tells[1:])


@examples(15)
@given(data=st.data())
@pytest.mark.parametrize("tuner", TUNERS)
def test_cut_anywhere_the_stop_stands_and_the_rest_is_the_same(
    tuner: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = stopped_at(tuner, 0, 1, tmp_path_factory.mktemp("whole"))
    records = whole.journal.records
    cut = data.draw(st.integers(0, len(records)), label="records kept")
    folder = tmp_path_factory.mktemp("cut")
    journal_of(records[:cut], folder)
    kept = records[:cut]
    if any(isinstance(record, EpochEnded) and record.trial == 0 for record in kept):
        # Killed before the request was taken off, or before it took effect.
        request_stop(folder, 0)
    executor = InstantExecutor()
    resumed = run(sweep(tuner), folder, executor, observer=asking(folder, 0, 1))
    last = kept[-1] if kept else None
    if not (isinstance(last, EpochEnded) and (last.trial, last.epoch) == (0, 1)):
        # Cut between the epoch and the stop, the request counts from the next epoch on.
        assert told(resumed.journal.records) == told(records)
    if any(isinstance(record, Stopped) for record in kept):
        of_it = [rung for rung in executor.rungs if rung.folder.name == "0000"]
        assert all((rung.last_epoch, rung.first_epoch) == (1, 0) for rung in of_it)


def test_a_request_for_what_never_runs_is_kept_and_disturbs_nothing(tmp_path: Path) -> None:
    request_stop(tmp_path, 99)
    end = run(sweep("random"), tmp_path)
    assert not any(isinstance(record, Stopped) for record in end.journal.records)
    assert (tmp_path / "stop" / "0099").exists()


def test_a_tag_asks_as_well_as_a_file(tmp_path: Path) -> None:
    asks = [
        record
        for record in run(
            sweep("random"), tmp_path, stops=StopRequests(tmp_path, lambda number: number == 3)
        ).journal.records
        if isinstance(record, Stopped | Asked)
    ]
    assert [(r.trial, r.epoch) for r in asks if isinstance(r, Stopped)] == [(3, 1)]
