from __future__ import annotations

import gc
import json
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest

from fmnist_sweep.config.schema import TrackingConfig
from fmnist_sweep.errors import ConfigError, RunError
from fmnist_sweep.tracking.mlflow.store import local_store_uri
from fmnist_sweep.tracking.opening import open_tracker
from fmnist_sweep.tracking.tracker import DatasetInput, NoTracker, RunStart, RunStatus, Tracker
from fmnist_sweep.training.results import EpochRecord
from fmnist_sweep.workspace import Workspace

BEGAN = 1_700_000_000.0
Call = Callable[[Tracker], None]


def tracking(**changed: Any) -> TrackingConfig:
    given = {
        "enabled": True,
        "uri": None,
        "experiment": None,
        "tags": {},
        "note": None,
        "every_steps": None,
        "keep_checkpoints": None,
        "registered_model": None,
    }
    return TrackingConfig.model_validate(given | changed)


def tracker_on(root: Path, **changed: Any) -> Tracker:
    return open_tracker(tracking(**changed), Workspace(root), "fmnist-sweep")


def runs_in(root: Path, experiment: str = "fmnist-sweep") -> dict[str, Any]:
    """MLflow's runs by name, read back through a client of its own."""
    from mlflow import MlflowClient

    client = MlflowClient(local_store_uri(root))
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return {run.info.run_name: run for run in client.search_runs([found.experiment_id])}


def metrics_of(root: Path, name: str) -> dict[str, list[tuple[int, float, int]]]:
    """(step, value, timestamp) of all that stands, doubles included, in order of steps."""
    rows = query(
        root,
        "SELECT metrics.key, step, value, timestamp FROM metrics JOIN runs USING (run_uuid) "
        f"WHERE runs.name = '{name}' AND lifecycle_stage = 'active' ORDER BY 1, 2, 4, 3",
    )
    found: dict[str, list[tuple[int, float, int]]] = {}
    for key, step, value, timestamp in rows:
        found.setdefault(key, []).append((step, value, timestamp))
    return found


def query(root: Path, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(root / "mlruns" / "mlflow.db")) as connection:
        return connection.execute(statement).fetchall()


def dump(root: Path) -> list[str]:
    with closing(sqlite3.connect(root / "mlruns" / "mlflow.db")) as connection:
        return sorted(connection.iterdump())


def content(root: Path) -> dict[str, Any]:
    """All that a reader can tell of the runs, by name: no ids, which differ by chance."""
    names = {run.info.run_id: name for name, run in runs_in(root).items()}
    found = {}
    for name, run in runs_in(root).items():
        tags = dict(run.data.tags)
        if "mlflow.parentRunId" in tags:
            tags["mlflow.parentRunId"] = names[tags["mlflow.parentRunId"]]
        artifacts = Path(url2pathname(urlsplit(run.info.artifact_uri).path))
        found[name] = {
            "info": (run.info.status, run.info.start_time, run.info.end_time),
            "params": run.data.params,
            "tags": tags,
            "metrics": metrics_of(root, name),
            "inputs": sorted(i.dataset.digest for i in run.inputs.dataset_inputs),
            "artifacts": {
                str(path.relative_to(artifacts)): path.read_bytes()
                for path in artifacts.rglob("*")
                if path.is_file()
            },
        }
    assert len(found) == len(names), "no run stands twice"
    return found


def epoch_metrics(epoch: int) -> dict[str, float]:
    return {"loss": 1 / epoch, "accuracy": 1 - 1 / epoch, "learning_rate": 1e-3, "epoch_seconds": 2}


def a_set(context: str) -> DatasetInput:
    return DatasetInput(
        context=context,
        name=f"fashion-mnist-{context}",
        sha256=context.encode().hex().ljust(64, "0"),
        images=5000,
        image_shape=(28, 28, 1),
        classes=10,
        source="/usr/share/datasets/fashion-mnist",
    )


