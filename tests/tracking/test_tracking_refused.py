"""What MLflow refuses for good, above all of runs that somebody has deleted: the rest is sent."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from program import QUICK_SPACE, SMALL, Store, calls

from fmnist_sweep.config.schema import TrackingConfig
from fmnist_sweep.errors import NotTracked, Refused, RunDeleted, RunError
from fmnist_sweep.tracking import outbox as module
from fmnist_sweep.tracking.mlflow.store import local_store_uri
from fmnist_sweep.tracking.mlflow.tracker import MlflowTracker
from fmnist_sweep.tracking.opening import open_tracker
from fmnist_sweep.tracking.outbox import Outbox, keep_quiet
from fmnist_sweep.tracking.tracker import RunStart, RunStatus, Tracker
from fmnist_sweep.training.results import EpochRecord
from fmnist_sweep.workspace import Workspace


@pytest.fixture
def client(root: Path) -> MlflowClient:
    return MlflowClient(local_store_uri(root))


def tracker_on(root: Path) -> Tracker:
    given: dict[str, Any] = dict.fromkeys(TrackingConfig.model_fields)
    tracking = TrackingConfig.model_validate({**given, "enabled": True, "tags": {}})
    return open_tracker(tracking, Workspace(root), "e")


def outbox_on(root: Path) -> Outbox:
    return Outbox(tracker_on(root), keep_quiet, "sweep x")


def start(tracker: Tracker, key: str, parent: str | None = None) -> None:
    tracker.start(RunStart(key=key, name=f"name of {key}", started_at=1.0, parent_key=parent))


def epochs(tracker: Tracker, key: str, first: int, last: int) -> None:
    for epoch in range(first, last + 1):
        tracker.epoch(key, EpochRecord(epoch, {"loss": 1.0 / epoch}, ended_at=float(epoch)))


def end(tracker: Tracker, key: str) -> None:
    tracker.end(key, RunStatus.FINISHED, at=9.0)


def seen(client: MlflowClient) -> dict[str, tuple[str, list[int]]]:
    """Status and steps of the runs that are there, by name."""
    experiment = client.get_experiment_by_name("e")
    assert experiment is not None
    return {
        run.info.run_name.removeprefix("name of "): (
            run.info.status,
            [logged.step for logged in client.get_metric_history(run.info.run_id, "loss")],
        )
        for run in client.search_runs([experiment.experiment_id])
    }


def run_id(tracker: Tracker, key: str) -> str:
    found = tracker.where(key)
    assert found is not None
    return found


def gone_for_good(client: MlflowClient, run: str, root: Path) -> None:
    """As `mlflow gc` leaves it."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    client.delete_run(run)
    store = SqlAlchemyStore(local_store_uri(root), (root / "mlruns" / "artifacts").as_uri())
    store._hard_delete_run(run)


def marked(client: MlflowClient, run: str, root: Path) -> None:
    client.delete_run(run)


@pytest.mark.parametrize("delete", [marked, gone_for_good])
def test_a_deleted_trial_is_let_go_and_the_rest_goes_on(
    delete: Callable[[MlflowClient, str, Path], None],
    root: Path,
    client: MlflowClient,
    caplog: pytest.LogCaptureFixture,
) -> None:
    called: list[str] = []
    box = outbox_on(root)
    start(box, "p")
    for key in ("p/1", "p/2"):
        start(box, key, "p")
        epochs(box, key, 1, 1)
    assert box.drain(60) is None
    delete(client, run_id(box, "p/1"), root)
    for key in ("p/1", "p/2"):
        epochs(box, key, 2, 3)
        box.then(lambda: called.append("then"))
    start(box, "p/1/seed", "p/1")
    epochs(box, "p/1/seed", 1, 1)
    for key in ("p/1/seed", "p/1", "p/2", "p"):
        end(box, key)
    box.finish()
    assert seen(client) == {"p": ("FINISHED", []), "p/2": ("FINISHED", [1, 2, 3])}
    assert called == ["then", "then"]
    assert box.where("p/1") is None
    warned = [record.getMessage() for record in caplog.records if record.name == module.__name__]
    assert warned == ["run 'name of p/1' was deleted in MLflow: logging to it ends"]
    box.close()

    # The next start makes it anew.
    again = outbox_on(root)
    start(again, "p")
    start(again, "p/1", "p")
    epochs(again, "p/1", 1, 3)
    end(again, "p/1")
    end(again, "p")
    again.finish()
    assert seen(client) == {
        "p": ("FINISHED", []), "p/1": ("FINISHED", [1, 2, 3]), "p/2": ("FINISHED", [1, 2, 3]),
    }  # fmt: skip
    again.close()


