"""What `executor=ray` decides without Ray."""

from __future__ import annotations

import importlib.util
import socket
from typing import Any

import pytest

from fmnist_sweep import runtime
from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.config.schema import RayConfig
from fmnist_sweep.errors import ConfigError, RunError
from fmnist_sweep.executors.ray_rooms import nodes_for_workers
from fmnist_sweep.executors.ray_session import _check_reachable, check_ray


def ray_config(*overrides: str) -> RayConfig:
    config = compose_config(["executor=ray", *overrides]).executor
    assert isinstance(config, RayConfig)
    return config


def node(name: str, *, alive: bool = True, **resources: float) -> dict[str, Any]:
    return {"NodeID": name, "Alive": alive, "Resources": resources}


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], ["a", "b", "b", "b"]),
        (["executor.workers=2"], ["a", "b"]),
        (["executor.cpus=2"], ["b"]),
        (["executor.cpus=0.5"], ["a", "b", "a", "b", "b", "b", "b", "b"]),
        (["executor.cpus=0.5", "executor.gpus=0.1"], ["b", "b", "b"]),
        (["executor.gpus=1"], []),
    ],
)
def test_workers_are_where_they_fit_and_spread(overrides: list[str], expected: list[str]) -> None:
    nodes = [
        node("a", CPU=1.0), node("b", CPU=3.0, GPU=0.3), node("lost", alive=False, CPU=8.0),
        node("head"), node("refused", CPU=4.0),
    ]  # fmt: skip
    assert nodes_for_workers(nodes, ray_config(*overrides), {"refused": "why"}) == expected


def test_without_ray_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="executor=ray: Ray is not installed; make setup RAY=1"):
        check_ray(ray_config())


def test_a_worker_larger_than_this_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(runtime, "cores", lambda: 2)
    check_ray(ray_config("executor.cpus=2"))
    check_ray(ray_config("executor.cpus=3", "executor.address=auto"))
    with pytest.raises(ConfigError, match=r"executor\.cpus=3: this machine has 2; allowed"):
        check_ray(ray_config("executor.cpus=3"))


@pytest.mark.parametrize("address", ["ray://head:10001", "head", "head:port"])
def test_an_address_is_a_host_with_a_port(address: str) -> None:
    with pytest.raises(ConfigError, match=r"executor\..*address"):
        ray_config(f"executor.address='{address}'")


def test_an_address_that_nobody_listens_at_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"  # bound, but not listening
        with pytest.raises(RunError, match=f"executor.address={address}: cannot be reached"):
            _check_reachable(address)