SWEEP = RunStart(
    key="cnn@1",
    name="cnn-0a1b2c",
    started_at=BEGAN,
    params=lambda: {"tuner.name": "hyperband", "tuner.seed": 0},
    tags={"data.sha256": "d" * 64},
    inputs=[a_set("train"), a_set("validation")],
    note="# What this is",
)


def a_trial(number: int) -> RunStart:
    return RunStart(
        key=f"cnn@1/{number}",
        name=f"cnn-0a1b2c-{number}",
        started_at=BEGAN + 10 * number,
        parent_key=SWEEP.key,
        params=lambda: {"model.conv_blocks.0.channels": 32, "train.optimizer.learning_rate": 1e-4},
        tags={"trial": str(number)},
    )


def a_rung(number: int, first: int, last: int) -> list[Call]:
    """The calls for epochs first..last of a trial, its result included."""
    key = f"cnn@1/{number}"

    def epoch(at: int) -> Call:
        record = EpochRecord(at, epoch_metrics(at), BEGAN + 10 * number + at)
        return lambda tracker: tracker.epoch(key, record)

    ended = BEGAN + 10 * number + last + 0.5
    result = {"test_accuracy": 0.9, "best_epoch": float(last)}
    return [
        *[epoch(at) for at in range(first, last + 1)],
        lambda tracker: tracker.metrics(key, result, step=last, at=ended),
        lambda tracker: tracker.tags(key, {"weights.sha256": f"{number}-{last}"}),
        lambda tracker: tracker.content(key, lambda: f"epochs: {last}\n", "config.yaml"),
        lambda tracker: tracker.end(key, RunStatus.FINISHED, at=ended),
    ]


def a_sweep(*, again: bool = False) -> list[Call]:
    """A sweep as a journal tells it: two trials, one promoted, one failed, budget raised once.

    `again`: told once more, when file and end of a rung that another followed are left out.
    """

    def start(run: RunStart) -> Call:
        return lambda tracker: tracker.start(run)

    def end_sweep(at: float) -> Call:
        return lambda tracker: tracker.end(SWEEP.key, RunStatus.FINISHED, at=at)

    def fail(tracker: Tracker) -> None:
        tracker.tags("cnn@1/1", {"status_reason": "loss is nan at epoch 2"})
        tracker.end("cnn@1/1", RunStatus.FAILED, at=BEGAN + 15)

    return [
        start(SWEEP),
        start(a_trial(0)),
        *(a_rung(0, 1, 2)[:-2] if again else a_rung(0, 1, 2)),
        start(a_trial(1)),
        *a_rung(1, 1, 1)[:1],
        fail,
        end_sweep(BEGAN + 30),
        *a_rung(0, 3, 4),
        lambda tracker: tracker.metrics(SWEEP.key, {"trials": 2.0}, step=2, at=BEGAN + 40),
        end_sweep(BEGAN + 41),
    ]


def tell(root: Path, calls: list[Call]) -> None:
    tracker = tracker_on(root)
    for call in calls:
        call(tracker)


# --- what a reader finds ----------------------------------------------------------------------


def test_sweep_stands_in_mlflow_under_its_names(root: Path) -> None:
    tell(root, a_sweep())
    runs = runs_in(root)
    assert set(runs) == {"cnn-0a1b2c", "cnn-0a1b2c-0", "cnn-0a1b2c-1"}
    parent, trial, failed = (runs[name] for name in sorted(runs))
    assert [run.info.status for run in (parent, trial, failed)] == [
        "FINISHED",
        "FINISHED",
        "FAILED",
    ]
    assert (
        parent.data.tags.items()
        >= {
            "fmnist.key": "cnn@1",
            "data.sha256": "d" * 64,
            "mlflow.note.content": "# What this is",
            "mlflow.source.name": "python -m fmnist_sweep",
        }.items()
    )
    assert parent.data.params == {"tuner.name": "hyperband", "tuner.seed": "0"}
    assert trial.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert trial.data.params == {
        "model.conv_blocks.0.channels": "32",
        "train.optimizer.learning_rate": "0.0001",
    }
    assert failed.data.tags["status_reason"] == "loss is nan at epoch 2"
    assert (trial.info.start_time, trial.info.end_time) == (
        1_700_000_000_000,
        1_700_000_004_500,
    )


