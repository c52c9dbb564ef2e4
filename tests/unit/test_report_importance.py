from __future__ import annotations

import copy
import logging
from dataclasses import replace

import numpy as np
import pytest
from drawn_sweeps import MOMENTUM, NOISE, OPTIMIZER, RATE, SPACE, drawn_sweep

from fmnist_sweep.analysis.importance import FEWEST_SCORES, Importances, Unknown, importances
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.space.space import Space


def found(state: SweepState, seed: int = 0) -> Importances:
    answer = importances(state, SPACE, seed)
    assert isinstance(answer, Importances)
    return answer


@pytest.mark.parametrize("trials", [15, 40])
def test_what_decides_the_scores_comes_first(trials: int) -> None:
    for seed in range(3):
        answer = found(drawn_sweep(trials, seed=seed).state)
        shares = list(answer.shares.values())
        assert next(iter(answer.shares)) == RATE
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) <= 1 + 1e-9
        assert min(shares) >= 0
        assert set(answer.shares) == {leaf.path for leaf in SPACE.leaves}


def test_that_a_value_does_not_exist_is_its_parents_merit() -> None:
    """Momentum exists for sgd alone, which alone decides here; momentum itself does nothing."""
    state = copy.deepcopy(drawn_sweep(60).state)
    for number, trial in state.trials.items():
        score = 0.5 + 0.1 * (trial.overrides[OPTIMIZER] == "sgd") + 1e-4 * (number * 37 % 60)
        for record in trial.history:
            record.metrics["val_accuracy"] = score
    shares = found(state).shares
    assert shares[OPTIMIZER] > 0.3
    assert shares[OPTIMIZER] > 10 * shares[MOMENTUM]


def test_the_same_trials_and_seed_give_the_same_numbers() -> None:
    state = drawn_sweep(30).state
    assert found(state, seed=5) == found(state, seed=5)


def test_scores_of_different_budgets_are_not_mixed() -> None:
    answer = found(drawn_sweep(30, hyperband=True).state)
    assert answer.epoch == 1
    # Later epochs of some trials change nothing: what counts is where all of them have been.
    state = copy.deepcopy(drawn_sweep(30, hyperband=True).state)
    for trial in state.trials.values():
        del trial.history[1:]
    assert found(state).shares == answer.shares
    assert found(drawn_sweep(30).state).epoch == 3


def test_early_stopping_counts_as_trained_to_the_end_and_a_request_not_at_all() -> None:
    state = copy.deepcopy(drawn_sweep(30).state)
    early, asked = state.trials[3], state.trials[4]
    assert early.result is not None
    early.result = replace(early.result, stopped_early=True)
    del early.history[1:]
    del asked.history[1:]
    asked.stopped_at = 1
    answer = found(state)
    assert (answer.epoch, answer.trials) == (3, 29)


def test_failed_trials_are_left_out() -> None:
    assert found(drawn_sweep(20, failing=(0, 5, 19)).state).trials == 17


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (drawn_sweep(FEWEST_SCORES - 1).state, "different scores after epoch 3: 9, of 9 trials"),
        (drawn_sweep(30, constant=True).state, "different scores after epoch 3: 1, of 30 trials"),
        (drawn_sweep(3, failing=(0, 1, 2)).state, "no trial was trained"),
        (drawn_sweep(0).state, "no trial was trained"),
    ],
)
def test_noise_is_not_shown(state: SweepState, words: str) -> None:
    answer = importances(state, SPACE)
    assert isinstance(answer, Unknown)
    assert words in answer.reason


def test_a_value_that_never_differs_has_no_share_and_alone_says_nothing() -> None:
    state = copy.deepcopy(drawn_sweep(20).state)
    for trial in state.trials.values():
        trial.overrides[NOISE] = True
    assert found(state).shares[NOISE] == 0.0
    only = Space(tuple(leaf for leaf in SPACE.leaves if leaf.path == NOISE), {})
    assert isinstance(importances(state, only), Unknown)


def test_minimising_gives_the_same_as_maximising_the_opposite() -> None:
    state = copy.deepcopy(drawn_sweep(40).state)
    state.objective = state.objective.model_copy(
        update={"metric": "val_loss", "direction": "min"}
    )  # 1 - val_accuracy
    for trial in state.trials.values():
        assert trial.score is not None
        trial.score = 1.0 - trial.score
    down, up = found(state).shares, found(drawn_sweep(40).state).shares
    assert np.allclose([down[path] for path in up], list(up.values()), atol=0.02)


def test_optuna_says_nothing_and_its_log_stays_as_it_was(
    capfd: pytest.CaptureFixture[str],
) -> None:
    level = logging.getLogger("optuna.storages._in_memory").level
    found(drawn_sweep(20).state)
    assert logging.getLogger("optuna.storages._in_memory").level == level
    assert capfd.readouterr() == ("", "")
