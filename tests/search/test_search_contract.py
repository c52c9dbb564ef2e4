"""What every tuner does under every scheduler, in the real loop around a formula.

A new tuner or scheduler is added to `SEARCHES`, and has to pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from own_search import Corners, Doubling
from search_fakes import (
    NOTHING_OWN,
    InstantExecutor,
    LateExecutor,
    Run,
    config_with,
    journal_of,
    plan_of,
    prepared,
    run,
    told,
)

from fmnist_sweep.config.schema import Config, RunConfig
from fmnist_sweep.config.tuner_schema import NAMES_FOR_SEVERAL_OBJECTIVES
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.files import canonical_json
from fmnist_sweep.journal.leaderboard import leaderboard
from fmnist_sweep.journal.records import Asked, FoundInfeasible, Told
from fmnist_sweep.model.plan import plan_cnn
from fmnist_sweep.schedulers.opening import OwnSearch
from fmnist_sweep.space.overrides import apply_overrides

TUNERS: dict[str, dict[str, Any]] = {
    "random": {},
    "grid": {},
    "bayesian": {"tuner__initial_points": 60},
    "tpe": {"tuner__initial_points": 3, "tuner__candidates": 4},
    "cmaes": {"tuner__population": 5},
    "nsga2": {"tuner__population": 4},
    "qmc": {},
}
SCHEDULERS: dict[str, dict[str, Any]] = {
    "full": {"train__epochs": 2},
    "asha": {"train__epochs": 9},
    "hyperband": {"train__epochs": 9},
    "median": {"train__epochs": 4, "scheduler__min_epochs": 1, "scheduler__min_trials": 2},
}
SEVERAL = [{"metric": "val_accuracy"}, {"metric": "mflops"}, {"metric": "predict_ms"}]
SPACE: dict[str, Any] = {
    "train": {
        "batch_size": {"choice": [32, 64]},
        "optimizer": {
            "name": {"choice": ["adam", "sgd"]},
            "momentum": {
                "float": [0.0, 0.9], "step": 0.3, "when": {"train.optimizer.name": ["sgd"]},
            },
        },
    },
    "model": {"conv_blocks": {"count": {"int": [1, 2]}, "each": {"channels": {"choice": [8, 64]}}}},
}  # fmt: skip
POINTS = 2 * (1 + 4) * (2 + 4)


@dataclass(frozen=True)
class Search:
    """A tuner under a scheduler."""

    tuner: str
    scheduler: str = "full"
    values: dict[str, Any] = field(default_factory=dict)
    own: OwnSearch = NOTHING_OWN

    def config(self, **values: Any) -> Config:
        """A sweep with infeasible points and failures in it, the base config tried first."""
        given = {
            "sweep__max_trials": 14,
            "sweep__start_with": [{}, {"train.batch_size": 16}],
            "sweep__max_mflops": 3.5,
            "sweep__max_failure_rate": 1.0,
            **self.values,
            **values,
        }
        return config_with(SPACE, tuner=self.tuner, scheduler=self.scheduler, **given)

    def run(self, folder: Path, executor: InstantExecutor | None = None, **values: Any) -> Run:
        executor = InstantExecutor(fails) if executor is None else executor
        return run(self.config(**values), folder, executor, own=self.own)


SEARCHES = {
    **{
        f"{tuner}-{scheduler}": Search(tuner, scheduler, {**of_tuner, **of_scheduler})
        for tuner, of_tuner in TUNERS.items()
        for scheduler, of_scheduler in SCHEDULERS.items()
    },
    **{
        f"{tuner}-{count}-objectives-full": Search(
            tuner,
            "full",
            {**TUNERS[tuner], "train__epochs": 2, "sweep__objectives": SEVERAL[:count]},
        )
        for tuner in NAMES_FOR_SEVERAL_OBJECTIVES
        for count in (2, 3)
    },
    "keras-hyperband": Search("hyperband", "full", {"train__epochs": 9}),
    "own-full": Search("random", "full", {"train__epochs": 2}, OwnSearch(Corners)),
    "own-asha": Search("random", "asha", {"train__epochs": 9}, OwnSearch(Corners)),
    "random-own": Search("random", "full", {"train__epochs": 8}, OwnSearch(None, Doubling)),
    "own-own": Search("random", "full", {"train__epochs": 8}, OwnSearch(Corners, Doubling)),
}
QUICK = {
    name
    for name in SEARCHES
    if (name.startswith("random-") or name.endswith("-full")) and "2-objectives" not in name
}
"""Each tuner and each scheduler; `make test` has every pair."""
every_search = pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in SEARCHES],
)
each_part = pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in QUICK else pytest.mark.release) for n in SEARCHES],
)
"""The same where a pair shows little more than its parts; `make test-release` has the others."""


def fails(config: RunConfig) -> bool:
    """Whether a training breaks: about one in six."""
    return config.train.optimizer.momentum == 0.3


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """Each search, run once without an interruption."""
    runs: dict[str, Run] = {}

    def of(name: str) -> Run:
        if name not in runs:
            runs[name] = SEARCHES[name].run(tmp_path_factory.mktemp("whole"))
        return runs[name]

    return of


@every_search
def test_the_same_seed_gives_the_same_sweep(
    name: str, undisturbed: Callable[[str], Run], tmp_path: Path
) -> None:
    whole, again = undisturbed(name), SEARCHES[name].run(tmp_path)
    assert told(again.journal.records) == told(whole.journal.records)
    assert whole.reason == "sweep.max_trials=14 is reached"


@every_search
def test_nothing_infeasible_or_repeated_is_tried(
    name: str, undisturbed: Callable[[str], Run]
) -> None:
    config = SEARCHES[name].config()
    begun = [
        asked
        for asked in undisturbed(name).state.asks
        if asked.rung == 0 and asked.oracle_id is not None
    ]
    assert len({canonical_json(asked.overrides) for asked in begun}) == len(begun) == 12
    for asked in begun:
        model = apply_overrides(config.run, asked.overrides).model
        assert plan_cnn(model, prepared().dataset.image_shape, 10).mflops <= 3.5


@every_search
@given(data=st.data())
@examples(12)
def test_a_resume_after_any_record_ends_the_same(
    name: str,
    data: st.DataObject,
    undisturbed: Callable[[str], Run],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    whole = undisturbed(name)
    records = whole.journal.records
    folder = tmp_path_factory.mktemp("cut")
    cut = data.draw(st.integers(0, len(records)), label="records kept")
    journal_of(records[:cut], folder)
    resumed = SEARCHES[name].run(folder)
    assert told(resumed.journal.records) == told(records)
    assert resumed.reason == whole.reason
    assert leaderboard(resumed.state).equals(leaderboard(whole.state))


@every_search
def test_a_raised_budget_goes_on_with_the_smaller_one(name: str, tmp_path: Path) -> None:
    small = SEARCHES[name].run(tmp_path, sweep__max_trials=5)
    raised = SEARCHES[name].run(tmp_path)
    kept = len(small.journal.records)
    assert told(raised.journal.records)[:kept] == told(small.journal.records)
    assert len(raised.state.trials) == 14


@every_search
def test_a_promotion_goes_on_where_the_trial_stood(
    name: str, undisturbed: Callable[[str], Run]
) -> None:
    whole = undisturbed(name)
    reached: dict[int, int] = {}
    for asked in whole.state.asks:
        assert asked.first_epoch == reached.get(asked.trial, 0)
        assert asked.last_epoch > asked.first_epoch
        reached[asked.trial] = asked.last_epoch
    for trial in whole.state.trials.values():
        assert [record.epoch for record in trial.history] == list(range(1, len(trial.history) + 1))
    promotes = any(asked.rung for asked in whole.state.asks)
    assert promotes == (not name.endswith(("full", "median")))


@every_search
@pytest.mark.parametrize("workers", [1, 3])
def test_answers_in_any_order_leave_nothing_open(name: str, workers: int, tmp_path: Path) -> None:
    search = SEARCHES[name]
    end = search.run(tmp_path, LateExecutor(fails, workers))
    assert not end.state.open_asks
    assert len(end.state.trials) == 14
    order = "".join(
        "a" if isinstance(record, Asked) else "t"
        for record in end.journal.records
        if isinstance(record, Asked | Told)
    )
    assert ("aaa" in order) == (workers == 3)
    # And a fresh search that is given those records stands where this one stands.
    again = search.run(tmp_path, LateExecutor(fails, workers))
    assert again.journal.records == end.journal.records
    assert again.executor.rungs == []


@pytest.mark.slow
@each_part
def test_failures_starve_nobody(name: str, tmp_path: Path) -> None:
    def most_fail(config: RunConfig) -> bool:
        return config.train.optimizer.name == "sgd"

    end = SEARCHES[name].run(tmp_path, InstantExecutor(most_fail), sweep__max_trials=30)
    assert len(end.state.failed_trials) > 5
    longest = max(trial.last_epoch for trial in end.state.ranking())
    assert longest == SEARCHES[name].config().train.epochs


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=() if n in QUICK and "objectives" not in n else pytest.mark.release)
        for n in SEARCHES
    ],
)
def test_a_small_space_is_used_up_and_its_best_is_trained_to_the_end(
    name: str, tmp_path: Path
) -> None:
    search = SEARCHES[name]
    config = search.config(
        sweep__max_trials=None if name.startswith("grid") else 500,
        sweep__start_with=[],
        sweep__max_mflops=None,
    )
    end = run(config, tmp_path, InstantExecutor(), own=search.own)
    assert end.reason.endswith("has nothing more to propose")
    tried = {canonical_json(asked.overrides) for asked in end.state.asks if asked.rung == 0}
    assert len(tried) == len(end.state.trials) == POINTS
    assert end.state.best is not None
    assert max(trial.last_epoch for trial in end.state.ranking()) == config.train.epochs


@every_search
def test_each_infeasible_point_is_recorded_once(
    name: str, undisturbed: Callable[[str], Run]
) -> None:
    found = Counter(
        canonical_json(record.values)
        for record in undisturbed(name).journal.records
        if isinstance(record, FoundInfeasible)
    )
    assert found
    assert set(found.values()) == {1}


@pytest.mark.parametrize("scheduler", ["asha", "hyperband"])
def test_a_budget_in_steps_has_no_rungs(scheduler: str) -> None:
    config = Search("random", scheduler, {"train__epochs": None, "train__steps": 9}).config()
    with pytest.raises(ConfigError, match=rf"^train.epochs=null: scheduler={scheduler} n"):
        plan_of(config, Path()).open_scheduler(lambda values, reason: None)


def test_keras_tuner_s_hyperband_is_its_own_scheduler() -> None:
    config = Search("hyperband", "asha").config()
    with pytest.raises(ConfigError, match=r"^scheduler=asha: tuner=hyperband sets the"):
        plan_of(config, Path()).open_scheduler(lambda values, reason: None)


def test_tpe_learns_where_points_set_their_own_epochs(tmp_path: Path) -> None:
    space = {
        "train": {
            "epochs": {"int": [1, 12]},
            "optimizer": {"learning_rate": {"float": [1e-4, 1e-2], "log": True}},
        }
    }
    config = config_with(space, tuner="tpe", tuner__initial_points=5, sweep__max_trials=9)
    proposed = run(config, tmp_path / "tpe").state.asks
    as_at_random = config_with(space, tuner="tpe", tuner__initial_points=99, sweep__max_trials=9)
    drawn = run(as_at_random, tmp_path / "random").state.asks
    same = [a.overrides == b.overrides for a, b in zip(proposed, drawn, strict=True)]
    assert same == [True] * 5 + [False] * 4
