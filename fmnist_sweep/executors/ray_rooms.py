"""On which of a cluster's nodes workers fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fmnist_sweep.config.schema import RayConfig


def nodes_for_workers(
    nodes: Iterable[Mapping[str, Any]], config: RayConfig, refused: Iterable[str]
) -> list[str]:
    """Return the ids of the living nodes, each as often as workers fit, at most `config.workers`;
    the first ones are on different nodes. `nodes` are as Ray lists them."""
    rooms = [
        (number, node["NodeID"])
        for node in nodes
        if node["Alive"] and node["NodeID"] not in refused
        for number in range(_room(node["Resources"], config))
    ]
    return [node for _, node in sorted(rooms)][: config.workers]


def _room(resources: Mapping[str, float], config: RayConfig) -> int:
    fits = resources.get("CPU", 0.0) / config.cpus
    if config.gpus:
        fits = min(fits, resources.get("GPU", 0.0) / config.gpus)
    return int(fits + 1e-9)  # 0.3 is three times 0.1
