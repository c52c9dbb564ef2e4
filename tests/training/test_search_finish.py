"""After the search: confirming the best with fresh seeds, one look at the official test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from search_fakes import InstantExecutor, Run, config_with, journal_of, run, score, told

from fmnist_sweep.config.schema import Config
from fmnist_sweep.errors import SweepStopped
from fmnist_sweep.journal.file import JOURNAL_FILE, Journal
from fmnist_sweep.journal.records import Confirmed, LookedAtOfficialTest, Record
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.space.overrides import apply_overrides
from fmnist_sweep.sweep.finish import confirm, confirmation_epochs, look_at_official_test
from fmnist_sweep.training.batches import ImageSet
from fmnist_sweep.training.checkpoint import weights_digest
from fmnist_sweep.training.results import BEST_MODEL_FILE


def sweep(top: int = 2, seeds: int = 3, **values: Any) -> Config:
    return config_with(
        {"train": {"batch_size": {"int": [1, 100]}}},
        sweep__max_trials=5,
        sweep__confirm={"top": top, "seeds": seeds},
        **values,
    )


class Recorder:
    """What confirming needs of a sweep's loop."""

    def __init__(self, journal: Journal, state: SweepState, stop_after: int | None) -> None:
        self._journal, self._state, self._stop_after = journal, state, stop_after
        self.made: list[Record] = []
        self.said_where = 0

    def record(self, record: Record) -> None:
        assert self.said_where == len(self.made) + 1, "where it trains is said before it does"
        self._journal.append(record)
        self._state.apply(record)
        self.made.append(record)
        if len(self.made) == self._stop_after:
            raise KeyboardInterrupt

    def say_where(self) -> None:
        self.said_where += 1


def confirming(
    config: Config, folder: Path, executor: InstantExecutor, stop_after: int | None = None
) -> tuple[SweepState, Journal]:
    """Confirm what the folder's journal has, until so many confirmations are on disk."""
    journal = Journal(folder / JOURNAL_FILE)
    state = SweepState.after(journal, config.sweep.objective)
    confirm(config, state, executor, folder, Recorder(journal, state, stop_after))
    return state, journal


@pytest.fixture
def searched(tmp_path: Path) -> Run:
    return run(sweep(), tmp_path)


def test_the_best_are_trained_again_with_fresh_seeds(searched: Run, tmp_path: Path) -> None:
    executor = InstantExecutor()
    before = searched.state.ranking()
    state, _ = confirming(sweep(), tmp_path, executor)
    base = sweep().run
    expected = []
    for trial in before[:2]:
        chosen = apply_overrides(base, trial.overrides)
        for seed in (base.train.seed + n for n in (1, 2, 3)):
            train = chosen.train.model_copy(update={"seed": seed})
            expected.append(chosen.model_copy(update={"train": train}))
    assert [rung.config for rung in executor.rungs] == expected
    assert [rung.last_epoch for rung in executor.rungs] == [base.train.epochs] * 6
    assert len({rung.folder for rung in executor.rungs}) == 6
    for trial in before[:2]:
        confirmations = state.trials[trial.number].confirmations
        assert [c.seed for c in confirmations] == [2, 3, 4]
        assert confirmations[0].score == confirmations[0].result.best_metrics["val_accuracy"]
    assert {t.number for t in state.ranking()[:2]} == {t.number for t in before[:2]}
    assert confirmation_epochs(sweep(), 5) == len(executor.rungs) * 5


def test_without_confirm_nothing_is_done(searched: Run, tmp_path: Path) -> None:
    config = sweep().model_copy(
        update={"sweep": sweep().sweep.model_copy(update={"confirm": None})}
    )
    executor = InstantExecutor()
    confirming(config, tmp_path, executor)
    assert executor.rungs == []
    assert confirmation_epochs(config, 5) == 0