def test_metrics_stand_at_their_epochs_with_the_given_times(root: Path) -> None:
    tell(root, a_sweep())
    metrics = metrics_of(root, "cnn-0a1b2c-0")
    assert set(metrics) == {*epoch_metrics(1), "test_accuracy", "best_epoch"}
    assert metrics["loss"] == [
        (epoch, 1 / epoch, int(BEGAN + epoch) * 1000) for epoch in (1, 2, 3, 4)
    ]
    assert [step for step, *_ in metrics["test_accuracy"]] == [2, 4]


def test_datasets_carry_context_digest_and_size(root: Path) -> None:
    tell(root, [lambda tracker: tracker.start(SWEEP)])
    inputs = runs_in(root)["cnn-0a1b2c"].inputs.dataset_inputs
    by_context = {given.tags[0].value: given.dataset for given in inputs}
    assert {given.tags[0].key for given in inputs} == {"mlflow.data.context"}
    assert set(by_context) == {"train", "validation"}
    train = by_context["train"]
    assert train.name == "fashion-mnist-train"
    assert train.digest == a_set("train").sha256[:36]
    assert json.loads(train.profile)["sha256"] == a_set("train").sha256
    assert json.loads(train.profile)["images"] == 5000
    assert json.loads(train.source) == {"uri": "/usr/share/datasets/fashion-mnist"}
    features = json.loads(json.loads(train.schema)["mlflow_tensorspec"]["features"])
    assert features[0]["tensor-spec"] == {"dtype": "uint8", "shape": [-1, 28, 28, 1]}


def test_files_and_texts_lie_below_the_artifact_root(root: Path) -> None:
    checkpoint = root / "best.keras"
    checkpoint.write_bytes(b"first")
    tracker = tracker_on(root)
    tracker.start(SWEEP)
    tracker.file(SWEEP.key, checkpoint, "checkpoints")
    checkpoint.write_bytes(b"second")
    tracker.file(SWEEP.key, checkpoint, "checkpoints")
    tracker.content(SWEEP.key, lambda: "label,count\n", "split/classes.csv")
    found = content(root)["cnn-0a1b2c"]["artifacts"]
    assert found == {"checkpoints/best.keras": b"second", "split/classes.csv": b"label,count\n"}
    run_id = tracker.where(SWEEP.key)
    assert (root / "mlruns" / "artifacts" / "fmnist-sweep" / str(run_id)).is_dir()


@pytest.mark.parametrize("name", ["../../elsewhere", "..", "a/b", ".hidden", "mit Umlaut: ä 100%"])
def test_no_experiment_name_leads_out_of_the_artifact_root(name: str, root: Path) -> None:
    tracker = tracker_on(root, experiment=name)
    tracker.start(SWEEP)
    tracker.content(SWEEP.key, lambda: "here", "a.txt")
    (written,) = root.rglob("a.txt")
    assert written.parents[2].parent == root / "mlruns" / "artifacts"


def test_folder_with_odd_characters_serves_as_root(tmp_path: Path, blank_store: Path) -> None:
    odd = tmp_path / "my sweeps 100%#ä"
    (odd / "mlruns").mkdir(parents=True)
    shutil.copy(blank_store, odd / "mlruns")
    tell(odd, a_sweep())
    assert content(odd)["cnn-0a1b2c-0"]["artifacts"] == {"config.yaml": b"epochs: 4\n"}


