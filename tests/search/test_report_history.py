from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from drawn_sweeps import MAX, drawn_sweep
from hypothesis import given
from hypothesis import strategies as st
from search_fakes import config_with, run

from fmnist_sweep.analysis.history import (
    LONGEST_GAP,
    WorkedTime,
    best_so_far,
    brackets,
    by_time,
    by_trial,
)
from fmnist_sweep.config.train_schema import Objective
from fmnist_sweep.journal.records import EpochEnded, Record, Told, TrialStatus

MIN = Objective(metric="val_loss", direction="min")
SCORES = st.lists(st.floats(0, 1) | st.just(float("nan")), min_size=1, max_size=30)


def epoch(at: float, seconds: float, trial: int = 0) -> EpochEnded:
    return EpochEnded(trial, 1, {"epoch_seconds": seconds}, at)


@given(SCORES)
def test_the_best_so_far_only_gets_better_and_is_one_of_the_scores(scores: list[float]) -> None:
    for objective, sign in ((MAX, 1), (MIN, -1)):
        best = best_so_far(np.array(scores), objective)
        known = best[np.isfinite(best)]
        assert (np.diff(sign * known) >= 0).all()
        assert set(known) <= set(scores)
        for place, value in enumerate(best):
            seen = [s for s in scores[: place + 1] if not np.isnan(s)]
            expected = (max if sign > 0 else min)(seen) if seen else None
            assert expected == value if seen else np.isnan(value)


def test_an_infinite_score_is_no_best() -> None:
    best = best_so_far(np.array([np.inf, 0.5, 0.6]), MAX)
    assert np.isnan(best[0])
    assert best[1:].tolist() == [0.5, 0.6]


@given(st.data())
def test_worked_time_leaves_pauses_out(data: st.DataObject) -> None:
    """Sessions of parallel workers, with pauses of any length between them: only what lies within
    the sessions counts, however long they are apart."""
    sessions = data.draw(
        st.lists(
            st.lists(st.tuples(st.floats(0, 50), st.floats(0.1, 50)), min_size=1, max_size=6),
            min_size=1,
            max_size=5,
        )
    )
    pauses = st.lists(
        st.floats(LONGEST_GAP + 1, 1e6), min_size=len(sessions), max_size=len(sessions)
    )

    def worked(gaps: list[float]) -> np.ndarray:
        records: list[Record] = []
        ends: list[float] = []
        now = 0.0
        for session, gap in zip(sessions, gaps, strict=True):
            # Every epoch of the session lies within [now, now + 100]; both ends are worked.
            inside = [(0.0, 100.0), *session]
            records += [epoch(now + start + length, length) for start, length in inside]
            ends += [now + start + length for start, length in inside]
            now += 100.0 + gap
        return WorkedTime.of(records).until(np.array(ends))

    first, second = worked(data.draw(pauses)), worked(data.draw(pauses))
    assert first == pytest.approx(second, abs=1e-3)
    assert first.max() == pytest.approx(100.0 * len(sessions), abs=1e-3)


@given(
    st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 1e3)), max_size=12),
    st.lists(st.floats(-1e3, 2e4), max_size=12),
)
def test_worked_time_never_goes_back_nor_faster_than_the_clock(
    epochs: list[tuple[float, float]], at: list[float]
) -> None:
    times = np.array(sorted(at), dtype=np.float64)
    worked = WorkedTime.of([epoch(end, seconds) for end, seconds in epochs]).until(times)
    assert (np.diff(worked) >= -1e-6).all()
    assert (np.diff(worked) <= np.diff(times) + 1e-6).all()
    assert (worked >= 0).all()


def test_parallel_workers_time_counts_once_and_short_gaps_count() -> None:
    records = [epoch(110.0, 10.0), epoch(115.0, 10.0, trial=1), epoch(150.0, 5.0)]
    assert WorkedTime.of(records).until(np.array([115.0, 150.0, 1e9])).tolist() == [15, 50, 50]


def test_a_gap_of_a_minute_is_a_pause() -> None:
    records = [epoch(10.0, 10.0), epoch(10.0 + LONGEST_GAP + 5.0, 5.0)]
    assert WorkedTime.of(records).until(np.array([1e9])).tolist() == [15]


def test_a_pause_in_a_journal_moves_no_point() -> None:
    records = drawn_sweep(12).records
    places = [i for i, record in enumerate(records) if isinstance(record, Told)]
    cut = places[len(places) // 2] + 1
    later = [replace(record, at=record.at + 5000.0) for record in records[cut:]]
    undisturbed, paused = by_time(records, MAX), by_time([*records[:cut], *later], MAX)
    assert paused.seconds == pytest.approx(undisturbed.seconds)
    assert paused.best.tolist() == undisturbed.best.tolist()
    assert (np.diff(paused.seconds) >= 0).all()


def test_trials_stand_in_the_order_they_were_first_told_with_their_last_score() -> None:
    drawn = drawn_sweep(9, hyperband=True, failing=(4,))
    history = by_trial(drawn.records, MAX)
    assert history.trials.tolist() == list(range(9))
    for number, score in zip(history.trials, history.scores, strict=True):
        standing = drawn.state.trials[int(number)].standing_scores
        assert standing == (score,) if standing else np.isnan(score)
    best = drawn.state.best
    assert best is not None
    assert history.best[-1] == best.score
    assert by_time(drawn.records, MAX).best[-1] == best.score


def test_a_trial_that_failed_in_the_end_leaves_no_point() -> None:
    records = list(drawn_sweep(9, hyperband=True).records)
    last = next(i for i in reversed(range(len(records))) if isinstance(records[i], Told))
    told = records[last]
    assert isinstance(told, Told)
    records[last] = replace(
        told, status=TrialStatus.FAILED, score=None, result=None, reason="it broke"
    )
    assert told.trial not in by_time(records, MAX).trials
    assert np.isnan(by_trial(records, MAX).scores[told.trial])


def test_nothing_told_gives_empty_arrays() -> None:
    assert len(by_trial([], MAX).best) == len(by_time([], MAX).seconds) == 0
    assert brackets([]) == []


def test_rungs_say_who_reached_them_and_who_went_on() -> None:
    drawn = drawn_sweep(9, hyperband=True, failing=(2,))
    (bracket,) = brackets(drawn.records)
    first, second = bracket.rungs
    assert (first.epoch, second.epoch) == (1, 3)
    assert set(first.scores) == set(range(9))
    assert first.scores[2] is None
    assert first.went_on == set(second.scores)
    assert len(second.scores) == 3
    assert not second.went_on


def test_a_real_hyperband_has_its_brackets(tmp_path) -> None:
    space = {"train": {"optimizer": {"learning_rate": {"float": [1e-4, 1e-2], "log": True}}}}
    config = config_with(space, tuner="hyperband", train__epochs=9, sweep__max_trials=14)
    found = brackets(run(config, tmp_path).journal.records)
    assert [bracket.begins_with for bracket in found] == [1, 3]
    reached = [[len(rung.scores) for rung in bracket.rungs] for bracket in found]
    assert reached[0] == sorted(reached[0], reverse=True)
    assert len(reached[0]) > 1
    for bracket in found:
        for rung, following in zip(bracket.rungs, bracket.rungs[1:], strict=False):
            assert rung.went_on == set(following.scores)


def test_other_tuners_have_no_brackets(tmp_path) -> None:
    assert brackets(drawn_sweep(9).records) == []
