"""Growth of a process from its 10th to its 60th small network: plain Keras, and a sweep.

Each way runs in a separate process, one after the other, three times:

- `plain`: build, compile, fit, evaluate, `del`, as in a hand-written loop.
- `cleared`: the same, with `keras.backend.clear_session()` after each network.
- `sweep`: `run_sweep` with random search, checkpoints, journal and MLflow on SQLite.

Measured is the process's resident memory (Linux), after each network and a garbage collection.

`memory.py [networks=60] [grows_from=10] [repeats=3] [ways=plain,cleared,sweep]`. `networks=3
grows_from=1 repeats=1` takes half a minute. `memory.py way sweep 60` measures one way once and
prints
megabytes after each network.
"""

from __future__ import annotations

import gc
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from measuring import in_process, read_sizes, say, say_figure, say_where, tell

from fmnist_sweep import runtime
from fmnist_sweep.config.compose import compose_config

ALLOWED_MB = 20
PEER = "plain"
SWEEP = (
    "data=synthetic", "data.train_size=600", "data.test_size=20", "data.image_size=12",
    "split.validation=100", "split.test=100",
    "train.threads=1", "train.epochs=1", "train.batch_size=50", "tuner=random",
    "train.optimizer.name=sgd", "train.optimizer.learning_rate=0.01",
    "model=small_cnn", "model.conv_blocks=[{channels: 4}]", "model.fc_layers=[{neurons: 8}]",
    "model.conv_defaults.batch_norm=false", "model.fc_defaults.batch_norm=false",
    "model.head.batch_norm=false",
    "+space.model.conv_blocks.0.channels={int: [2, 16]}",
    "+space.model.fc_layers.0.neurons={int: [4, 32]}",
)  # fmt: skip


class Sizes(NamedTuple):
    """How much is trained, and how often."""

    networks: int = 60
    grows_from: int = 10
    repeats: int = 3
    ways: tuple[str, ...] = ("plain", "cleared", "sweep")


def main(arguments: list[str]) -> None:
    """Measure one way, or compare them all."""
    match arguments:
        case ["way", way, networks]:
            runtime.load_tensorflow()  # without log output
            tell(WAYS[way](int(networks)))
        case _:
            compare(read_sizes(arguments, Sizes()))


def compare(sizes: Sizes) -> None:
    """Print the growth of each way's process."""
    first, last = sizes.grows_from, sizes.networks
    if not 1 <= first < last:
        raise SystemExit(
            f"networks={last} grows_from={first}: wanted is 1 <= grows_from < networks"
        )
    say_where()
    say(f"growth from network {first} to {last}; allowed: {PEER}'s + {ALLOWED_MB} MB")
    growths: dict[str, list[float]] = {way: [] for way in sizes.ways}
    for _ in range(sizes.repeats):
        for way, measured in growths.items():
            held = in_process(__file__, "way", way, str(last))
            measured.append(held[-1] - held[first - 1])
    for way, measured in growths.items():
        say_figure(way, measured, "MB", peer=growths.get(PEER))


def plain(networks: int) -> list[float]:
    """Train the networks in a loop."""
    return _loop(networks, lambda: None)


def cleared(networks: int) -> list[float]:
    """Train the networks in a loop that clears Keras's session after each."""
    import keras

    return _loop(networks, keras.backend.clear_session)


def sweep(networks: int) -> list[float]:
    """Train the networks as a sweep's trials."""
    from fmnist_sweep import run_sweep
    from fmnist_sweep.journal.records import Told
    from fmnist_sweep.sweep.opening import Watch

    sizes: list[float] = []

    def observer(record: Any, state: Any) -> None:
        if isinstance(record, Told):
            sizes.append(_megabytes())

    config = compose_config([*SWEEP, f"sweep.max_trials={networks}"])
    run_sweep(config, watch=Watch(on_record=observer))
    return sizes


WAYS: dict[str, Callable[[int], list[float]]] = {"plain": plain, "cleared": cleared, "sweep": sweep}


def _loop(networks: int, after_each: Callable[[], None]) -> list[float]:
    from fmnist_sweep.training.preparation import prepare

    data = prepare(compose_config(SWEEP).run).data
    assert data.validation is not None
    train, validation, test = (
        (images.images.astype("float32") / 255, images.labels)
        for images in (data.train, data.validation, data.test)
    )
    sizes = []
    draw = random.Random(1)
    for _ in range(networks):
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


if __name__ == "__main__":
    main(sys.argv[1:])
