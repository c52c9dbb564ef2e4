"""Rungs in worker processes: the same results, and a worker that dies costs a retry only."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import keras
import numpy as np
import pytest
from forked import forked_pool
from program import QUICK_SPACE, SMALL, Store, leaderboard, program, started, sweep_folder
from tiny_training import STEPS, config_of, data_of, without_times

from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.errors import RunError
from fmnist_sweep.executors.processes import ProcessExecutor, worker_processes
from fmnist_sweep.executors.protocol import OnEpoch, OnRungStep, Rung, RungOutcome
from fmnist_sweep.executors.worker_messages import Job
from fmnist_sweep.runtime import cores
from fmnist_sweep.training.batches import TrainingData
from fmnist_sweep.training.progress import StepProgress
from fmnist_sweep.training.results import EpochRecord, RunResult
from fmnist_sweep.training.train import STEPS_AT_ONCE, ModelBuilder

THREADS = cores()  # as this process has it: bits depend on it


@contextmanager
def workers(
    folder: Path,
    count: int = 1,
    *,
    retries: int = 1,
    build_model: ModelBuilder | None = None,
    on_step: OnRungStep | None = None,
) -> Iterator[ProcessExecutor]:
    data_of(config_of()).save(folder / "data")
    job = Job(folder / "data", 10, THREADS, build_model, None, tells_steps=on_step is not None)
    with worker_processes(count, retries, job, on_step or no_steps) as executor:
        yield executor


@pytest.fixture
def _forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what comes after a worker's start, which takes seconds."""
    monkeypatch.setattr("fmnist_sweep.executors.processes.ProcessPoolExecutor", forked_pool)


def no_steps(rung: Rung, progress: StepProgress) -> None:
    raise AssertionError("nobody watches")


def rung_in(folder: Path, *overrides: str, last_epoch: int = 3) -> Rung:
    return Rung(config_of(f"train.threads={THREADS}", *overrides), 0, last_epoch, folder)


def quietly(record: EpochRecord) -> bool:
    return False


def come(executor: ProcessExecutor, rung: Rung, on_epoch: OnEpoch = quietly) -> RungOutcome:
    future = executor.submit(rung, on_epoch)
    assert executor.wait([future]) == {future}
    return future.result()


def timeless(result: RunResult | None) -> dict[str, object]:
    assert result is not None
    values = dataclasses.asdict(result)
    del values["train_seconds"], values["best_metrics"]["epoch_seconds"]
    return values


def here(rung: Rung) -> tuple[RunResult, list[EpochRecord]]:
    """The same rung, trained in this process."""
    from fmnist_sweep.training.rung import default_builder, run_rung

    heard: list[EpochRecord] = []
    result = run_rung(
        rung.config, data_of(config_of()), rung.last_epoch, rung.folder,
        build_model=default_builder, on_epoch=lambda record: bool(heard.append(record)),
    )  # fmt: skip
    return result, heard


def test_workers_give_what_this_process_gives_whoever_dies(tmp_path: Path) -> None:
    """One executor throughout, as a sweep has it: starting TensorFlow is what takes time."""
    seeds = [f"train.seed={seed}" for seed in range(4)]
    heard: dict[str, list[EpochRecord]] = {seed: [] for seed in seeds}
    killed: list[int] = []

    with workers(tmp_path, 2, retries=2) as executor:

        def hears(seed: str) -> OnEpoch:
            def on_epoch(record: EpochRecord) -> bool:
                if record.epoch > len(heard[seed]):
                    heard[seed].append(record)
                if seed == seeds[1] and record.epoch == 2 and not killed:
                    [slot] = [s for s in executor._slots if s.task and seed in str(s.task.rung)]
                    killed.append(process_of(slot.process))
                    os.kill(killed[0], signal.SIGKILL)
                return False

            return on_epoch

        rungs = {seed: rung_in(tmp_path / seed, seed) for seed in seeds}
        futures = {seed: executor.submit(rung, hears(seed)) for seed, rung in rungs.items()}
        while not all(future.done() for future in futures.values()):
            executor.wait([future for future in futures.values() if not future.done()])
        # SIGTERM is no different, between two rungs or in one.
        idle = process_of(executor._slots[0].process)
        os.kill(idle, signal.SIGTERM)
        wait_until(lambda: not is_running(idle))
        again = come(executor, rung_in(tmp_path / "again", seeds[0]))
        pids = [slot.process for slot in executor._slots]

    assert killed
    for seed in seeds:
        result, epochs = here(rung_in(tmp_path / f"{seed}-here", seed))
        assert timeless(futures[seed].result().result) == timeless(result)
        assert without_times(tuple(heard[seed])) == without_times(tuple(epochs))
        if seed == seeds[0]:
            assert timeless(again.result) == timeless(result)
    for pid in pids:
        wait_until(lambda pid=pid: pid is None or not is_running(pid))


