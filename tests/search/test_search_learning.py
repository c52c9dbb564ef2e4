"""Sweeps that learn from earlier ones, and begin with their winners."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from search_fakes import Run, config_with, prepared, run, told

from fmnist_sweep.config.schema import Config
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.files import canonical_json
from fmnist_sweep.journal.file import JOURNAL_FILE, Journal
from fmnist_sweep.journal.identity import sweep_identity
from fmnist_sweep.journal.records import SCHEMA, Asked, Begun, Learnt, from_json, to_json
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.space.reading import read_space
from fmnist_sweep.sweep.learning import check_can_learn, learn
from fmnist_sweep.sweep.results import CONFIG_FILE

SPACE: dict[str, Any] = {
    "train": {
        "batch_size": {"choice": [16, 32, 64]},
        "optimizer": {"learning_rate": {"float": [1e-4, 1e-1], "log": True}},
        "label_smoothing": {"float": [0.0, 0.3], "step": 0.1},
    },
    "model": {"conv_blocks": {"count": {"int": [1, 2]}, "each": {"channels": {"int": [4, 16]}}}},
}
LEARNING: dict[str, dict[str, Any]] = {
    "tpe": {"tuner__initial_points": 5},
    "cmaes": {"tuner__population": 5},
    "bayesian": {"tuner__initial_points": 5},
}
each_tuner = pytest.mark.parametrize("tuner", LEARNING)


def sweep(tuner: str = "random", space: dict[str, Any] = SPACE, **values: Any) -> Config:
    given = {"train__epochs": 3, "sweep__max_trials": 8, **LEARNING.get(tuner, {}), **values}
    return config_with(space, tuner=tuner, **given)


def identity_of(config: Config) -> dict[str, Any]:
    data = prepared()
    space, _ = read_space(config)
    return sweep_identity(config, space, data.dataset.sha256, data.split.sha256, None)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Runs a sweep, and leaves it in the working directory as `run_sweep` does."""
    monkeypatch.chdir(tmp_path)

    def keep(name: str, config: Config, **identity: Any) -> Run:
        folder = tmp_path / "mlruns" / "sweeps" / name
        folder.mkdir(parents=True)
        known = {**identity_of(config), **identity}
        Journal(folder / JOURNAL_FILE).append(Begun(SCHEMA, name, known, "python", 1.0))
        given = {**config.model_dump(), "model": config.model.as_given()}
        (folder / CONFIG_FILE).write_text(canonical_json(given))
        return run(config, folder)

    return keep


def learning(config: Config, folder: Path) -> Run:
    """Run a sweep as `run_sweep` does: what is learnt comes first in the journal."""
    journal = Journal(folder / JOURNAL_FILE)
    if not journal.records:
        space, _ = read_space(config)
        journal.append(learn(config, space, identity_of(config)).learnt)
    return run(config, folder)


def points_of(end: Run) -> list[dict[str, Any]]:
    return [asked.overrides for asked in end.state.asks]


@pytest.mark.slow
@each_tuner
def test_what_is_learnt_makes_other_proposals_at_the_beginning(
    tuner: str, kept: Callable[..., Run], tmp_path: Path
) -> None:
    old = kept("old", sweep(sweep__max_trials=12))
    config = sweep(tuner, sweep__learn_from=["old"])
    end = learning(config, tmp_path / "new")
    alone = run(sweep(tuner), tmp_path / "alone")
    assert points_of(end)[:4] != points_of(alone)[:4], "which are random where nothing is known"
    assert len(end.state.trials) == 8, "what is learnt is no trial of the sweep"
    learnt = end.state.learnt
    assert learnt is not None
    assert [one.trial for one in learnt.observations] == list(old.state.trials)
    for one in learnt.observations:
        history = old.state.trials[one.trial].history
        assert one.scores == tuple(record.metrics["val_accuracy"] for record in history)


