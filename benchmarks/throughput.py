"""Images trained per second: a plain `keras.Model.fit`, and the same training in this project.

Two networks: the FashionMNISTCNN article's default, and the median, by operations, of 1,000 points
of
the `cnn` sweep's space. Each round has each way once, in new processes, which measure all epochs
but
the first:

- `bare`: Keras's own optimizer, `fit` on float32 NumPy arrays, shuffled, with the same batch size
  and metrics; one thread per core.
- `ours`: one process, one thread per core.
- `together`: as many processes as cores, with one thread each; their total.

Two rates: while steps run, which is the processor's speed; and over whole calls of `fit`, which is
the user's waiting time. They differ if tf.data's tuning thread sleeps at the end of an epoch.

`throughput.py accuracy` trains both networks on all of the data for 5 epochs with 3 seeds, bare and
ours, and compares the accuracies; an hour.

`throughput.py [rounds=3] [epochs=4] [images=0] [networks=default,median]
[precisions=float32,mixed_bfloat16] [processes=1,CORES]`, `throughput.py accuracy [epochs=5]
[images=0] [networks=...] [precisions=...] [seeds=1,2,3]`, and config overrides; `images=0`: the
network's own number, or all of the data. `rounds=1 epochs=2 images=256 networks=median
precisions=float32` takes a minute.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import time
from contextlib import ExitStack
from typing import Any, NamedTuple

from measuring import (
    in_process,
    read_sizes_and_overrides,
    say,
    say_figure,
    say_where,
    started,
    tell,
)

from fmnist_sweep import runtime
from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.config.train_schema import TrainConfig
from fmnist_sweep.data import load_dataset, make_split
from fmnist_sweep.space.overrides import apply_overrides, with_train

IMAGES = {"default": 2_560, "median": 10_240}
PRECISIONS = ("float32", "mixed_bfloat16")


class SpeedSizes(NamedTuple):
    """How much is trained to measure the speed."""

    rounds: int = 3
    epochs: int = 4  # the first one, with tracing, is not counted
    images: int = 0
    networks: tuple[str, ...] = tuple(IMAGES)
    precisions: tuple[str, ...] = PRECISIONS
    processes: tuple[int, ...] = (1, runtime.cores())


class AccuracySizes(NamedTuple):
    """How much is trained to measure the accuracy."""

    epochs: int = 5
    images: int = 0
    networks: tuple[str, ...] = tuple(IMAGES)
    precisions: tuple[str, ...] = PRECISIONS
    seeds: tuple[int, ...] = (1, 2, 3)


class Way(NamedTuple):
    """How to train: `bare` or `ours`, the precision, the number of processes."""

    kind: str
    precision: str
    processes: int = 1

    def __str__(self) -> str:
        together = f", {self.processes} processes" if self.processes > 1 else ""
        return f"{self.kind} {self.precision}{together}"


BARE = Way("bare", "float32")


def main(arguments: list[str]) -> None:
    """Measure one way, or compare them all."""
    match arguments:
        case [("bare" | "ours") as kind, threads, images, config]:
            runtime.load_tensorflow()
            runtime.use_threads(int(threads))
            time_steps()
            trained = bare if kind == "bare" else ours
            tell(trained(RunConfig.model_validate_json(config), int(images)))
        case ["accuracy", *given]:
            compared, overrides = read_sizes_and_overrides(given, AccuracySizes())
            say_where()
            for network in compared.networks:
                compare_accuracy(config_of(network, overrides), compared)
        case _:
            sizes, overrides = read_sizes_and_overrides(arguments, SpeedSizes())
            say_where()
            for network in sizes.networks:
                number = sizes.images or IMAGES[network]
                compare_speed(config_of(network, overrides), number, sizes)


def compare_speed(config: RunConfig, images: int, sizes: SpeedSizes) -> None:
    """Print the images per second of each way, and its ratio to the `bare` fit of the same
    rounds."""
    if sizes.epochs < 2:
        raise SystemExit(
            f"epochs={sizes.epochs}: the first epoch, which traces, does not count; 2 or more"
        )
    config = with_train(config, epochs=sizes.epochs)
    each = itertools.product(sizes.precisions, sizes.processes)
    ways = [BARE, *(Way("ours", *given) for given in each)]
    rates: dict[str, dict[Way, list[float]]] = {
        rate: {way: [] for way in ways} for rate in ("in_steps", "in_fit")
    }
    for _ in range(sizes.rounds):
        for way in ways:
            told = train(way, config, images)
            for rate, measured in rates.items():
                measured[way].append(sum(statistics.median(one[rate][1:]) for one in told))
    for rate, speeds in rates.items():
        say(rate)
        for way, values in speeds.items():
            say_figure(str(way), values, "images/s", peer=speeds[BARE])


def compare_accuracy(config: RunConfig, sizes: AccuracySizes) -> None:
    """Print each way's accuracy on the split's test set after these epochs, over the seeds."""
    config = with_train(config, epochs=sizes.epochs)
    ways = (BARE, *(Way("ours", precision) for precision in sizes.precisions))
    found: dict[Way, list[float]] = {way: [] for way in ways}
    for seed in sizes.seeds:
        for way, measured in found.items():
            (told,) = train(way, with_train(config, seed=seed), sizes.images)
            measured.append(100 * told["test_accuracy"])
            say(f"  {way!s:28} seed {seed}: {measured[-1]:.2f} %")
    for way, measured in found.items():
        say_figure(f"{way!s}, test_accuracy", measured, "%", peer=found[BARE])
        mean = statistics.mean(measured)
        spread = f" ± {statistics.stdev(measured):.2f}" if len(measured) > 1 else ""
        apart = mean - statistics.mean(found[BARE])
        say(f"{'':34} mean {mean:.2f} %{spread}, {apart:+.2f} points beside the peer's")


def train(way: Way, config: RunConfig, images: int) -> list[dict[str, Any]]:
    """Train in several processes at the same time, which share the cores; return their results."""
    config = with_train(config, precision=way.precision)
    threads = str(runtime.cores() // way.processes)
    given = (way.kind, threads, str(images), config.model_dump_json())
    with ExitStack() as stack:
        others = [stack.enter_context(started(__file__, *given)) for _ in range(way.processes - 1)]
        told = [in_process(__file__, *given)]
        told += [json.loads(other.communicate()[0].splitlines()[-1]) for other in others]
    return told


def bare(config: RunConfig, images: int) -> dict[str, Any]:
    """Train with Keras only."""
    import keras
    import tensorflow as tf

    from fmnist_sweep.model.builder import build_cnn
    from fmnist_sweep.training.optimizers import make_loss, make_schedule

    check_bare(config.train)
    data = sets(config, images)
    train = (data.train.images.astype("float32") / 255, data.train.labels)
    test = (data.test.images.astype("float32") / 255, data.test.labels)
    steps = -(-len(data.train) // config.train.batch_size)
    keras.utils.set_random_seed(config.train.seed)
    keras.config.set_dtype_policy(config.train.precision)
    model = build_cnn(config.model, data.image_shape, data.train.classes)
    optimizer = config.train.optimizer
    rate = make_schedule(
        config.train.schedule, optimizer.learning_rate, steps, steps * (config.train.epochs or 1)
    )
    if optimizer.name == "adamw":
        made = keras.optimizers.AdamW(rate, weight_decay=optimizer.weight_decay)
    else:
        made = keras.optimizers.Adam(rate)
    model.compile(made, loss=make_loss(config.train), metrics=["accuracy"])
    seconds = []
    for epoch in range(config.train.epochs or 1):
        # Keras shuffles by the global seed, reset in each epoch: otherwise all
        # epochs would have the same batches.
        tf.random.set_seed(1000 * config.train.seed + epoch)
        began = time.perf_counter()
        model.fit(*train, batch_size=config.train.batch_size, epochs=1, verbose=0)
        seconds.append(time.perf_counter() - began)
    accuracy = model.evaluate(*test, batch_size=1000, verbose=0)[1]
    return {**rates_of(len(data.train), seconds), "test_accuracy": accuracy}


def check_bare(train: TrainConfig) -> None:
    """Raise AssertionError if `bare` would train something else than `ours`."""
    from fmnist_sweep.training.optimizers import wants_one_hot

    optimizer, said = train.optimizer, "a bare fit is written for"
    assert optimizer.name in ("adam", "adamw"), f"{said} adam and adamw, not {optimizer.name}"
    kept = optimizer.name == "adamw" or optimizer.weight_decay == 0
    assert kept, f"{said} weight_decay=0 with adam, not {optimizer.weight_decay}"
    assert optimizer.clip_norm is None, f"{said} clip_norm=null, not {optimizer.clip_norm}"
    one_hot = f"{said} class numbers, no label_smoothing or loss=categorical_crossentropy"
    assert not wants_one_hot(train), one_hot


def ours(config: RunConfig, images: int) -> dict[str, Any]:
    """Train like a trial."""
    from fmnist_sweep.training.evaluation import evaluate
    from fmnist_sweep.training.rung import default_builder
    from fmnist_sweep.training.train import train as train_ours

    data = sets(config, images)
    epochs = config.train.epochs or 1
    trained = train_ours(config, data, 0, epochs, build_model=default_builder)
    seconds = [record.metrics["epoch_seconds"] for record in trained.checkpoint.history]
    accuracy = evaluate(trained.model, data.test)["accuracy"]
    return {**rates_of(len(data.train), seconds), "test_accuracy": accuracy}


_steps: list[float] = []


def time_steps() -> None:
    """Make each training step record its seconds."""
    from keras.src.backend.tensorflow.trainer import TensorFlowTrainer

    make = TensorFlowTrainer.make_train_function

    def make_timed(model: Any, force: bool = False) -> None:
        before = model.train_function
        make(model, force)
        function = model.train_function
        if function is before:
            return

        def timed(batches: Any) -> Any:
            began = time.perf_counter()
            told = function(batches)
            _steps.append(time.perf_counter() - began)
            return told

        model.train_function = timed

    TensorFlowTrainer.make_train_function = make_timed


def rates_of(images: int, seconds: list[float]) -> dict[str, list[float]]:
    """Return the images per second of each epoch: in its steps, and in the whole of its `fit`."""
    steps = len(_steps) // len(seconds)
    in_steps = [sum(_steps[epoch * steps : (epoch + 1) * steps]) for epoch in range(len(seconds))]
    return {
        "in_steps": [images / second for second in in_steps],
        "in_fit": [images / second for second in seconds],
    }


def sets(config: RunConfig, images: int) -> Any:
    """Return the split's sets without validation, with this many training images; 0: all."""
    from fmnist_sweep.training.batches import ImageSet, TrainingData

    dataset = load_dataset(config.data)
    data = TrainingData.of(dataset, make_split(config.split, dataset))
    some = slice(images or None)
    train = ImageSet(data.train.images[some], data.train.labels[some], data.train.classes)
    return TrainingData(train, None, data.test)


