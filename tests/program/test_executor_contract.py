"""What holds for every executor: `submit(rung, on_epoch) -> future`, and `wait`."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny_training import SHRUNK, without_times

from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.errors import RunError
from fmnist_sweep.executors.opening import open_executor
from fmnist_sweep.executors.protocol import Executor, Rung, RungOutcome
from fmnist_sweep.runtime import cores
from fmnist_sweep.training.checkpoint import CheckpointFolder
from fmnist_sweep.training.preparation import Prepared, prepare
from fmnist_sweep.training.progress import StepProgress
from fmnist_sweep.training.results import BEST_MODEL_FILE, EpochRecord, RunResult

pytestmark = pytest.mark.slow

CONFIG = [*SHRUNK, "split.validation=40", "split.test=20", f"train.threads={cores()}"]
RAY = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: make setup RAY=1"
)
steps: list[tuple[Rung, StepProgress]] = []


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(compose_config(CONFIG).run)


@pytest.fixture(
    scope="module",
    params=[
        ["executor=inline"],
        ["executor=processes", "executor.workers=1"],
        pytest.param(["executor=ray", "executor.workers=1"], marks=RAY),
    ],
    ids=lambda words: words[0].partition("=")[2],
)
def executor(
    request: pytest.FixtureRequest, prepared: Prepared, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Executor]:
    config = compose_config([*CONFIG, *request.param])
    steps.clear()
    folder = tmp_path_factory.mktemp("sweep")
    with open_executor(config, prepared, None, folder, lambda *told: steps.append(told)) as opened:
        yield opened


def rung_in(folder: Path, *overrides: str, first: int = 0, last: int = 3) -> Rung:
    return Rung(compose_config([*CONFIG, *overrides]).run, first, last, folder)


def come(
    executor: Executor, rung: Rung, on_epoch: Callable[[EpochRecord], bool] = lambda _: False
) -> RungOutcome:
    future = executor.submit(rung, on_epoch)
    while not executor.wait([future]):
        pass
    return future.result()


def timeless(result: RunResult | None) -> dict[str, object]:
    assert result is not None
    values = dataclasses.asdict(result)
    del values["train_seconds"], values["best_metrics"]["epoch_seconds"]
    return values


def test_a_rung_and_its_promotion_leave_what_a_straight_training_leaves(
    executor: Executor, tmp_path: Path
) -> None:
    heard: list[EpochRecord] = []
    straight = come(executor, rung_in(tmp_path / "straight"))
    assert {told.folder for told, _ in steps} == {tmp_path / "straight"}
    come(executor, rung_in(tmp_path / "rungs", last=1))
    rungs = come(
        executor, rung_in(tmp_path / "rungs", first=1), lambda record: bool(heard.append(record))
    )
    assert timeless(rungs.result) == timeless(straight.result)
    kept = [CheckpointFolder(tmp_path / name).latest(3) for name in ("straight", "rungs")]
    assert kept[0] is not None
    assert kept[1] is not None
    assert without_times(kept[0].history) == without_times(kept[1].history)
    assert kept[0]._digests() == kept[1]._digests()
    assert [record.epoch for record in heard] == [1, 2, 3]
    assert {path.name for path in (tmp_path / "rungs").iterdir()} >= {
        BEST_MODEL_FILE, CheckpointFolder.FILES[0],
    }  # fmt: skip


def test_a_rung_is_stopped_or_fails_or_has_no_place_for_its_files(
    executor: Executor, tmp_path: Path
) -> None:
    stopped = come(executor, rung_in(tmp_path / "stopped"), lambda record: record.epoch == 1)
    assert stopped.result is not None
    assert stopped.result.last_epoch == 1
    failed = come(executor, rung_in(tmp_path / "failed", "train.optimizer.learning_rate=1e30"))
    assert failed.result is None
    assert failed.reason is not None
    assert "not finite" in failed.reason
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="file"):
        come(executor, rung_in(tmp_path / "file" / "trial", last=1))


def test_what_the_owner_raises_ends_the_sweep(executor: Executor, tmp_path: Path) -> None:
    def breaks(record: EpochRecord) -> bool:
        raise RunError("the journal cannot be written")

    with pytest.raises(RunError, match="the journal cannot be written"):
        come(executor, rung_in(tmp_path / "trial", last=1), breaks)