@pytest.mark.parametrize("stop_after", [1, 3, 5, 6])
def test_stopped_in_the_middle_it_goes_on_and_confirms_the_same(
    stop_after: int, searched: Run, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    journal_of(searched.journal.records, whole)
    _, at_once = confirming(sweep(), whole, InstantExecutor())
    with pytest.raises(KeyboardInterrupt):
        confirming(sweep(), tmp_path, InstantExecutor(), stop_after)
    executor = InstantExecutor()
    _, resumed = confirming(sweep(), tmp_path, executor)
    assert len(executor.rungs) == 6 - stop_after
    assert told(resumed.records) == told(at_once.records)


class LeavesCheckpoints(InstantExecutor):
    def submit(self, rung: Any, on_epoch: Any) -> Any:
        rung.folder.mkdir(parents=True)
        (rung.folder / "checkpoint.npz").write_bytes(b"large")
        return super().submit(rung, on_epoch)


def test_no_checkpoint_of_a_confirmation_is_left_not_even_after_a_kill(
    searched: Run, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        confirming(sweep(), tmp_path, LeavesCheckpoints(), stop_after=2)
    assert list(tmp_path.rglob("checkpoint.npz"))
    confirming(sweep(), tmp_path, LeavesCheckpoints())
    assert not list(tmp_path.rglob("checkpoint.npz"))


def test_more_seeds_and_more_trials_add_to_what_is_there(searched: Run, tmp_path: Path) -> None:
    confirming(sweep(top=1, seeds=2), tmp_path, InstantExecutor())
    executor = InstantExecutor()
    state, _ = confirming(sweep(top=2, seeds=3), tmp_path, executor)
    assert len(executor.rungs) == 1 + 3
    assert sorted(len(t.confirmations) for t in state.trials.values()) == [0, 0, 0, 3, 3]


def test_confirmations_do_not_change_who_is_confirmed(searched: Run, tmp_path: Path) -> None:
    # The best by its search turns out the worst by its first fresh seeds.
    worst = searched.state.ranking()[0]
    result = worst.result
    assert result is not None
    journal = Journal(tmp_path / JOURNAL_FILE)
    for seed in (2, 3):
        journal.append(Confirmed(worst.number, seed, 0.0, result, 1.0))
    executor = InstantExecutor()
    state, _ = confirming(sweep(), tmp_path, executor)
    assert len(executor.rungs) == 1 + 3
    assert sum(bool(trial.confirmations) for trial in state.trials.values()) == 2


def test_fewer_trials_than_are_to_be_confirmed_are_all_confirmed(
    searched: Run, tmp_path: Path
) -> None:
    executor = InstantExecutor()
    confirming(sweep(top=50), tmp_path, executor)
    assert len(executor.rungs) == 5 * 3


def test_a_confirmation_that_breaks_stops_with_its_reason(searched: Run, tmp_path: Path) -> None:
    best = searched.state.ranking()[0].number
    with pytest.raises(
        SweepStopped, match=rf"^confirming trial {best} with seed 2: TrialFailed: i"
    ):
        confirming(sweep(), tmp_path, InstantExecutor(lambda config: True))


def test_confirmed_scores_are_those_of_other_seeds(searched: Run, tmp_path: Path) -> None:
    state, _ = confirming(sweep(), tmp_path, InstantExecutor())
    best = state.ranking()[0]
    chosen = apply_overrides(sweep().run, best.overrides)
    for confirmation in best.confirmations:
        train = chosen.train.model_copy(update={"seed": confirmation.seed})
        epochs = chosen.train.epochs or 0
        assert confirmation.score == score(chosen.model_copy(update={"train": train}), epochs)


# --- the official test --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that always says class 1, as a trial leaves it."""
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    model.layers[-1].set_weights([np.zeros((16, 2)), np.array([-5.0, 5.0])])
    path = tmp_path_factory.mktemp("model") / BEST_MODEL_FILE
    model.save(path)
    return path


def official() -> ImageSet:
    return ImageSet(np.zeros((8, 4, 4, 1), np.uint8), np.array([1, 1, 1, 1, 1, 1, 0, 0]), 2)


def looks(state: SweepState, folder: Path, images: ImageSet | None) -> list[LookedAtOfficialTest]:
    made: list[LookedAtOfficialTest] = []

    def record(record: Record) -> None:
        assert isinstance(record, LookedAtOfficialTest)
        state.apply(record)
        made.append(record)

    def files(number: int) -> list[Path]:
        return [folder / "gone.keras", folder / f"{number:04d}" / BEST_MODEL_FILE]

    look_at_official_test(state, images, files, record)
    return made


def test_the_winner_is_looked_at_once_and_counted(
    searched: Run, saved_model: Path, tmp_path: Path
) -> None:
    state = searched.state
    best = state.best
    assert best is not None
    place = tmp_path / f"{best.number:04d}"
    place.mkdir()
    (place / BEST_MODEL_FILE).write_bytes(saved_model.read_bytes())
    assert best.result is not None
    digest = weights_digest(keras.saving.load_model(saved_model).get_weights())
    best.result = replace(best.result, best_weights_sha256=digest)
    (look,) = looks(state, tmp_path, official())
    assert (look.trial, look.images, look.accuracy) == (best.number, 8, 0.75)
    assert looks(state, tmp_path, official()) == []
    assert state.official == [look]
    # The same trial, trained on: other weights, another look; but not with the old file.
    best.result = replace(best.result, best_weights_sha256="others")
    assert looks(state, tmp_path, official()) == []
    model = keras.saving.load_model(saved_model)
    model.layers[-1].set_weights([np.zeros((16, 2)), np.array([5.0, -5.0])])
    model.save(place / BEST_MODEL_FILE)
    digest = weights_digest(model.get_weights())
    best.result = replace(best.result, best_weights_sha256=digest)
    assert [look.accuracy for look in looks(state, tmp_path, official())] == [0.25]
    assert len(state.official) == 2


def test_without_an_official_set_or_a_winner_nobody_looks(searched: Run, tmp_path: Path) -> None:
    assert looks(searched.state, tmp_path, None) == []
    assert looks(SweepState(sweep().sweep.objective), tmp_path, official()) == []
