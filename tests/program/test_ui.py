"""The side command `ui`, without its server: what it says and what it refuses."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from fmnist_sweep import runtime
from fmnist_sweep.cli.ui import ui
from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.tracking.mlflow.store import ensure_local_store, local_store_uri


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    ensure_local_store(folder)
    return folder


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[str, ...], str]]:
    """How MLflow's server would have been started: that ends the process."""
    calls: list[tuple[tuple[str, ...], str]] = []
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(
        runtime, "become", lambda words, *, backend_store: calls.append((words, backend_store))
    )
    return calls


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http", "", "5000.0", "\u0665"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(ConfigError, match=r"^ui: PORT=.*: must be a number from 1 to 65535$"):
        ui(compose_config([]), port)


def test_a_port_that_is_taken_is_refused(
    store: Path, taken: int, monkeypatch: pytest.MonkeyPatch, served: list[object]
) -> None:
    monkeypatch.chdir(store)
    with pytest.raises(ConfigError, match=rf"^ui: PORT={taken} is unavailable: .*; choose another"):
        ui(compose_config([]), str(taken))
    assert served == []


def test_where_nothing_is_tracked_there_is_nothing_to_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, served: list[object]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"mlruns/mlflow\.db: does not exist"):
        ui(compose_config([]))
    with pytest.raises(ConfigError, match=r"^ui: tracking\.enabled=false"):
        ui(compose_config(["tracking=off"]))
    assert not list(tmp_path.iterdir())
    assert served == []


def test_it_prints_links_to_what_is_there_and_serves_it(
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    served: list[tuple[tuple[str, ...], str]],
) -> None:
    monkeypatch.chdir(store)
    config = compose_config([])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    root = f"http://127.0.0.1:{port}"
    ui(config, port)
    assert capsys.readouterr().out == f"MLflow's UI: {root} (Ctrl-C ends it)\n"

    client = MlflowClient(local_store_uri(store))
    sweeps = client.create_experiment("fmnist-sweep")
    for name, role, start in (("old", "sweep", 1), ("new", "sweep", 2), ("new-0", "trial", 3)):
        client.create_run(sweeps, start, {"fmnist.role": role}, name)
    trainings = client.create_experiment("fmnist-train")
    ui(config, port)
    lines = capsys.readouterr().out.splitlines()
    links = {line.rpartition("  ")[0].strip(): line.rpartition("  ")[2] for line in lines[1:]}
    (latest,) = client.search_runs([sweeps], "attributes.run_name = 'new'")
    assert list(links) == [
        "sweeps and their trials", "learning curves", "latest sweep, new", "single trainings"
    ]  # fmt: skip
    assert links["sweeps and their trials"].startswith(f"{root}/#/experiments/{sweeps}/runs?")
    assert links["latest sweep, new"].startswith(
        f"{root}/#/experiments/{sweeps}/runs/{latest.info.run_id}"
    )
    assert links["single trainings"].startswith(f"{root}/#/experiments/{trainings}/runs")
    for words, backend in served:
        assert backend == local_store_uri(store)
        assert backend not in words, "which everybody could read"
        assert words[words.index("--host") + 1] == "127.0.0.1"
        assert words[words.index("--port") + 1] == port
    assert len(served) == 2