@pytest.mark.slow
@each_tuner
def test_a_resume_after_any_record_needs_the_old_sweep_no_more(
    tuner: str, kept: Callable[..., Run], tmp_path: Path
) -> None:
    kept("old", sweep(sweep__max_trials=12))
    config = sweep(tuner, sweep__learn_from=["old"])
    whole = learning(config, tmp_path / "whole")
    records = whole.journal.records
    (tmp_path / "mlruns").rename(tmp_path / "gone")
    # Keras Tuner's process is fitted for seconds at each ask.
    for cut in range(1, len(records), 21 if tuner == "bayesian" else 7):
        folder = tmp_path / f"cut-{cut}"
        folder.mkdir()
        for record in records[:cut]:
            Journal(folder / JOURNAL_FILE).append(record)
        assert told(learning(config, folder).journal.records) == told(records)


def test_with_a_scheduler_it_counts_at_the_rungs_that_it_reached(
    kept: Callable[..., Run], tmp_path: Path
) -> None:
    kept("old", sweep(train__epochs=9, sweep__max_trials=20))
    values = {"scheduler": "asha", "train__epochs": 9, "sweep__max_trials": 6}
    given = {**LEARNING["tpe"], **values}
    end = learning(
        config_with(SPACE, tuner="tpe", **given, sweep__learn_from=["old"]), tmp_path / "new"
    )
    alone = run(config_with(SPACE, tuner="tpe", **given), tmp_path / "alone")
    first = [asked for asked in end.state.asks if asked.rung == 0]
    assert {asked.last_epoch for asked in first} == {1}
    assert first[0].overrides != alone.state.asks[0].overrides


def test_others_are_left_out_and_counted(kept: Callable[..., Run], tmp_path: Path) -> None:
    wider = {**SPACE, "train": {**SPACE["train"], "batch_size": {"choice": [16, 128]}}}
    old = kept("old", sweep(space=wider, sweep__max_trials=12))
    config = sweep("tpe", sweep__learn_from=["old"])
    lessons = learn(config, read_space(config)[0], identity_of(config))
    sizes = [trial.overrides["train.batch_size"] for trial in old.state.trials.values()]
    assert len(lessons.learnt.observations) == sizes.count(16)
    assert lessons.remarks == [
        f"sweep.learn_from: {sizes.count(16)} trials of old; left out: {sizes.count(128)} outside "
        "of the space"
    ]


@pytest.mark.parametrize(
    ("identity", "why"),
    [
        ({"data": "other"}, "8 of other data or another split"),
        ({"split": "other"}, "8 of other data or another split"),
        ({"build_model": {"name": "mine"}}, "8 of another build_model"),
    ],
)
def test_nothing_to_learn_from_is_an_error(
    identity: dict[str, Any], why: str, kept: Callable[..., Run]
) -> None:
    kept("old", sweep(), **identity)
    config = sweep("tpe", sweep__learn_from=["old"])
    with pytest.raises(ConfigError) as caught:
        learn(config, read_space(config)[0], identity_of(config))
    assert str(caught.value) == f"sweep.learn_from.0: there is nothing to learn from old: {why}"


@pytest.mark.parametrize(
    ("schedule", "depends"),
    [("constant", False), ("step", False), ("cosine", True), ("linear", True), ("one_cycle", True)],
)
def test_other_epochs_matter_under_a_schedule_that_ends_with_them(
    schedule: str, depends: bool, kept: Callable[..., Run]
) -> None:
    kept("old", sweep(train__epochs=2, train__seed=5, train__schedule__name=schedule))
    config = sweep("tpe", sweep__learn_from=["old"], train__schedule__name=schedule)
    if depends:
        with pytest.raises(ConfigError, match="8 outside of the space"):
            learn(config, read_space(config)[0], identity_of(config))
    else:
        learnt = learn(config, read_space(config)[0], identity_of(config)).learnt
        assert {len(one.scores) for one in learnt.observations} == {2}


