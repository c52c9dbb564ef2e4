"""Where one training step's time goes, operation by operation, and what the processor could do.

One thread, so that operations do not overlap. `floor` is how long the convolutions and matrix
products would take at the speed of a large matrix product, measured in the same run: three times
the forward operations, since a step calculates gradients by images and by weights too.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from measuring import in_process, say, say_where, tell

from fmnist_sweep import environment
from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.space.overrides import with_train

STEPS = 12
SHOWN = 14
NETWORKS = {"default": (), "small_cnn": ("model=small_cnn",)}
KINDS = ("convolutions", "matrix products", "batch normalisation", "everything else")


def main(arguments: list[str]) -> None:
    """Profile one network, or each."""
    if arguments:
        environment.load_tensorflow()
        environment.use_threads(1)
        tell(profile(*arguments))
        return
    say_where()
    for network in NETWORKS:
        for precision in ("float32", "mixed_bfloat16"):
            told = in_process(__file__, network, precision)
            step, floor = told["step_ms"], told["floor_ms"]
            say(f"\n{network}, {precision}, {told['images']} images a step, 1 thread")
            say(f"  a step {step:.1f} ms; the floor is {floor:.1f} ms, {floor / step:.0%} of it")
            for kind in KINDS:
                share = told["kinds"].get(kind, 0.0)
                say(f"  {kind:22} {share:7.1f} ms {share / step:5.0%}")
            for name, spent in told["operations"]:
                say(f"    {name:38} {spent:6.2f} ms {spent / step:5.1%}")


def profile(network: str, precision: str) -> dict[str, Any]:
    """Return what a step of training consists of, in milliseconds."""
    import numpy as np
    import tensorflow as tf

    from fmnist_sweep.model.plan import plan_cnn
    from fmnist_sweep.training.batches import ImageSet, TrainingData
    from fmnist_sweep.training.rung import default_builder
    from fmnist_sweep.training.train import StepPlan, _compiled_model

    config = with_train(compose_config(NETWORKS[network]).run, precision=precision)
    size = config.train.batch_size
    draw = np.random.default_rng(1)
    images = draw.integers(0, 256, (STEPS * size, 28, 28, 1)).astype(np.uint8)
    train = ImageSet(images, draw.integers(0, 10, STEPS * size), 10)
    plan = StepPlan.of(config.train, len(train))
    model = _compiled_model(config, TrainingData(train, None, train), plan, default_builder)

    def epoch() -> float:
        batches = train.shuffled(np.arange(len(train)), size, STEPS, one_hot=False)
        began = time.perf_counter()
        model.fit(batches, epochs=1, verbose=0, shuffle=False)
        return 1e3 * (time.perf_counter() - began) / STEPS

    epoch()
    step_ms = statistics.median(epoch() for _ in range(5))
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        epoch()
        tf.profiler.experimental.stop()
        spent = operations(Path(folder))
    kinds: Counter[str] = Counter()
    for name, milliseconds in spent.items():
        kinds[kind_of(name)] += milliseconds
    forward = plan_cnn(config.model, (28, 28, 1), 10).mflops * 1e6
    return {
        "images": size,
        "step_ms": step_ms,
        "floor_ms": 1e3 * 3 * forward * size / peak(precision),
        "kinds": kinds,
        "operations": spent.most_common(SHOWN),
    }


def operations(folder: Path) -> Counter[str]:
    """Return the milliseconds a step of each kind of operation, from a profile's files."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    spent: Counter[str] = Counter()
    for path in folder.rglob("*.xplane.pb"):
        space = xplane_pb2.XSpace()
        space.ParseFromString(path.read_bytes())
        for plane in space.planes:
            for line in plane.lines:
                for event in line.events:
                    # An operation is called `name:kind`; what holds others is called otherwise.
                    name, colon, kind = plane.event_metadata[event.metadata_id].name.rpartition(":")
                    if colon and name and " " not in name + kind and not name.endswith(":"):
                        spent[kind.removeprefix("_MklNative").removeprefix("_Mkl")] += (
                            event.duration_ps / 1e9 / STEPS
                        )
    return spent


def kind_of(operation: str) -> str:
    """Return the group of an operation."""
    groups = (("Conv2D", KINDS[0]), ("MatMul", KINDS[1]), ("BatchNorm", KINDS[2]))
    return next((group for part, group in groups if part in operation), KINDS[3])


def peak(precision: str) -> float:
    """Return the operations a second of a large matrix product, the best of ten."""
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
