"""What a sweep's owner and its worker processes say to each other."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Job:
    """What a worker trains, whichever the rung.

    `data` is a folder of `TrainingData.save`; a builder of one's own travels by value.
    `tells_steps`: whether somebody watches how far an epoch is. `registered`: what the builder's
    networks need of Keras's registry, see `registered_here`. `reaches`: what the builder reaches in
    the owner's process (`reached_by`).
    """

    data: Path
    classes: int
    threads: int
    build_model: Callable[..., Any] | None
    every_steps: int | None
    tells_steps: bool = False
    registered: Mapping[str, Any] = field(default_factory=dict)
    reaches: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Address:
    """Where the owner listens, and as which of its workers to call."""

    listener: Any
    key: bytes
    worker: int


READY = "ready"
BEGUN = "begun"  # with a rung's ticket
OWNERS_SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
"""What a terminal sends to all processes in it; the owner ends its workers."""


@dataclass(frozen=True)
class CannotStart:
    """Why a worker cannot train, whatever the rung."""

    reason: str
