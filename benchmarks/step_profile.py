"""The time of a training step by operation, compared with what the processor can do.

One thread, so that operations do not overlap. The peer is the floor: the time that the convolutions
and matrix products would take at the speed of a large matrix product, measured in the same process
before each profiled epoch; three times the forward operations, because a step also computes the
gradients of inputs and weights.

Each figure is of a whole profiled epoch: the mean of its steps, by a clock around the step function
and by the operations in the profile of the same steps. So the time outside of operations is Keras's
and TensorFlow's own work on a step, and the profiler's. The line of the epochs without profiling
shows the profiler's overhead. Work of the data's own threads is not included; waiting for them is.

`step_profile.py [steps=20] [epochs=5] [networks=default,small_cnn]
[precisions=float32,mixed_bfloat16]`. `steps=3 epochs=2 networks=small_cnn precisions=float32` takes
seconds.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from measuring import in_process, read_sizes, say, say_figure, say_where, tell

from fmnist_sweep import runtime
from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.space.overrides import with_train

SHOWN = 14
NETWORKS = {"default": (), "small_cnn": ("model=small_cnn",)}
KINDS = ("convolutions", "matrix products", "batch normalisation", "other operations")
STEP, UNSEEN, FLOOR, OUTSIDE = (
    "a step",
    "a step, not profiled",
    "the floor",
    "outside of operations",
)


class Sizes(NamedTuple):
    """How much is measured: the epochs per network, and their steps."""

    steps: int = 20
    epochs: int = 5
    networks: tuple[str, ...] = tuple(NETWORKS)
    precisions: tuple[str, ...] = ("float32", "mixed_bfloat16")


def main(arguments: list[str]) -> None:
    """Profile one network, or each."""
    match arguments:
        case ["profile", network, precision, steps, epochs]:
            runtime.load_tensorflow()
            runtime.use_threads(1)
            tell(profile(network, precision, int(steps), int(epochs)))
        case _:
            sizes = read_sizes(arguments, Sizes())
            say_where()
            for network in sizes.networks:
                for precision in sizes.precisions:
                    given = ("profile", network, precision, str(sizes.steps), str(sizes.epochs))
                    say(f"\n{network}, {precision}, 1 thread; n epochs of {sizes.steps} steps")
                    say_profile(in_process(__file__, *given))


def say_profile(told: dict[str, Any]) -> None:
    """Print a step's parts relative to the whole step, and the whole relative to the floor."""
    rows: dict[str, list[float]] = told["rows"]
    say(f"{told['images']} images a step; the peer is the floor")
    for name in (STEP, UNSEEN):
        say_figure(name, rows[name], "ms", peer=rows[FLOOR], whose=FLOOR)
    for name in (FLOOR, *KINDS, OUTSIDE):
        say_figure(name, rows[name], "ms", peer=rows[STEP], whose=STEP)
    both = [sum(each) for each in zip(rows[KINDS[0]], rows[KINDS[1]], strict=True)]
    say_figure(f"{KINDS[0]} and products", both, "ms", peer=rows[FLOOR], whose=FLOOR)
    step = statistics.median(rows[STEP])
    for name, spent in told["operations"]:
        say(f"    {name:38} {spent:6.2f} ms {spent / step:5.1%}")


def profile(network: str, precision: str, steps: int, epochs: int) -> dict[str, Any]:
    """Return the parts of a training step, in milliseconds, for each epoch."""
    config = with_train(compose_config(NETWORKS[network]).run, precision=precision)
    epoch = trainer(config, steps)
    epoch()  # traces
    rows: dict[str, list[float]] = {}
    operations: defaultdict[str, float] = defaultdict(float)
    for _ in range(epochs):
        unseen = epoch()
        floor = floor_ms(config)
        step, spent = profiled(epoch, steps)
        kinds = dict.fromkeys(KINDS, 0.0)
        for name, milliseconds in spent.items():
            kinds[kind_of(name)] += milliseconds
            operations[name] += milliseconds / epochs
        outside = step - sum(spent.values())
        found = {STEP: step, UNSEEN: unseen, FLOOR: floor, **kinds, OUTSIDE: outside}
        for name, milliseconds in found.items():
            rows.setdefault(name, []).append(milliseconds)
    return {
        "images": config.train.batch_size,
        "rows": rows,
        "operations": sorted(operations.items(), key=lambda one: -one[1])[:SHOWN],
    }