def test_an_unknown_sweep_is_named(kept: Callable[..., Run]) -> None:
    kept("old", sweep())
    config = sweep("tpe", sweep__learn_from=["older"])
    with pytest.raises(ConfigError, match=r"^sweep.learn_from.0: sweep older: not found; .*: old"):
        learn(config, read_space(config)[0], identity_of(config))


@pytest.mark.parametrize("tuner", ["random", "grid", "qmc", "hyperband"])
def test_a_tuner_that_learns_nothing_is_refused(tuner: str) -> None:
    config = sweep(tuner, sweep__learn_from=["old"])
    with pytest.raises(ConfigError) as caught:
        check_can_learn(config, own_tuner=False)
    assert str(caught.value) == (
        f"sweep.learn_from: tuner={tuner} learns nothing from results; allowed: "
        "tuner=bayesian, tpe, cmaes"
    )
    check_can_learn(config, own_tuner=True)


def test_the_random_points_are_others_than_the_earlier_sweep_s(
    kept: Callable[..., Run], tmp_path: Path
) -> None:
    old = kept("old", sweep("tpe", tuner__initial_points=50))
    end = learning(
        sweep("tpe", tuner__initial_points=50, sweep__learn_from=["old"]), tmp_path / "new"
    )
    assert not [point for point in points_of(end) if point in points_of(old)]


def test_an_earlier_winner_is_tried_first(kept: Callable[..., Run]) -> None:
    old = kept("old", sweep())
    config = sweep(sweep__start_with=[{"best_of": "old"}, {"train.batch_size": 16}])
    learnt = learn(config, read_space(config)[0], identity_of(config)).learnt
    assert old.state.best is not None
    assert learnt.start_with == (old.state.best.overrides, {"train.batch_size": 16})
    assert learnt.observations == ()


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ({"best_of": "old", "train.seed": 1}, "best_of cannot be combined with train.seed"),
        ({"best_of": "new"}, "sweep new: not found; there are: old"),
        ({"best_of": "old"}, "the winner of old is outside of the space"),
    ],
)
def test_a_winner_that_cannot_be_tried_is_refused(
    start: dict[str, Any], said: str, kept: Callable[..., Run]
) -> None:
    kept("old", sweep())
    narrow = {"train": {"batch_size": {"choice": [100, 200]}}}
    config = sweep(space=narrow, sweep__start_with=[{}, start])
    with pytest.raises(ConfigError) as caught:
        learn(config, read_space(config)[0], identity_of(config))
    assert str(caught.value) == f"sweep.start_with.1: {said}"


def test_the_record_is_read_as_it_was_written(kept: Callable[..., Run]) -> None:
    kept("old", sweep())
    config = sweep("tpe", sweep__learn_from=["old"], sweep__start_with=[{"best_of": "old"}])
    learnt = learn(config, read_space(config)[0], identity_of(config)).learnt
    assert from_json(to_json(learnt)) == learnt
    state = SweepState(config.sweep.objective)
    state.apply(learnt)
    assert state.learnt == replace(learnt)


def test_what_is_learnt_is_part_of_what_a_sweep_is() -> None:
    assert identity_of(sweep("tpe")) != identity_of(sweep("tpe", sweep__learn_from=["old"]))
    assert "learn_from" not in identity_of(sweep("tpe"))


def test_learning_counts_no_trial_as_tried(kept: Callable[..., Run], tmp_path: Path) -> None:
    small = {"train": {"batch_size": {"choice": [16, 32, 64]}}}
    kept("old", sweep(space=small, tuner="grid", sweep__max_trials=3))
    config = sweep("tpe", small, sweep__learn_from=["old"])
    end = learning(config, tmp_path / "new")
    tried = {a.overrides["train.batch_size"] for a in end.state.asks if isinstance(a, Asked)}
    assert tried == {16, 32, 64}
    assert isinstance(end.journal.records[0], Learnt)
