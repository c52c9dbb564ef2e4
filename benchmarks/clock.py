"""The clock of `overhead.py`: divides a sweep's time into training and the rest."""

from __future__ import annotations

import functools
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

STEPS, TRACING = "training and validation", "tracing"
TEST, REPORT, REGISTERING = "measuring on test sets", "report", "registering"
BESIDE = (TEST, REPORT, REGISTERING)
"""Parts whose steps are not training, but predictions for a test set or a picture."""


class Clock:
    """Adds up the seconds of each part, in the main thread.

    Time in a nested part counts for that part only. Keras's step functions are parts from the
    start.
    """

    def __init__(self) -> None:
        from keras.src.backend.tensorflow.trainer import TensorFlowTrainer

        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._open: list[str] = []
        self._nested: list[float] = []
        self._laps: list[tuple[float, float]] = []
        self._started = 0.0
        for kind in ("train", "test", "predict"):
            self._follow(TensorFlowTrainer, kind)

    def start(self) -> None:
        """Reset the clock."""
        self.seconds.clear()
        self._laps = [(0.0, 0.0)]
        self._started = time.perf_counter()

    def lap(self) -> None:
        """Record the end of a trial."""
        wall = time.perf_counter() - self._started
        self._laps.append((wall, wall - self.seconds[STEPS] - self.seconds[TRACING]))

    def read(self) -> dict[str, Any]:
        """Return the seconds of everything, of the parts, and of each trial, as plain values for
        JSON."""
        walls, overheads = zip(*self._laps, strict=True)
        return {
            "wall": time.perf_counter() - self._started,
            "parts": dict(self.seconds),
            "walls": _differences(walls),
            "overheads": _differences(overheads),
        }

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the block as a part."""
        started = time.perf_counter()
        self._open.append(name)
        self._nested.append(0.0)
        try:
            yield
        finally:
            elapsed = time.perf_counter() - started
            self._open.pop()
            self.seconds[name] += elapsed - self._nested.pop()
            if self._nested:
                self._nested[-1] += elapsed

    def follow(self, owner: Any, attribute: str, name: str) -> None:
        """Count each call of a function as a part."""
        function = getattr(owner, attribute)

        @functools.wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            with self.part(name):
                return function(*arguments, **named)

        setattr(owner, attribute, timed)

    def _follow(self, trainer: type, kind: str) -> None:
        """Count the steps of each function of this kind that a model creates."""
        make, made = f"make_{kind}_function", f"{kind}_function"
        original = getattr(trainer, make)

        def made_and_timed(model: Any, force: bool = False) -> None:
            before = getattr(model, made)
            original(model, force)
            if getattr(model, made) is not before:
                setattr(model, made, self._timed_step(getattr(model, made)))

        setattr(trainer, make, made_and_timed)

    def _timed_step(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        import keras

        seen: set[tuple[Any, ...]] = set()

        def step(batches: Any) -> Any:
            # Prediction receives batches; the others an iterator, traced once for all its shapes.
            given = keras.tree.flatten(batches) if isinstance(batches, list) else []
            shapes = tuple(tuple(batch.shape) for batch in given)
            beside = [part for part in self._open if part in BESIDE]
            name = beside[-1] if beside else STEPS
            with self.part(name if shapes in seen else TRACING):
                seen.add(shapes)
                return function(batches)

        return step


def _differences(sums: tuple[float, ...]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(sums)]
