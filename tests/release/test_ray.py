"""Sweeps in Ray's workers, on this machine and on a cluster whose nodes come and go."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from program import QUICK_SPACE, SMALL, leaderboard, program, started, sweep_folder
from torture import FOLDS, arguments_of

from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.config.schema import RayConfig
from fmnist_sweep.errors import RunError
from fmnist_sweep.executors.protocol import Rung, run_now

if importlib.util.find_spec("ray") is None:
    pytest.skip("Ray is not installed: make setup RAY=1", allow_module_level=True)

WORDS = [*SMALL, *QUICK_SPACE, "sweep.max_trials=4", "train.epochs=4"]
RAY = [*WORDS, "executor=ray", "executor.checkpoint_minutes=0"]


def table(folder: Path) -> Any:
    """The leaderboard by trial: which one ends first is chance."""
    return leaderboard(folder).set_index("trial").sort_index()


def records(folder: Path) -> list[dict[str, Any]]:
    journals = list(folder.glob("mlruns/sweeps/*/journal.jsonl"))
    lines = journals[0].read_text().splitlines() if journals else []
    found = [json.loads(line) for line in lines if line.endswith("}")]
    return [line.get("record", line) for line in found]


def epochs(folder: Path) -> int:
    return sum(record["kind"] == "epoch" for record in records(folder))


def wait_until(true: Callable[[], bool], seconds: float = 300.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


def descendants(process: int) -> set[int]:
    """The processes below one, without those that have ended."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            parents[int(path.parent.name)] = int(parent)
    found = {process}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {process}


def is_running(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture(scope="module")
def inline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inline")
    done = program(folder, *WORDS)
    assert done.returncode == 0, done.stderr
    return folder


def test_folds_and_their_checkpoints_travel_as_others_do(tmp_path: Path) -> None:
    inline, ray = tmp_path / "inline", tmp_path / "ray"
    for folder, words in ((inline, []), (ray, ["executor=ray", "executor.workers=1"])):
        folder.mkdir()
        done = program(folder, *arguments_of(FOLDS), *words)  # asha: with one worker, as in line
        assert done.returncode == 0, done.stderr
    assert table(inline).equals(table(ray))


def test_a_sweep_killed_and_interrupted_and_moved_ends_as_one_in_line(
    tmp_path: Path, inline: Path
) -> None:
    for number, reached in ((signal.SIGKILL, 2), (signal.SIGINT, 5), (signal.SIGTERM, 8)):
        with started(tmp_path, *RAY, "executor.workers=2", own_group=True) as running:
            wait_until(lambda reached=reached: epochs(tmp_path) >= reached)
            below = descendants(running.pid)
            assert len(below) > 4, "Ray's processes"
            if number == signal.SIGINT:
                os.killpg(running.pid, number)  # as a terminal does
            else:
                running.send_signal(number)
            _, errors = running.communicate(timeout=300)
        assert running.returncode in (-number, 128 + number)
        assert "Traceback" not in errors
        wait_until(lambda below=below: not any(map(is_running, below)))
    done = program(tmp_path, *WORDS, "sweep.max_trials=3")  # goes on inline
    assert done.returncode == 0, done.stderr
    done = program(tmp_path, *RAY)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert table(inline).equals(table(tmp_path))
    places = [record for record in records(tmp_path) if record["kind"] == "runs_in"]
    assert [place.get("host") for place in places] == [None, os.uname().nodename]
    left = {path.name for path in sweep_folder(tmp_path).iterdir()}
    assert left == {"best.yaml", "classes.csv", "config.json", "journal.jsonl", "lock"}


@contextmanager
def cluster() -> Iterator[Any]:
    """A cluster of a head without processors, on this machine."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        yield made
    finally:
        made.shutdown()


def test_nodes_are_killed_and_join(tmp_path: Path, inline: Path) -> None:
    with cluster() as nodes:
        first = nodes.add_node(num_cpus=1)
        words = [*RAY, f"executor.address={nodes.address}"]
        with started(tmp_path, *words) as running:
            wait_until(lambda: epochs(tmp_path) >= 1)
            nodes.add_node(num_cpus=1)
            wait_until(lambda: epochs(tmp_path) >= 3)
            nodes.remove_node(first, allow_graceful=False)
            wait_until(lambda: epochs(tmp_path) >= 9)
            nodes.add_node(num_cpus=1)
            _, errors = running.communicate(timeout=600)
    assert running.returncode == 0, errors
    assert "Traceback" not in errors
    assert table(inline).equals(table(tmp_path))
    told = [(r["trial"], r["epoch"]) for r in records(tmp_path) if r["kind"] == "epoch"]
    assert len(told) == len(set(told)) == 16


def test_a_machine_with_another_version_is_refused_with_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fmnist_sweep.executors import ray_pool
    from fmnist_sweep.executors.ray_session import ray_session

    config = compose_config(["executor=ray", "data=synthetic"])
    assert isinstance(config.executor, RayConfig)
    here = ray_pool.versions_here()
    monkeypatch.setattr(ray_pool, "versions_here", lambda: {**here, "keras": "0.1"})
    with ray_session(config.executor, 0), ray_workers_without_data(config.executor) as executor:
        rung = Rung(config.run, 0, 1, tmp_path)
        with pytest.raises(
            RunError, match=f"no worker can train: .* keras {here['keras']}, here 0.1"
        ):
            run_now(executor, rung)


def ray_workers_without_data(config: RayConfig) -> Any:
    from fmnist_sweep.executors.ray_executor import ray_workers
    from fmnist_sweep.executors.ray_pool import Supplies

    return ray_workers(config, Supplies(b"", b"", None))
