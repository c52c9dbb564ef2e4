"""Which best models MLflow has at a sweep's end: those of its best trials, whatever came before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from search_fakes import InstantExecutor, config_with, run

from fmnist_sweep.executors.protocol import OnEpoch, Rung
from fmnist_sweep.journal.file import JOURNAL_FILE, Journal
from fmnist_sweep.journal.records import Told, TrialStatus
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.sweep.trial_folders import trial_folder
from fmnist_sweep.tracking.kept_models import KeptModels


class Has:
    """A tracker that knows which runs have a model."""

    def __init__(self) -> None:
        self.models: dict[str, bytes] = {}

    def file(self, key: str, path: Path, folder: str = "", **_: object) -> None:
        self.models[key] = path.read_bytes()

    def remove(self, key: str, path: str) -> None:
        self.models.pop(key, None)


class Saving(InstantExecutor):
    """Leaves a best model; what is promoted breaks now and then."""

    def submit(self, rung: Rung, on_epoch: OnEpoch) -> Any:
        future = super().submit(rung, on_epoch)
        result = future.result().result
        if result is not None:
            rung.folder.mkdir(parents=True, exist_ok=True)
            (rung.folder / "best.keras").write_text(result.best_weights_sha256)
        return future


@examples(40)
@given(
    most=st.none() | st.integers(1, 4),
    seed=st.integers(0, 50),
    breaks=st.integers(0, 3),
    budgets=st.lists(st.integers(1, 12), min_size=1, max_size=3).map(sorted),
)
@pytest.mark.parametrize("tuner", ["random", "hyperband"])
def test_at_the_end_they_are_those_of_the_best(
    tuner: str,
    most: int | None,
    seed: int,
    breaks: int,
    budgets: list[int],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder, tracker = tmp_path_factory.mktemp("sweep"), Has()
    for budget in budgets:
        config = config_with(
            {"train": {"batch_size": {"int": [10, 60]}}},
            tuner=tuner,
            tuner__seed=seed,
            train__epochs=4,
            sweep__max_trials=budget,
            sweep__max_failure_rate=1.0,
            tracking__keep_checkpoints=most,
        )
        models = KeptModels(
            tracker,  # type: ignore[arg-type]  # all that is called
            lambda number: trial_folder(folder, number) / "best.keras",
            str,
            config,
        )

        def observer(record: Any, state: Any, models: KeptModels = models) -> None:
            if isinstance(record, Told):
                if record.status is TrialStatus.FAILED:
                    models.give_up(record.trial)
                else:
                    models.log(record.trial, state)

        # A resume tells what there is: of each trial the latest rung.
        journal, state = Journal(folder / JOURNAL_FILE), SweepState(config.sweep.objective)
        latest = {r.trial: r.ask for r in journal.records if isinstance(r, Told)}
        for record in state.taking_in(journal):
            if isinstance(record, Told) and latest[record.trial] == record.ask:
                observer(record, state)

        fails = lambda given: bool(breaks) and given.train.batch_size % 7 < breaks  # noqa: E731
        end = run(config, folder, Saving(fails), observer=observer)
        models.settle(end.state)
        ranking = end.state.ranking()
        wanted = ranking if most is None else ranking[:most]
        for trial in wanted:
            assert trial.result is not None
            has = tracker.models[str(trial.number)]
            assert has.decode() == trial.result.best_weights_sha256
        if most is not None:
            assert tracker.models.keys() == {str(trial.number) for trial in wanted}