def config_of(network: str, overrides: tuple[str, ...]) -> RunConfig:
    """Return a network's config, and print what it is."""
    if network == "default":
        say("\ndefault: the FashionMNISTCNN article's network")
        return compose_config(overrides).run
    runtime.load_tensorflow()  # without log output
    from fmnist_sweep.model.plan import plan_cnn
    from fmnist_sweep.sweep.plan import plan_sweep
    from fmnist_sweep.tuners.encoding import sample_points
    from fmnist_sweep.workspace import Workspace

    sweep = compose_config(["+sweep=cnn", *overrides])
    plan = plan_sweep(sweep, None, None, label="cnn", pinned=(), workspace=Workspace.here())
    feasible = [
        apply_overrides(sweep.run, plan.space.overrides(point))
        for point in sample_points(plan.space, 1000, seed=1)
        if plan.why_infeasible(point) is None
    ]
    feasible.sort(key=lambda config: plan_cnn(config.model, (28, 28, 1), 10).mflops)
    median = feasible[len(feasible) // 2]
    blocks = [f"{block.channels} of {block.filter}" for block in median.model.conv_blocks]
    say(f"\nmedian: convolutions {blocks}, {median.train.batch_size} images a step")
    return median


if __name__ == "__main__":
    main(sys.argv[1:])