def test_a_deletion_is_noticed_where_nothing_is_to_be_said(
    root: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOOKS_EVERY", 0.01)
    box = outbox_on(root)
    start(box, "p")
    start(box, "p/1", "p")
    assert box.drain(60) is None
    client.delete_run(run_id(box, "p"))
    for _attempt in range(1000):
        if box.where("p") is None:
            break
        time.sleep(0.01)
    start(box, "p/2", "p")  # MLflow would make it all the same
    epochs(box, "p/2", 1, 1)
    end(box, "p/2")
    epochs(box, "p/1", 1, 1)
    end(box, "p/1")
    with pytest.raises(NotTracked, match=r"^sweep x: run 'name of p' was deleted in MLflow;"):
        box.finish()
    assert seen(client) == {"p/1": ("FINISHED", [1])}
    box.close()


def test_a_deleted_sweep_is_told_at_the_end(root: Path, client: MlflowClient) -> None:
    box = outbox_on(root)
    start(box, "p")
    start(box, "p/1", "p")
    assert box.drain(60) is None
    client.delete_run(run_id(box, "p"))
    box.tags("p", {"a": "b"})
    epochs(box, "p/1", 1, 2)
    end(box, "p/1")
    end(box, "p")
    with pytest.raises(NotTracked, match=r"^sweep x: run 'name of p' was deleted in MLflow;"):
        box.finish()
    assert box.drain(0) is None
    box.close()


def test_a_deleted_experiment_is_told_at_the_end(root: Path, client: MlflowClient) -> None:
    box = outbox_on(root)
    start(box, "p")
    assert box.drain(60) is None
    experiment = client.get_experiment_by_name("e")
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    start(box, "p/1", "p")
    epochs(box, "p/1", 1, 1)
    end(box, "p/1")
    end(box, "p")
    with pytest.raises(NotTracked, match="was deleted in MLflow"):
        box.finish()
    box.close()


def test_a_file_that_is_gone_is_told_and_the_next_start_mends_it(
    root: Path, client: MlflowClient
) -> None:
    called: list[str] = []

    def tell(tracker: Tracker) -> None:
        start(tracker, "p")
        start(tracker, "p/1", "p")
        epochs(tracker, "p/1", 1, 1)
        tracker.file("p/1", root / "best.keras", "checkpoints")
        epochs(tracker, "p/1", 2, 2)
        end(tracker, "p/1")
        end(tracker, "p")
        tracker.then(lambda: called.append("then"))

    box = outbox_on(root)
    tell(box)
    with pytest.raises(NotTracked, match=r"^sweep x: 1 message .* of run .* does not exist$"):
        box.finish()
    incomplete = client.get_run(run_id(box, "p/1"))
    assert incomplete.info.status == "FAILED"
    assert "best.keras" in incomplete.data.tags["status_reason"]
    assert seen(client) == {"p": ("FINISHED", []), "p/1": ("FAILED", [1, 2])}
    assert called == [], "what was not sent may be needed still"
    box.close()

    (root / "best.keras").write_bytes(b"weights")
    again = outbox_on(root)
    tell(again)
    again.finish()
    assert seen(client) == {"p": ("FINISHED", []), "p/1": ("FINISHED", [1, 2])}
    mended = client.get_run(incomplete.info.run_id)
    assert "status_reason" not in mended.data.tags
    files = client.list_artifacts(mended.info.run_id, "checkpoints")
    assert [file.path for file in files] == ["checkpoints/best.keras"]
    assert called == ["then"]
    again.close()


def test_a_value_that_mlflow_refuses_holds_nothing_up(root: Path, client: MlflowClient) -> None:
    box = outbox_on(root)
    start(box, "p")
    box.tags("p", {"not/a\nname?": "x"})
    epochs(box, "p", 1, 3)
    with pytest.raises(NotTracked, match=r"1 message .* set tags of run 'p'"):
        box.finish()
    assert seen(client)["p"] == ("RUNNING", [1, 2, 3])
    box.close()


def test_the_tracker_tells_what_it_will_never_take(root: Path, client: MlflowClient) -> None:
    tracker = tracker_on(root)
    start(tracker, "p")
    start(tracker, "p/1", "p")
    with pytest.raises(Refused, match="never started"):
        end(tracker, "p/2")
    client.delete_run(run_id(tracker, "p/1"))
    with pytest.raises(RunDeleted) as deleted:
        end(tracker, "p/1")
    assert deleted.value.key == "p/1"


class Obstacle:
    """A file where the folder of an experiment's artifacts has to be: none can be written."""

    def __init__(self, root: Path) -> None:
        self._path = root / "mlruns" / "artifacts" / "e"

    def put(self) -> None:
        self._path.parent.mkdir(exist_ok=True)
        self._path.write_text("")

    def remove(self) -> None:
        self._path.unlink()


def tell_two_trials(box: Outbox, root: Path) -> None:
    (root / "best.keras").write_bytes(b"weights")
    start(box, "p")
    box.content("p", lambda: "a: 1", "config.yaml")
    for key in ("p/1", "p/2"):
        start(box, key, "p")
        epochs(box, key, 1, 2)
        if key == "p/1":
            box.file(key, root / "best.keras", "checkpoints")
        epochs(box, key, 3, 3)
        end(box, key)
    end(box, "p")


def statuses(client: MlflowClient) -> dict[str, str]:
    return {name: status for name, (status, _) in seen(client).items()}


def test_artifacts_that_cannot_be_written_hold_nothing_else_up(
    root: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_AT_THE_END", 1.0)
    said: list[str | None] = []
    box = Outbox(tracker_on(root), said.append, "sweep x")
    (obstacle := Obstacle(root)).put()
    tell_two_trials(box, root)
    for _attempt in range(1000):  # what is not a file arrives while files wait
        if box.where("p/2") and statuses(client) == {
            "p": "FAILED", "p/1": "FAILED", "p/2": "FINISHED",
        }:  # fmt: skip
            break
        time.sleep(0.05)
    assert seen(client) == {
        "p": ("FAILED", []), "p/1": ("FAILED", [1, 2, 3]), "p/2": ("FINISHED", [1, 2, 3]),
    }  # fmt: skip
    waiting = client.get_run(run_id(box, "p/1")).data.tags["status_reason"]
    assert waiting.startswith("incomplete tracking data: MLflow could not store ")
    with pytest.raises(NotTracked, match=r"^sweep x: 2 messages .* store config\.yaml of run 'p'"):
        box.finish()
    assert len(said) == 1
    obstacle.remove()
    box.finish()
    assert set(statuses(client).values()) == {"FINISHED"}
    assert "status_reason" not in client.get_run(run_id(box, "p/1")).data.tags
    assert said[1:] == [None]
    box.close()


def test_artifacts_that_were_not_written_are_sent_by_the_next_start(
    root: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_AT_THE_END", 1.0)
    box = outbox_on(root)
    (obstacle := Obstacle(root)).put()
    tell_two_trials(box, root)
    with pytest.raises(NotTracked):
        box.finish()
    box.close()
    obstacle.remove()
    again = outbox_on(root)
    tell_two_trials(again, root)
    again.finish()
    assert set(statuses(client).values()) == {"FINISHED"}
    files = client.list_artifacts(run_id(again, "p/1"), "checkpoints")
    assert [file.path for file in files] == ["checkpoints/best.keras"]
    again.close()


def test_metrics_that_one_run_cannot_have_hold_up_no_other(
    root: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a proxy takes one request for too large, and no error says that it always will."""
    monkeypatch.setattr(module, "_PATIENCE_AT_THE_END", 1.0)
    told = MlflowTracker.epoch

    def fails(self: MlflowTracker, key: str, record: EpochRecord) -> None:
        if key == "p/1" and record.epoch == 2:
            raise RunError("413")
        told(self, key, record)

    monkeypatch.setattr(MlflowTracker, "epoch", fails)
    box = outbox_on(root)
    tell_two_trials(box, root)
    with pytest.raises(NotTracked, match=r"^sweep x: 2 messages .* could not be sent: 413$"):
        box.finish()
    assert seen(client) == {
        "p": ("FINISHED", []), "p/1": ("FAILED", [1]), "p/2": ("FINISHED", [1, 2, 3]),
    }  # fmt: skip
    box.close()
    monkeypatch.setattr(MlflowTracker, "epoch", told)
    again = outbox_on(root)
    tell_two_trials(again, root)
    again.finish()
    assert seen(client)["p/1"] == ("FINISHED", [1, 2, 3])
    again.close()


SWEEP = [
    *SMALL, *QUICK_SPACE, "sweep.name=mine", "sweep.max_trials=3", "tracking.registered_model=auto",
]  # fmt: skip
_DELETES = """
from fmnist_sweep.tracking.sweep_log import SweepLog
told = SweepLog.__call__

def deleting(self, record, state):
    told(self, record, state)
    if record.kind == "epoch" and record.record.epoch == 1 and WHICH(record, self):
        from mlflow import MlflowClient
        assert self._tracker.drain(60) is None
        client = MlflowClient("sqlite:///mlruns/mlflow.db")
        client.delete_run(self._tracker.where(KEY(record, self)))

SweepLog.__call__ = deleting
"""
_EACH_TRIAL = """
WHICH = lambda record, log: True
KEY = lambda record, log: log._key(record.trial)
"""
_THE_SWEEP = """
WHICH = lambda record, log: record.trial == 1
KEY = lambda record, log: log._sweep_key
"""


def test_a_sweep_whose_trials_are_deleted_ends_well(tmp_path: Path) -> None:
    """The winner's run too: its model stays, and is registered."""
    before = _EACH_TRIAL + _DELETES
    (done,) = calls(tmp_path, [*SWEEP, "report=true"], before=before)
    assert done.exit_code == 0, done
    assert done.err.count("was deleted in MLflow: logging to it ends") == 3, done
    assert "registered: " in done.out
    assert "report.html" in done.out
    (parent,) = (store := Store(tmp_path)).parents
    assert (parent.info.status, store.children) == ("FINISHED", [])
    assert parent.data.metrics["trials"] == 3
    assert len(list(tmp_path.glob("mlruns/sweeps/mine/trials/*/best.keras"))) == 1

    (again,) = calls(tmp_path, SWEEP)
    assert again.exit_code == 0, again
    runs = Store(tmp_path).children
    assert [run.info.status for run in runs] == ["FINISHED"] * 3
    assert [store.steps(run, "loss") for run in runs] == [[1, 2]] * 3
    assert not list(tmp_path.glob("mlruns/sweeps/mine/trials/*"))


def test_a_sweep_that_is_deleted_itself_says_so_and_can_be_told_again(tmp_path: Path) -> None:
    (told,) = calls(tmp_path, SWEEP, before=_THE_SWEEP + _DELETES)
    assert told.exit_code == 1, told
    assert told.err.splitlines()[-1] == (
        "error: mine: run 'mine' was deleted in MLflow; later data was not logged"
    )
    assert "To resume: " in told.out
    (again,) = calls(tmp_path, SWEEP)
    assert again.exit_code == 0, again
    assert "registered: " in again.out
    (parent,) = (store := Store(tmp_path)).parents
    made = store.children  # those that there were when the sweep was deleted, and the others
    assert {run.data.tags["mlflow.parentRunId"] for run in made} == {parent.info.run_id}
    assert [store.steps(run, "loss") for run in made] == [[1, 2]] * 3
    # What was trained when there was no run to write to.
    files = store.client.list_artifacts(made[-1].info.run_id, "checkpoints")
    assert [file.path for file in files] == ["checkpoints/best.keras"]
    assert {run.info.status for run in store.runs} == {"FINISHED"}
