"""Successive halving: who goes on, how far, and that no worker waits."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from driven_search import Driven
from search_fakes import LateExecutor, config_with, run

from fmnist_sweep.config.schema import Config, RunConfig
from fmnist_sweep.journal.records import Asked, Told
from fmnist_sweep.tuners.search import NothingToPromote, Suggestion

SPACE = {"train": {"batch_size": {"int": [16, 128]}, "seed": {"int": [1, 50]}}}


def sweep(scheduler: str = "asha", **values: Any) -> Config:
    given = {"train__epochs": 27, "sweep__max_trials": 60, **values}
    return config_with(SPACE, tuner="random", scheduler=scheduler, **given)


@pytest.mark.slow
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_the_best_of_each_rung_go_on(factor: int, tmp_path: Path) -> None:
    end = run(sweep(scheduler__factor=factor), tmp_path)
    scores: dict[int, dict[int, float]] = defaultdict(dict)
    went_on: dict[int, set[int]] = defaultdict(set)
    for record in end.journal.records:
        if isinstance(record, Asked) and record.rung:
            # Among the best 1/factor of those that came as far when it was promoted.
            reached = scores[record.first_epoch]
            better = sum(score > reached[record.trial] for score in reached.values())
            assert better < len(reached) // factor
            went_on[record.first_epoch].add(record.trial)
        elif isinstance(record, Told):
            assert record.score is not None
            scores[end.state.asks[record.ask].last_epoch][record.trial] = record.score
    levels = sorted(scores)
    assert levels[0] == 1
    assert levels[-1] == 27
    for level in levels[:-1]:
        # Nobody who is due is left: the best of the whole rung have gone on.
        ranked = sorted(scores[level], key=lambda trial: -scores[level][trial])
        assert set(ranked[: len(ranked) // factor]) <= went_on[level]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("epochs", "least", "factor", "levels"),
    [(27, 1, 3, {1, 3, 9, 27}), (9, 2, 3, {2, 9}), (8, 1, 2, {1, 2, 4, 8}), (5, 5, 3, {5})],
)
def test_the_rungs(epochs: int, least: int, factor: int, levels: set[int], tmp_path: Path) -> None:
    config = sweep(train__epochs=epochs, scheduler__min_epochs=least, scheduler__factor=factor)
    end = run(config, tmp_path)
    assert {asked.last_epoch for asked in end.state.asks} == levels


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["asha", "hyperband"])
def test_no_worker_ever_waits(scheduler: str, tmp_path: Path) -> None:
    def fails(config: RunConfig) -> bool:
        return config.train.seed % 7 == 0

    executor = LateExecutor(fails, workers=8)
    config = sweep(scheduler, sweep__max_epochs_total=400, sweep__max_trials=None)
    run(config, tmp_path, executor)
    # Until the budget is nearly spent, eight run at any time.
    busy = executor.at_once[: len(executor.at_once) * 3 // 4]
    assert set(busy) == {8}


def test_what_is_tried_first_goes_through_the_rungs(tmp_path: Path) -> None:
    end = run(sweep(sweep__start_with=[{}, {"train.batch_size": 20}]), tmp_path)
    first, second = end.state.asks[:2]
    assert (first.last_epoch, second.last_epoch) == (1, 1)
    assert (first.overrides, second.overrides) == ({}, {"train.batch_size": 20})
    # The best of a rung goes on, whichever tuner proposed it.
    scores = {told.trial: told.score for told in end.journal.records if isinstance(told, Told)}
    assert set(scores) == set(end.state.trials)


def test_without_new_trials_only_promotions_are_suggested() -> None:
    driven = Driven(sweep())
    for number, score in enumerate([0.1, 0.9, 0.5]):
        assert isinstance(driven.ask(), Suggestion)
        driven.tell(number, score)
    due = driven.scheduler.ask(3, new_trials=False)
    assert isinstance(due, Suggestion)
    assert (due.trial, due.first_epoch, due.last_epoch) == (1, 1, 3)
    driven.ask()
    assert isinstance(driven.scheduler.ask(4, new_trials=False), NothingToPromote)


@pytest.mark.slow
def test_hyperband_s_brackets_have_the_shares_of_the_paper(tmp_path: Path) -> None:
    end = run(sweep("hyperband", sweep__max_trials=120), tmp_path)
    begun = [asked.last_epoch for asked in end.state.asks if asked.rung == 0]
    counts = {level: begun.count(level) for level in (1, 3, 9, 27)}
    # n = (s_max + 1) / (s + 1) * factor**s: 27, 12, 6, 4.
    for level, share in {1: 27, 3: 12, 9: 6, 27: 4}.items():
        assert abs(counts[level] - 120 * share / 49) <= 1