def test_experiment_kind_is_set_also_where_the_experiment_exists(root: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(local_store_uri(root))
    client.create_experiment("older")
    for name in ("older", "newer"):
        tracker_on(root, experiment=name)
        found = client.get_experiment_by_name(name)
        assert found is not None
        assert found.tags["mlflow.experimentKind"] == "custom_model_development"


def test_params_read_as_in_yaml_and_long_ones_say_what_is_missing(root: Path) -> None:
    long = "x" * 7000
    params = {"a": None, "b": True, "c": [3, 5], "d": 1e-4, "e": "relu", "f": long, "g": long + "y"}
    many = {f"many.{number}": number for number in range(250)}
    tracker = tracker_on(root)
    start = RunStart("k", "n", BEGAN, params=lambda: params | many, tags={"long": "t" * 9000})
    tracker.start(start)
    run = runs_in(root)["n"]
    read = run.data.params
    assert [read[name] for name in "abcde"] == ["null", "true", "[3, 5]", "0.0001", "relu"]
    assert "7000 characters, sha256" in read["f"]
    assert read["f"] != read["g"]
    assert "9000 characters, sha256" in run.data.tags["long"]
    assert len(read) == len(params) + len(many)


# --- said twice, said in part -----------------------------------------------------------------


def test_replay_changes_nothing_in_the_store(root: Path) -> None:
    tracker = tracker_on(root)
    for call in a_sweep():
        call(tracker)
    before = dump(root)
    for call in a_sweep():
        call(tracker)
    assert dump(root) == before, "by the same tracker"
    tell(root, a_sweep())
    assert dump(root) == before, "by another"


def test_sweep_cut_off_anywhere_and_told_again_equals_one_told_once(
    tmp_path: Path, blank_store: Path
) -> None:
    def on_a_new_store(name: str, *tellings: list[Call]) -> dict[str, Any]:
        root = tmp_path / name
        (root / "mlruns").mkdir(parents=True)
        shutil.copy(blank_store, root / "mlruns")
        for calls in tellings:
            tell(root, calls)
        return content(root)

    calls = a_sweep()
    undisturbed = on_a_new_store("undisturbed", calls)
    for cut in range(1, len(calls)):
        assert on_a_new_store(str(cut), calls[:cut], a_sweep(again=True)) == undisturbed, (
            f"cut after call {cut}"
        )


def test_new_work_opens_a_trial_and_its_sweep_again(root: Path) -> None:
    tell(root, a_sweep())
    tracker = tracker_on(root)
    tracker.start(SWEEP)
    tracker.start(a_trial(0))
    assert "RUNNING" not in {run.info.status for run in runs_in(root).values()}, "no work yet"
    tracker.epoch("cnn@1/0", EpochRecord(5, epoch_metrics(5), BEGAN + 50))
    statuses = {name: run.info.status for name, run in runs_in(root).items()}
    assert statuses == {
        "cnn-0a1b2c": "RUNNING",
        "cnn-0a1b2c-0": "RUNNING",
        "cnn-0a1b2c-1": "FAILED",
    }
    tracker.end("cnn@1/0", RunStatus.FINISHED, at=BEGAN + 51)
    tracker.end(SWEEP.key, RunStatus.KILLED, at=BEGAN + 52)
    assert runs_in(root)["cnn-0a1b2c-0"].info.end_time == int(BEGAN + 51) * 1000
    assert runs_in(root)["cnn-0a1b2c"].info.status == "KILLED"
    tracker.start(a_trial(2))
    assert runs_in(root)["cnn-0a1b2c"].info.status == "RUNNING", "a new child is work too"


def test_steps_missing_in_a_killed_run_are_filled_in(root: Path) -> None:
    tracker = tracker_on(root)
    tracker.start(SWEEP)
    for step in (1, 3):
        tracker.metrics(SWEEP.key, {"loss": float(step)}, step=step, at=BEGAN + step)
    resumed = tracker_on(root)
    resumed.start(SWEEP)
    for step in (1, 2, 3):
        resumed.metrics(SWEEP.key, {"loss": float(step)}, step=step, at=BEGAN + step + 0.1)
        resumed.end(SWEEP.key, RunStatus.FINISHED, at=BEGAN + step)
    assert [step for step, *_ in metrics_of(root, SWEEP.name)["loss"]] == [1, 2, 3]


def test_steps_that_mlflow_refused_are_sent_again_even_if_the_run_ended(root: Path) -> None:
    tracker = tracker_on(root)
    tracker.start(SWEEP)
    tracker.metrics(SWEEP.key, {"loss": 1.0}, step=1, at=BEGAN)
    with pytest.raises(RunError) as refused:
        tracker.metrics(SWEEP.key, {"loss": 2.0, "no[brackets]": 0.0}, step=2, at=BEGAN)
    assert "\n" not in str(refused.value)
    assert "step 2" in str(refused.value)
    tracker.metrics(SWEEP.key, {"loss": 3.0}, step=3, at=BEGAN)
    tracker.end(SWEEP.key, RunStatus.FINISHED, at=BEGAN)
    for again in (tracker, tracker_on(root)):
        again.start(SWEEP)
        for step in (1, 2, 3):
            again.metrics(SWEEP.key, {"loss": float(step)}, step=step, at=BEGAN)
        assert [step for step, *_ in metrics_of(root, SWEEP.name)["loss"]] == [1, 2, 3]


def test_metric_that_stands_keeps_its_value(root: Path) -> None:
    for value in (1.0, 2.0):
        tracker = tracker_on(root)
        tracker.start(SWEEP)
        tracker.metrics(SWEEP.key, {"loss": value}, step=1, at=BEGAN + value)
    assert metrics_of(root, SWEEP.name)["loss"] == [(1, 1.0, int(BEGAN + 1) * 1000)]


def test_metrics_that_are_no_numbers_are_logged_once(root: Path) -> None:
    for _ in range(2):
        tracker = tracker_on(root)
        tracker.start(SWEEP)
        tracker.metrics(SWEEP.key, {"loss": float("nan")}, step=1, at=BEGAN)
    assert query(root, "SELECT key, step, is_nan FROM metrics") == [("loss", 1, 1)]


def test_start_leaves_what_was_edited_since_and_tags_replaces_it(root: Path) -> None:
    tracker = tracker_on(root)
    tracker.start(SWEEP)
    tracker.tags(SWEEP.key, {"mlflow.note.content": "edited in the UI"})
    again = tracker_on(root)
    again.start(SWEEP)
    assert runs_in(root)[SWEEP.name].data.tags["mlflow.note.content"] == "edited in the UI"
    again.tags(SWEEP.key, {"mlflow.note.content": "new"})
    assert runs_in(root)[SWEEP.name].data.tags["mlflow.note.content"] == "new"


def test_no_tag_of_the_users_hides_a_run_from_its_key(root: Path) -> None:
    tags = {"fmnist.key": "mine", "mlflow.parentRunId": "mine", "team": "vision"}
    for _ in range(2):
        tracker = tracker_on(root)
        tracker.start(SWEEP)
        tracker.start(RunStart("child", "child", BEGAN, parent_key=SWEEP.key, tags=tags))
    runs = runs_in(root)
    assert set(runs) == {SWEEP.name, "child"}
    assert runs["child"].data.tags["mlflow.parentRunId"] == tracker.where(SWEEP.key)
    assert runs["child"].data.tags["team"] == "vision"


def test_param_that_would_change_is_refused_by_name(root: Path) -> None:
    tracker_on(root).start(RunStart("k", "n", BEGAN, params=lambda: {"train.seed": 1}))
    with pytest.raises(RunError, match=r"train\.seed=1, now given as 2"):
        tracker_on(root).start(RunStart("k", "n", BEGAN, params=lambda: {"train.seed": 2}))


# --- cost -------------------------------------------------------------------------------------


@pytest.fixture
def calls_of_mlflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How often each method of MLflow's client was called, the real one answering."""
    from mlflow import MlflowClient

    calls: Counter[str] = Counter()

    def counted(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls[name] += 1
            return method(*args, **kwargs)

        return call

    for name in (
        "search_runs", "get_run", "get_metric_history", "create_run", "log_batch", "log_inputs",
        "update_run", "set_terminated",
    ):  # fmt: skip
        monkeypatch.setattr(MlflowClient, name, counted(name, getattr(MlflowClient, name)))
    return calls


def a_sweep_of(trials: int) -> list[Call]:
    def trial(number: int) -> list[Call]:
        ended = BEGAN + 10 * number + 2.5
        return [
            lambda tracker: tracker.start(a_trial(number)),
            *a_rung(number, 1, 2)[:3],
            lambda tracker: tracker.end(f"cnn@1/{number}", RunStatus.FINISHED, at=ended),
        ]

    calls: list[Call] = [lambda tracker: tracker.start(SWEEP)]
    for number in range(trials):
        calls += trial(number)
    calls.append(lambda tracker: tracker.end(SWEEP.key, RunStatus.FINISHED, at=BEGAN + 1000))
    return calls


def test_replaying_fifty_trials_costs_two_searches_and_nothing_else(
    root: Path, calls_of_mlflow: Counter[str]
) -> None:
    tell(root, a_sweep_of(50))
    assert calls_of_mlflow["search_runs"] == 1, "a new sweep looks for itself, not for its trials"
    assert calls_of_mlflow["get_run"] == 0
    calls_of_mlflow.clear()
    tell(root, a_sweep_of(50))
    assert calls_of_mlflow == {"search_runs": 2}


def test_all_pages_of_a_long_search_are_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tell(root, a_sweep_of(7))
    before = dump(root)
    monkeypatch.setattr("fmnist_sweep.tracking.mlflow.run_index._RUNS_A_PAGE", 3)
    tell(root, a_sweep_of(7))
    assert dump(root) == before


def test_python_s_collector_waits_for_a_search_and_goes_on(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    search, seen = MlflowClient.search_runs, []

    def looking(*given: Any, **named: Any) -> Any:
        seen.append(gc.isenabled())
        if len(seen) == 2:
            raise MlflowException("the database is locked")
        return search(*given, **named)

    tell(root, a_sweep_of(1))
    monkeypatch.setattr(MlflowClient, "search_runs", looking)
    with pytest.raises(RunError, match="locked"):
        tell(root, a_sweep_of(1))
    assert seen == [False, False]
    assert gc.isenabled()


# --- what is around ---------------------------------------------------------------------------


def test_mlflow_variables_of_the_environment_do_not_disturb(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "MLFLOW_RUN_ID": "0123456789abcdef0123456789abcdef",
        "MLFLOW_EXPERIMENT_ID": "4711",
        "MLFLOW_EXPERIMENT_NAME": "another",
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
        "MLFLOW_ENABLE_ASYNC_LOGGING": "true",
    }.items():
        monkeypatch.setenv(name, value)
    tell(root, a_sweep())
    runs = runs_in(root)
    assert len(runs) == 3
    assert runs["cnn-0a1b2c-0"].data.tags["mlflow.parentRunId"] == runs["cnn-0a1b2c"].info.run_id
    assert len(metrics_of(root, "cnn-0a1b2c-0")["loss"]) == 4


def test_tracker_leaves_mlflow_as_a_user_finds_it(root: Path) -> None:
    import mlflow

    before = mlflow.get_tracking_uri()
    tell(root, a_sweep())
    assert mlflow.get_tracking_uri() == before
    assert mlflow.active_run() is None


def test_switched_off_it_keeps_nothing_and_needs_nothing(tmp_path: Path) -> None:
    tracker = tracker_on(tmp_path, enabled=False, uri="nowhere://")
    assert isinstance(tracker, NoTracker)
    for call in a_sweep():
        call(tracker)
    assert tracker.where(SWEEP.key) is None
    assert list(tmp_path.iterdir()) == []


def test_importing_the_package_does_not_import_mlflow() -> None:
    code = "import sys, fmnist_sweep.tracking; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_uri_of_a_kind_that_mlflow_does_not_know_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError) as refused:
        tracker_on(tmp_path, uri="nowhere://me:secret@host/db")
    message = str(refused.value)
    assert "\n" not in message
    assert "nowhere://" in message
    assert "secret" not in message
    assert list(tmp_path.iterdir()) == []


def test_deleted_experiment_says_how_to_get_it_back(root: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(local_store_uri(root))
    deleted = client.create_experiment("fmnist-sweep")
    client.delete_experiment(deleted)
    with pytest.raises(ConfigError, match=f"restore -x {deleted}") as refused:
        tracker_on(root)
    assert "\n" not in str(refused.value)
    client.restore_experiment(deleted)
    tell(root, a_sweep())


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("mlflow-artifacts:/7", r"stored by a tracking server; set tracking\.uri to its address"),
        (
            "s3://bucket/7",
            "the Python package boto",
        ),  # which is not among this package's requirements
        ("ftp://me:secret@127.0.0.1:1/7", r"refused; choose another tracking\.experiment"),
        ("nonsense://x/7", "Could not find a registered artifact repository for"),
        ("{root}/file/artifacts", "not a writable folder; choose another"),
    ],
)
def test_an_experiment_whose_artifacts_cannot_be_written_is_refused(
    location: str, reason: str, root: Path
) -> None:
    from mlflow import MlflowClient

    (root / "file").write_text("where a folder is to be: a disk that is not mounted")
    location = location.format(root=root)
    MlflowClient(local_store_uri(root)).create_experiment("fmnist-sweep", location)
    before = sorted(root.rglob("*"))
    away = "ftp" in location
    with pytest.raises(RunError if away else ConfigError, match=reason) as refused:
        tracker_on(root)
    message = str(refused.value)
    assert message.startswith("experiment 'fmnist-sweep': its artifacts cannot be written to ")
    assert "\n" not in message
    assert "secret" not in message
    assert sorted(root.rglob("*")) == before


def test_run_deleted_in_the_ui_is_made_anew(root: Path) -> None:
    from mlflow import MlflowClient

    tell(root, a_sweep())
    expected = content(root)
    MlflowClient(local_store_uri(root)).delete_run(runs_in(root)["cnn-0a1b2c-0"].info.run_id)
    tell(root, a_sweep())
    assert content(root)["cnn-0a1b2c-0"] == expected["cnn-0a1b2c-0"]


def test_trials_of_a_sweep_that_was_deleted_in_the_ui_are_those_of_the_new_one(root: Path) -> None:
    from mlflow import MlflowClient

    confirmation = replace(a_trial(7), key="cnn@1/0/seed7", name="seed7", parent_key="cnn@1/0")
    confirm: list[Call] = [
        lambda tracker: tracker.start(confirmation),
        lambda tracker: tracker.end(confirmation.key, RunStatus.FINISHED, at=BEGAN + 50),
        lambda tracker: tracker.end("cnn@1/0", RunStatus.FINISHED, at=BEGAN + 50),
        lambda tracker: tracker.end(SWEEP.key, RunStatus.FINISHED, at=BEGAN + 51),
    ]
    tell(root, a_sweep() + confirm)
    expected, before = content(root), runs_in(root)
    client = MlflowClient(local_store_uri(root))
    for name in ("cnn-0a1b2c", "cnn-0a1b2c-0"):
        client.delete_run(before[name].info.run_id)
    for again in (False, True):  # the second time nothing is left to do
        tell(root, a_sweep(again=again) + confirm)
        assert content(root) == expected
        now = runs_in(root)
        kept = {name for name in now if now[name].info.run_id == before[name].info.run_id}
        assert kept == {"cnn-0a1b2c-1", "seed7"}


def test_unknown_keys_are_named(root: Path) -> None:
    tracker = tracker_on(root)
    with pytest.raises(RunError, match="'nobody' was never started"):
        tracker.tags("nobody", {"a": "b"})
    with pytest.raises(RunError, match="'nobody' cannot be a parent"):
        tracker.start(RunStart("child", "child", BEGAN, parent_key="nobody"))
    assert runs_in(root) == {}


def test_missing_file_is_one_line_and_the_run_goes_on(root: Path) -> None:
    tracker = tracker_on(root)
    tracker.start(SWEEP)
    with pytest.raises(RunError, match=r"gone\.keras") as refused:
        tracker.file(SWEEP.key, root / "gone.keras", "checkpoints")
    assert "\n" not in str(refused.value)
    tracker.end(SWEEP.key, RunStatus.FINISHED, at=BEGAN)
    assert runs_in(root)[SWEEP.name].info.status == "FINISHED"
