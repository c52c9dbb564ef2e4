"""Messages between a sweep's owner and its worker processes."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fmnist_sweep.config.metrics import Metric


@dataclass(frozen=True)
class Job:
    """What a worker trains, for all rungs.

    `data` is a folder of `TrainingData.save`, None where the engine brings the data; a user's
    builder is pickled by value. `tells_steps`: whether to report progress within epochs.
    `registered`: what the builder's networks need from Keras's registry, see `registered_here`.
    `reaches`: what the builder refers to in the owner's process (`reached_by`). `metrics`: those of
    the user's own.
    """

    data: Path | None
    classes: int
    threads: int
    build_model: Callable[..., Any] | None
    every_steps: int | None
    tells_steps: bool = False
    registered: Mapping[str, Any] = field(default_factory=dict)
    reaches: Mapping[str, str] | None = None
    metrics: tuple[Metric, ...] = ()


@dataclass(frozen=True)
class Address:
    """The owner's address, and the worker's identity."""

    listener: Any
    key: bytes
    worker: int


READY = "ready"
BEGUN = "begun"  # with a rung's ticket
OWNERS_SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
"""The terminal sends these to all its processes; workers ignore them, because the owner ends
them."""


@dataclass(frozen=True)
class CannotStart:
    """Why a worker cannot train any rung."""

    reason: str