@pytest.mark.usefixtures("_forked")
def test_a_rung_fails_whose_workers_die_more_often_than_it_is_retried(tmp_path: Path) -> None:
    tried: list[int] = []
    with workers(tmp_path, retries=1) as executor:

        def kill(record: EpochRecord) -> bool:
            tried.append(record.epoch)
            os.kill(process_of(executor._slots[0].process), signal.SIGKILL)
            return False

        died = come(executor, rung_in(tmp_path / "died"), kill)
    assert died.reason == (
        "its worker process died 2 times without a new epoch; possibly out of memory"
    )
    assert tried == [1, 1]


def test_a_worker_that_dies_before_it_can_train_costs_its_rung_nothing(tmp_path: Path) -> None:
    with workers(tmp_path, retries=0) as executor:
        with killed_while_starting(executor, 2) as killed:
            first = come(executor, rung_in(tmp_path / "starting"))
        assert len(killed) == 2
        # Stopped, it cannot begin the rung that it is given before it is killed.
        idle = process_of(executor._slots[0].process)
        os.kill(idle, signal.SIGSTOP)
        future = executor.submit(rung_in(tmp_path / "idle"), quietly)
        os.kill(idle, signal.SIGKILL)
        with killed_while_starting(executor, 2, but=idle) as killed:  # with the first two: four
            executor.wait([future])
        assert len(killed) == 2
    assert first.result is not None
    assert timeless(future.result().result) == timeless(first.result)


def test_workers_that_die_before_they_can_train_end_the_sweep(tmp_path: Path) -> None:
    with (
        workers(tmp_path, retries=9) as executor,
        killed_while_starting(executor, 3),
        pytest.raises(RunError, match="die before they can train, 3 in a row; use executor=inline"),
    ):
        come(executor, rung_in(tmp_path / "trial"))


@pytest.mark.usefixtures("_forked")
def test_deaths_count_from_the_last_epoch_that_a_rung_came_to(tmp_path: Path) -> None:
    killed: list[int] = []
    with workers(tmp_path, retries=1) as executor:

        def kill_once_an_epoch(record: EpochRecord) -> bool:
            if record.epoch not in killed:
                killed.append(record.epoch)
                os.kill(process_of(executor._slots[0].process), signal.SIGKILL)
            return False

        came = come(executor, rung_in(tmp_path / "trial", last_epoch=2), kill_once_an_epoch)
    assert killed == [1, 2], "one more than there are retries"
    assert timeless(came.result) == timeless(here(rung_in(tmp_path / "here", last_epoch=2))[0])


def test_a_builder_of_one_s_own_travels_by_value(tmp_path: Path) -> None:
    neurons = 5

    def build(config: RunConfig, shape: tuple[int, int, int], classes: int) -> keras.Model:
        return keras.Sequential([
            keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(neurons),
            keras.layers.Dense(classes, activation="softmax"),
        ])  # fmt: skip

    with workers(tmp_path, build_model=build) as executor:
        result = come(executor, rung_in(tmp_path / "trial", last_epoch=1)).result
    assert result is not None
    assert result.parameters == 64 * neurons + neurons + 10 * neurons + 10


def test_mapped_data_are_the_same_and_not_copied(tmp_path: Path) -> None:
    data = data_of(config_of())
    data.save(tmp_path)
    mapped = TrainingData.mapped(tmp_path, 10)
    assert mapped.validation is not None
    for name in ("train", "validation", "test"):
        theirs, ours = getattr(data, name), getattr(mapped, name)
        np.testing.assert_array_equal(theirs.images, ours.images)
        np.testing.assert_array_equal(theirs.labels, ours.labels)
        ours.images[0, 0, 0, 0] = 77
        assert int(ours._image_tensor[0, 0, 0, 0]) == 77, "the tensor is the map's memory"
    assert TrainingData.mapped(tmp_path, 10).train.images[0, 0, 0, 0] != 77, "the file is as it was"
    without = TrainingData(data.train, None, data.test)
    without.save(tmp_path / "without")
    assert TrainingData.mapped(tmp_path / "without", 10).validation is None


ARGUMENTS = [
    *SMALL, *QUICK_SPACE, "executor=processes", "sweep.max_trials=4", "train.epochs=3",
]  # fmt: skip


