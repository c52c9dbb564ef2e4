"""A real tracking server that goes away while a sweep runs: nothing is lost, nothing stops."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from program import (
    EPOCH_METRICS,
    LAST_METRICS,
    QUICK_SPACE,
    SMALL,
    calls,
    environment,
    started,
    wait_for_epochs,
)

from fmnist_sweep.journal.file import JOURNAL_FILE

SWEEP = [*SMALL, *QUICK_SPACE, "sweep.max_trials=3"]
IMPATIENT = "from fmnist_sweep.tracking import outbox\noutbox._PATIENCE_AT_THE_END = 3.0\n"


class Server:
    """`mlflow server` on a port of its own, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        self.uri = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                str(Path(sys.executable).parent / "mlflow"), "server", "--host", "127.0.0.1",
                "--port", str(self._port), "--workers", "1",
                "--backend-store-uri", f"sqlite:///{self._folder}/served.db",
                "--artifacts-destination", str(self._folder / "served"),
            ],
            cwd=self._folder, stdout=subprocess.DEVNULL,
            env={**environment(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        for _attempt in range(240):
            assert self._process.poll() is None, "the server ended"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            time.sleep(0.5)
        pytest.fail("the server does not answer")

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


def test_what_was_trained_meanwhile_is_sent_when_it_is_back(server: Server, tmp_path: Path) -> None:
    journal = tmp_path / "mlruns" / "sweeps" / "meanwhile" / JOURNAL_FILE
    arguments = [*SWEEP, "sweep.name=meanwhile", f"tracking.uri={server.uri}"]
    with started(tmp_path, *arguments) as running:
        wait_for_epochs(tmp_path, 2)
        server.kill()
        while '"kind":"ended"' not in journal.read_text():
            assert running.poll() is None, running.communicate()
            time.sleep(0.2)
        server.start()
        _, said = running.communicate(timeout=300)
    assert running.returncode == 0, said
    assert "tracking: unavailable, training continues: MLflow could not" in said
    assert said.endswith("tracking: available again\n")
    assert_complete(server, "meanwhile")


def test_where_it_stays_away_the_next_start_sends_what_is_missing(
    server: Server, tmp_path: Path
) -> None:
    arguments = [*SWEEP, "sweep.name=later", f"tracking.uri={server.uri}"]
    (unsent,) = calls(tmp_path, arguments, before=IMPATIENT + kills_at_the_second_epoch(server))
    server.kill()
    assert unsent.exit_code == 1
    assert "messages to the tracker could not be sent: MLflow could not" in unsent.err
    assert "To resume: python -m fmnist_sweep" in unsent.out
    server.start()
    (sent,) = calls(tmp_path, arguments)
    assert sent.exit_code == 0, sent
    assert "epoch  1" not in sent.out, "nothing is trained again"
    assert_complete(server, "later")


def kills_at_the_second_epoch(server: Server) -> str:
    assert server._process is not None
    return f"""
import os, signal
from fmnist_sweep.sweep.loop import SweepLoop
record, epochs = SweepLoop.record, []

def killing(self, told):
    record(self, told)
    epochs.extend([told] if told.kind == "epoch" else [])
    if len(epochs) == 2 and told is epochs[-1]:
        os.killpg({server._process.pid}, signal.SIGKILL)

SweepLoop.record = killing
"""


def assert_complete(server: Server, name: str) -> None:
    """Every run of a sweep has FINISHED, and no step of a metric is missing or stands twice."""
    client = MlflowClient(server.uri)
    experiment = client.get_experiment_by_name("fmnist-sweep")
    assert experiment is not None
    of_the_sweep = f"tags.`sweep.name` = '{name}'"
    runs = client.search_runs([experiment.experiment_id], of_the_sweep)
    assert {run.info.status for run in runs} == {"FINISHED"}
    trials = [run for run in runs if run.data.tags["fmnist.role"] == "trial"]
    assert len(trials) == 3
    for run in trials:
        for metric in EPOCH_METRICS | LAST_METRICS:
            history = client.get_metric_history(run.info.run_id, metric)
            wanted = [1, 2] if metric in EPOCH_METRICS else [2]
            assert [logged.step for logged in history] == wanted, metric
        files = {found.path for found in client.list_artifacts(run.info.run_id, "checkpoints")}
        assert files == {"checkpoints/best.keras"}
