"""How much a process grows from its 10th to its 60th small network: plain Keras, and a sweep.

Each way runs in a process of its own, one after the other, as often as `REPEATS` says:

- `plain`: build, compile, fit, evaluate, `del`; what a loop by hand does.
- `cleared`: the same, with `keras.backend.clear_session()` after each network.
- `sweep`: `run_sweep` with random search, its checkpoints, its journal and MLflow on SQLite.

Measured is what the process holds in memory (Linux), after each network and Python's collection.
`python benchmarks/memory.py sweep` measures one way once and prints megabytes after each network.
"""

from __future__ import annotations

import gc
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fmnist_sweep import environment
from fmnist_sweep.config.compose import compose_config

NETWORKS = 60
GROWS_FROM = 10
REPEATS = 3
ALLOWED_MB = 20
PEER = "plain"
SWEEP = (
    "data=synthetic", "data.train_size=600", "data.test_size=20", "data.image_size=12",
    "split.validation=100", "split.test=100",
    "train.threads=1", "train.epochs=1", "train.batch_size=50", "tuner=random",
    f"sweep.max_trials={NETWORKS}",
    "train.optimizer.name=sgd", "train.optimizer.learning_rate=0.01",
    "model=small_cnn", "model.conv_blocks=[{channels: 4}]", "model.fc_layers=[{neurons: 8}]",
    "model.conv_defaults.batch_norm=false", "model.fc_defaults.batch_norm=false",
    "model.head.batch_norm=false",
    "+space.model.conv_blocks.0.channels={int: [2, 16]}",
    "+space.model.fc_layers.0.neurons={int: [4, 32]}",
)  # fmt: skip


def main(arguments: list[str]) -> None:
    """Measure one way, or compare them all."""
    if arguments:
        environment.load_tensorflow()  # quietly
        sizes = WAYS[arguments[0]]()
        sys.stdout.write(json.dumps(sizes) + "\n")
        return
    _say_where()
    growths: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(REPEATS):
        for way, measured in growths.items():
            measured.append(growth(sizes_of(way)))
    peer = statistics.median(growths[PEER])
    for way, measured in growths.items():
        median = statistics.median(measured)
        sys.stdout.write(
            f"{way:8} median {median:7.1f} MB, {min(measured):.1f} to {max(measured):.1f}, "
            f"n={len(measured)}; {median - peer:+.1f} MB and {median / peer:.2f} of {PEER}'s\n"
        )


def sizes_of(way: str) -> list[float]:
    """Return what a fresh process holds after each network, in MB."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, str(Path(__file__).resolve()), way],
            cwd=folder, env=_own_environment(), stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
    sizes: list[float] = json.loads(done.stdout.splitlines()[-1])
    return sizes


def growth(sizes: list[float]) -> float:
    """Return by how many MB the process grew from the 10th network to the last."""
    return sizes[-1] - sizes[GROWS_FROM - 1]


def plain() -> list[float]:
    """Train the networks in a loop."""
    return _loop(lambda: None)


def cleared() -> list[float]:
    """Train the networks in a loop that has Keras forget each."""
    import keras

    return _loop(keras.backend.clear_session)


def sweep() -> list[float]:
    """Train the networks as a sweep's trials."""
    from fmnist_sweep import run_sweep
    from fmnist_sweep.search.records import Told

    sizes: list[float] = []

    def observer(record: Any, state: Any) -> None:
        if isinstance(record, Told):
            sizes.append(_megabytes())

    run_sweep(compose_config(SWEEP), observer=observer)
    return sizes


WAYS: dict[str, Callable[[], list[float]]] = {"plain": plain, "cleared": cleared, "sweep": sweep}


def _loop(after_each: Callable[[], None]) -> list[float]:
    from fmnist_sweep.training.preparation import prepare

    data = prepare(compose_config(SWEEP).run).data
    assert data.validation is not None
    train, validation, test = (
        (images.images.astype("float32") / 255, images.labels)
        for images in (data.train, data.validation, data.test)
    )
    sizes = []
    draw = random.Random(1)
    for _ in range(NETWORKS):
        model = _network(draw, data.image_shape, data.train.classes)
        model.fit(*train, validation_data=validation, epochs=1, batch_size=50, verbose=0)
        model.evaluate(*test, verbose=0)
        del model
        after_each()
        sizes.append(_megabytes())
    return sizes


def _network(draw: random.Random, image_shape: tuple[int, int, int], classes: int) -> Any:
    import keras

    model = keras.Sequential(
        [
            keras.Input(image_shape),
            keras.layers.Conv2D(draw.randint(2, 16), 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(draw.randint(4, 32), activation="relu"),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )
    model.compile(
        keras.optimizers.SGD(0.01), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def _megabytes() -> float:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _own_environment() -> dict[str, str]:
    # MLflow on SQLite in the process's own folder, whatever the user has set.
    return {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}


def _say_where() -> None:
    from fmnist_sweep.provenance import environment_of_run

    place = environment_of_run(compose_config(SWEEP).run, ())
    versions = {**place.numerics.versions, **place.packages}
    sys.stdout.write(
        f"{place.numerics.cpu}, {environment.cores()} cores, {place.platform}\n"
        f"{', '.join(f'{name} {version}' for name, version in versions.items())}\n"
        f"growth from network {GROWS_FROM} to {NETWORKS}; allowed: {PEER}'s + {ALLOWED_MB} MB\n"
    )
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