def test_a_sweep_in_processes_that_is_killed_and_interrupted_ends_as_one_in_line(
    tmp_path: Path,
) -> None:
    inline, stopped = tmp_path / "inline", tmp_path / "stopped"
    for folder in (inline, stopped):
        folder.mkdir()
    done = program(inline, *[word for word in ARGUMENTS if word != "executor=processes"])
    assert done.returncode == 0, done.stderr
    of_the_kill: set[Path] = set()
    socket_folders: list[Path] = []
    # A terminal's end, SIGHUP, is handled as Ctrl-C is: test_interrupts.py, test_torture.py.
    for number, epochs in ((signal.SIGKILL, 2), (signal.SIGINT, 6)):
        with started(stopped, *ARGUMENTS, own_group=True) as running:
            wait_until(lambda epochs=epochs: told_epochs(stopped) >= epochs)
            of_the_group = members(running.pid)
            socket_folder = socket_folder_of(running.pid)
            if number == signal.SIGKILL:
                running.send_signal(number)
            else:
                os.killpg(running.pid, number)  # as a terminal's Ctrl-C
            _, errors = running.communicate(timeout=300)
        assert running.returncode in (-number, 128 + number)
        assert "Traceback" not in errors
        wait_until(lambda pids=of_the_group: not any(is_running(pid) for pid in pids))
        left = {path.name for path in sweep_folder(stopped).iterdir()}
        half_made = set(sweep_folder(stopped).rglob(".*"))
        socket_folders.append(socket_folder)
        if number == signal.SIGKILL:
            # Gone when the next writer of that file comes by; the socket's folder with the next
            # sweep of this user, which may be another test's and over by now.
            of_the_kill = half_made
        else:
            assert not socket_folder.exists()
            assert "data" not in left
            assert half_made <= of_the_kill
    done = program(stopped, *ARGUMENTS)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^trial \d: val_accuracy", done.stdout, re.MULTILINE)
    assert not any(folder.exists() for folder in socket_folders)
    # Which trial ends first is chance; what each of them gives is not, nor who wins.
    by_trial = [leaderboard(folder).set_index("trial").sort_index() for folder in (inline, stopped)]
    assert by_trial[0].equals(by_trial[1])
    for mine, theirs in zip(Store(inline).children, Store(stopped).children, strict=True):
        assert mine.data.params == theirs.data.params
        assert mine.info.status == theirs.info.status == "FINISHED"
    left = {path.name for path in sweep_folder(stopped).iterdir()}
    assert left == {"best.yaml", "classes.csv", "config.json", "journal.jsonl", "lock"}


@contextmanager
def killed_while_starting(
    executor: ProcessExecutor, times: int, but: int | None = None
) -> Iterator[list[int]]:
    """Kill the next workers, that many, before they are ready. `but`: one that is already there."""
    [slot] = executor._slots
    killed: list[int] = []
    is_over = threading.Event()

    def kill() -> None:
        while len(killed) < times and not is_over.wait(0.005):
            process = slot.process
            if process not in (None, but, *killed):
                killed.append(process_of(process))
                os.kill(killed[-1], signal.SIGKILL)

    killing = threading.Thread(target=kill)
    killing.start()
    try:
        yield killed
    finally:
        is_over.set()
        killing.join()


def process_of(number: int | None) -> int:
    assert number is not None
    return number


def is_running(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def members(group: int) -> list[int]:
    """The processes of a process group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group:
            found.append(int(path.parent.name))
    return found


def socket_folder_of(process: int) -> Path:
    """Where that owner listens: it holds the folder open, which is its lock."""
    opened: set[Path] = set()
    for link in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            opened.add(link.readlink())
    [folder] = [place for place in opened if place.name.startswith("fmnist-socket-")]
    return folder


def told_epochs(folder: Path) -> int:
    journals = list(folder.glob("mlruns/sweeps/*/journal.jsonl"))
    return journals[0].read_text().count('"epoch_seconds"') if journals else 0


def wait_until(true: Callable[[], bool], seconds: float = 300.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


@pytest.mark.usefixtures("_forked")
def test_workers_report_steps_if_there_is_a_callback(tmp_path: Path) -> None:
    heard: list[tuple[Rung, StepProgress]] = []
    rung = rung_in(tmp_path / "a")
    with workers(tmp_path, on_step=lambda *told: heard.append(told)) as executor:
        outcome = come(executor, rung)
    # The first call's steps are always reported; how many more depends on the clock.
    assert (heard[0][1].epoch, heard[0][1].step) == (1, min(STEPS_AT_ONCE, STEPS))
    assert timeless(outcome.result) == timeless(here(rung_in(tmp_path / "here"))[0])
    assert all(told.last_epoch == 3 for _, told in heard)
    assert {told.folder for told, _ in heard} == {rung.folder}