def trainer(config: RunConfig, steps: int) -> Callable[[], float]:
    """Return a function that trains an epoch and returns the mean milliseconds of its steps."""
    import numpy as np

    from fmnist_sweep.training.batches import ImageSet, TrainingData
    from fmnist_sweep.training.rung import default_builder
    from fmnist_sweep.training.step_plan import StepPlan
    from fmnist_sweep.training.train import compiled_model

    size = config.train.batch_size
    draw = np.random.default_rng(1)
    images = draw.integers(0, 256, (steps * size, 28, 28, 1)).astype(np.uint8)
    train = ImageSet(images, draw.integers(0, 10, steps * size), 10)
    plan = StepPlan.of(config.train, len(train))
    model = compiled_model(config, TrainingData(train, None, train), plan, default_builder)
    function, seconds = model.train_function, []

    def timed(batches: Any) -> Any:
        # On a CPU the step function returns when its work is done.
        began = time.perf_counter()
        told = function(batches)
        seconds.append(time.perf_counter() - began)
        return told

    model.train_function = timed

    def epoch() -> float:
        seconds.clear()
        batches = train.shuffled(np.arange(len(train)), size, steps, one_hot=False)
        model.fit(batches, epochs=1, verbose=0, shuffle=False)
        assert len(seconds) == steps, f"{len(seconds)} steps were seen of {steps}"
        return 1e3 * statistics.mean(seconds)

    return epoch


def profiled(epoch: Callable[[], float], steps: int) -> tuple[float, dict[str, float]]:
    """Return the result of `epoch`, and the milliseconds per step of each kind of operation."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        milliseconds = epoch()
        tf.profiler.experimental.stop()
        return milliseconds, operations_of(Path(folder), steps)


def operations_of(folder: Path, steps: int) -> dict[str, float]:
    """Return the milliseconds per step of each kind of operation, from a profile's files."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    spent: defaultdict[str, float] = defaultdict(float)
    for path in folder.rglob("*.xplane.pb"):
        space = xplane_pb2.XSpace()
        space.ParseFromString(path.read_bytes())
        for plane in space.planes:
            for line in plane.lines:
                if line.name.startswith("tf_data"):
                    continue  # threads that prepare batches
                for event in line.events:
                    # Operations are named `name:kind`; events that contain others are named
                    # differently.
                    name, colon, kind = plane.event_metadata[event.metadata_id].name.rpartition(":")
                    if colon and name and " " not in name + kind and not name.endswith(":"):
                        spent[kind.removeprefix("_MklNative").removeprefix("_Mkl")] += (
                            event.duration_ps / 1e9 / steps
                        )
    assert spent, "the profile names no operation"
    return spent


def kind_of(operation: str) -> str:
    """Return the group of an operation."""
    groups = (("Conv2D", KINDS[0]), ("MatMul", KINDS[1]), ("BatchNorm", KINDS[2]))
    return next((group for part, group in groups if part in operation), KINDS[3])


def floor_ms(config: RunConfig) -> float:
    """Return the milliseconds of a step's convolutions and products at the speed of a large
    product."""
    from fmnist_sweep.model.plan import plan_cnn

    forward = plan_cnn(config.model, (28, 28, 1), 10).mflops * 1e6
    return 1e3 * 3 * forward * config.train.batch_size / peak(config.train.precision)


def peak(precision: str) -> float:
    """Return the operations per second of a large matrix product, the best of ten."""
    import tensorflow as tf

    size = 2048
    kind = tf.bfloat16 if precision == "mixed_bfloat16" else tf.float32
    one = tf.cast(tf.random.normal((size, size)), kind)
    times = []
    for _ in range(11):
        began = time.perf_counter()
        tf.reduce_sum(tf.cast(tf.matmul(one, one)[0], tf.float32)).numpy()
        times.append(time.perf_counter() - began)
    return 2 * size**3 / min(times)


if __name__ == "__main__":
    main(sys.argv[1:])
