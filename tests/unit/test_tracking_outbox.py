"""What leaves the training through the outbox: all of it, in order, whatever the tracker does."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnist_sweep.errors import ConfigError, NotTracked, RunError
from fmnist_sweep.tracking import messages
from fmnist_sweep.tracking import outbox as module
from fmnist_sweep.tracking.outbox import Outbox, sending
from fmnist_sweep.tracking.tracker import RunStart, RunStatus
from fmnist_sweep.workspace import Workspace


class Away:
    """A tracker that takes a call only when `answers` says so; it keeps those it took."""

    def __init__(self, answers: Any) -> None:
        self.taken: list[int] = []
        self.tries = 0
        self._answers = answers

    def tags(self, key: str, tags: dict[str, str]) -> None:
        self.tries += 1
        if not self._answers(self.tries):
            raise RunError("nobody\nanswers")
        self.taken.append(int(tags["number"]))

    def where(self, key: str) -> str | None:
        return "an id"

    def close(self) -> None:
        pass


class Storage:
    """A tracker whose artifact storage is away for the first `vain` calls about files. As MLflow's,
    it takes no files of a run that has finished."""

    def __init__(self, vain: int) -> None:
        self.files: dict[str, list[str]] = {}
        self.statuses: dict[str, RunStatus] = {}
        self._vain = vain

    def start(self, run: RunStart) -> None:
        self.files[run.key], self.statuses[run.key] = [], RunStatus.RUNNING

    def content(self, key: str, make: Callable[[], str], name: str) -> None:
        self._vain -= 1
        if self._vain >= 0:
            raise RunError("the storage is away")
        if self.statuses[key] is not RunStatus.FINISHED:
            self.files[key].append(name)

    def end(self, key: str, status: RunStatus, *, at: float) -> None:
        self.statuses[key] = status

    def cut_off(self, key: str, status: RunStatus, reason: str | None, *, at: float) -> None:
        self.statuses[key] = status

    def where(self, key: str) -> str | None:
        return "an id"

    def is_stop_asked(self, key: str) -> bool:
        return False


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(messages, "LONGEST_WAIT", 0.01)


def put(box: Outbox, count: int) -> None:
    for number in range(count):
        box.tags("key", {"number": str(number)})


@pytest.mark.parametrize(
    "answers",
    [lambda n: True, lambda n: n % 2, lambda n: n % 7 == 0, lambda n: n > 20],
    ids=["always", "every second time", "every seventh time", "from the 21st on"],
)
def test_everything_arrives_once_and_in_order(answers: Any) -> None:
    tracker, said = Away(answers), []
    box = Outbox(tracker, said.append, "a sweep")  # type: ignore[arg-type] # all that is called
    put(box, 50)
    assert box.drain(30) is None
    assert tracker.taken == list(range(50))
    # Trouble is said once for each time that it begins, and once when it is over.
    assert said[::2] == ["nobody\nanswers"] * len(said[::2])
    assert said[1::2] == [None] * len(said[::2])
    box.finish()
    box.close()


@given(
    runs=st.lists(st.integers(0, 4), min_size=1, max_size=4),
    vain=st.integers(0, 6),
    pauses=st.sets(st.integers(0, 12)),
)
@settings(max_examples=100)
def test_no_run_finishes_before_its_files_are_sent(
    runs: list[int], vain: int, pauses: set[int]
) -> None:
    tracker, said = Storage(vain), []
    box = Outbox(tracker, said.append, "a sweep")  # type: ignore[arg-type] # all that is called
    steps = 0

    def step() -> None:
        nonlocal steps
        if steps in pauses:
            time.sleep(0.002)
        steps += 1

    for number, files in enumerate(runs):
        key = str(number)
        start = dict.fromkeys(field.name for field in fields(RunStart))
        box.start(RunStart(**{**start, "key": key}))  # type: ignore[arg-type] # the key is all
        for name in range(files):
            box.content(key, lambda: "text", str(name))
            step()
        box.end(key, RunStatus.FINISHED, at=1.0)
        step()
    assert box.drain(30) is None
    box.close()
    assert set(tracker.statuses.values()) == {RunStatus.FINISHED}
    sent = {key: sorted(names) for key, names in tracker.files.items()}
    assert sent == {str(n): list(map(str, range(files))) for n, files in enumerate(runs)}


def test_a_call_returns_at_once_while_the_tracker_is_stuck() -> None:
    free = threading.Event()
    tracker = Away(lambda n: free.wait(30))
    box = Outbox(tracker, lambda trouble: None, "a sweep")  # type: ignore[arg-type]
    put(box, 50)
    assert tracker.taken == []
    assert box.drain(0.05) == "50 calls are still being sent"
    free.set()
    assert box.drain(30) is None
    assert tracker.taken == list(range(50))


class Broken(Exception):
    """Of a kind that nobody has foreseen."""


def test_an_error_of_any_kind_is_trouble_and_does_not_end_the_sending() -> None:
    def breaks(tries: int) -> bool:
        if 1 < tries < 20:
            raise Broken("why?")
        return True

    tracker, said = Away(breaks), []
    box = Outbox(tracker, said.append, "a sweep")  # type: ignore[arg-type]
    put(box, 5)
    assert box.drain(30) is None
    assert tracker.taken == list(range(5))
    assert said == ["Broken: why?", None]
    box.finish()


def test_whoever_hears_of_trouble_may_fail() -> None:
    def fails(trouble: str | None) -> None:
        raise ValueError("I/O operation on closed file")

    tracker = Away(lambda n: n % 2 == 0)
    box = Outbox(tracker, fails, "a sweep")  # type: ignore[arg-type]
    put(box, 20)
    box.finish()
    assert tracker.taken == list(range(20))


def test_what_can_never_be_sent_holds_nothing_up_and_is_told_at_the_end() -> None:
    tracker = Away(lambda n: True)
    box = Outbox(tracker, lambda trouble: None, "sweep x")  # type: ignore[arg-type]
    put(box, 1)
    box.tags("key", {"no number": ""})
    put(box, 3)
    with pytest.raises(
        NotTracked,
        match=r"^sweep x: 1 message to the tracker refused, the first: KeyError: 'number'$",
    ):
        box.finish()
    assert tracker.taken == [0, 0, 1, 2]


def test_a_callback_that_raises_holds_nothing_up_and_is_told_at_the_end() -> None:
    def raises() -> None:
        raise PermissionError("not yours\nat all")

    class Calls(Away):
        def then(self, call: Callable[[], None]) -> None:
            call()

    tracker, called = Calls(lambda n: n % 2), []
    box = Outbox(tracker, lambda trouble: None, "sweep x")  # type: ignore[arg-type]
    put(box, 2)
    box.then(raises)
    put(box, 3)
    box.then(lambda: called.append(len(tracker.taken)))
    with pytest.raises(NotTracked, match=r"1 message .*PermissionError: not yours at all$"):
        box.finish()
    assert tracker.taken == [0, 1, 0, 1, 2]
    assert called == [5]


def test_asked_to_drain_it_waits_for_no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "FIRST_WAIT", 600.0)
    tracker = Away(lambda n: n > 1)
    box = Outbox(tracker, lambda trouble: None, "a sweep")  # type: ignore[arg-type]
    put(box, 3)
    assert box.drain(60) is None
    assert tracker.taken == [0, 1, 2]


def test_what_cannot_be_sent_is_told_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_AT_THE_END", 0.2)
    box = Outbox(Away(lambda n: n < 3), lambda t: None, "sweep x")  # type: ignore[arg-type]
    put(box, 5)
    with pytest.raises(NotTracked, match=r"^sweep x: 3 messages .* could not be sent: nobody"):
        box.finish()


def test_as_long_as_something_is_sent_the_end_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_AT_THE_END", 0.2)
    tracker = Away(lambda n: time.sleep(0.05) or True)
    box = Outbox(tracker, lambda trouble: None, "a sweep")  # type: ignore[arg-type]
    put(box, 30)
    box.finish()
    assert tracker.taken == list(range(30))


def test_after_an_error_it_sends_for_a_moment_and_lets_the_error_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_AFTER_AN_ERROR", 0.2)
    tracker, interrupt = Away(lambda n: True), KeyboardInterrupt()
    assert the_error_out_of(tracker, interrupt) is interrupt
    assert tracker.taken == list(range(50))
    mistake = ConfigError("a mistake")
    assert the_error_out_of(Away(lambda n: False), mistake) is mistake


def the_error_out_of(tracker: Away, error: BaseException) -> BaseException | None:
    try:
        with sending(tracker, lambda trouble: None, "x") as box:  # type: ignore[arg-type]
            put(box, 50)
            raise error
    except (KeyboardInterrupt, ConfigError) as raised:
        return raised
    return None


@pytest.mark.slow
def test_a_database_that_another_writer_holds_for_longer_than_mlflow_waits(
    tmp_path: Path,
) -> None:
    from sqlalchemy import Engine, event

    from fmnist_sweep.config.schema import TrackingConfig
    from fmnist_sweep.tracking.mlflow.store import local_store_uri
    from fmnist_sweep.tracking.opening import open_tracker

    tracking = TrackingConfig(
        enabled=True,
        uri=None,
        experiment=None,
        tags={},
        note=None,
        every_steps=None,
        keep_checkpoints=None,
        registered_model=None,
    )
    tracker = open_tracker(tracking, Workspace(tmp_path), "e")
    said: list[str | None] = []

    def briefly(_connection: Any, _cursor: Any, statement: str, given: Any, *_: Any) -> Any:
        # MLflow waits for 20 seconds; what is here to be seen is what comes after them.
        return statement.replace("busy_timeout = 20000", "busy_timeout = 200"), given

    event.listen(Engine, "before_cursor_execute", briefly, retval=True)
    with sending(tracker, said.append, "x") as box:
        writer = sqlite3.connect(local_store_uri(tmp_path).removeprefix("sqlite:///"))
        writer.execute("BEGIN IMMEDIATE")
        box.start(RunStart("key", "a run", started_at=1.0, params=lambda: {"a": 1}))
        for step in range(1, 21):
            box.metrics("key", {"loss": 1.0 / step}, step=step, at=float(step))
        box.end("key", RunStatus.FINISHED, at=30.0)
        until = time.monotonic() + 120
        while not said:
            assert time.monotonic() < until, "MLflow waits, and nothing is said"
            time.sleep(0.05)
        assert box.drain(0) is not None
        writer.rollback()
        box.finish()
        run_id = box.where("key")
    from mlflow import MlflowClient

    client = MlflowClient(local_store_uri(tmp_path))
    run = client.get_run(str(run_id))
    assert (run.info.status, run.data.params) == ("FINISHED", {"a": "1"})
    history = client.get_metric_history(str(run_id), "loss")
    assert [(m.step, m.value) for m in history] == [(s, 1.0 / s) for s in range(1, 21)]
    experiment = client.get_experiment_by_name("e")
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == 1
    event.remove(Engine, "before_cursor_execute", briefly)
    assert said[-1] is None
