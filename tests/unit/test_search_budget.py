"""What a finished sweep is told to go on with."""

from __future__ import annotations

import pytest

from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.config.schema import SweepConfig
from fmnist_sweep.journal.spending import continued

TYPED = "python -m fmnist_sweep +sweep=cnn sweep.max_trials=4 train.epochs=2"


@pytest.mark.parametrize(
    "reason", ["sweep.max_trials=4 is reached", "sweep.max_epochs_total=9 is used up"]
)
def test_a_sweep_that_a_budget_ended_goes_on_with_twice_its_budgets(reason: str) -> None:
    on = continued(TYPED, budgets(max_trials=4, max_epochs_total=9), reason)
    assert on == (
        "python -m fmnist_sweep +sweep=cnn train.epochs=2 "
        "sweep.max_epochs_total=18 sweep.max_trials=8"
    )


def test_a_sweep_whose_tuner_has_no_more_points_cannot_go_on() -> None:
    assert continued(TYPED, budgets(max_trials=4), "tuner grid has nothing more to propose") is None


def test_without_a_budget_or_words_of_its_own_there_is_nothing_to_type() -> None:
    reason = "sweep.max_trials=4 is reached"
    assert continued(TYPED, budgets(), reason) is None
    assert continued("python -m fmnist_sweep", budgets(max_trials=4), reason) is None


def budgets(**given: int) -> SweepConfig:
    return compose_config(["+sweep=cnn"]).sweep.model_copy(
        update={"max_trials": None, "max_epochs_total": None, "max_minutes": None, **given}
    )
