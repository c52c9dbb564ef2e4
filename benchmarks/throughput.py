"""Images trained a second: a bare `keras.Model.fit`, and this project's training of the same.

Two networks: the FashionMNISTCNN article's default, and the median, by operations, of 1,000 points
of the `cnn` sweep's space. Each round has each way once, in fresh processes, which measure their
second epoch and those after it:

- `bare`: Keras's own optimizer, `fit` on float32 NumPy arrays, shuffled, with the same batch size
  and metrics; one thread a core.
- `ours`: one process, one thread a core.
- `together`: as many processes as cores, with one thread each; what they train in all.

Two rates: while the steps run, which is what the processor does; and over whole calls of `fit`,
which is what one waits for. They differ where tf.data's tuner sleeps on at the end of an epoch.

`throughput.py accuracy` trains both networks on all of the data for 5 epochs with 3 seeds, bare and
ours, and compares what they are worth.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from measuring import in_process, say, say_figure, say_where, started, tell

from fmnist_sweep import environment
from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.data import load_dataset, make_split
from fmnist_sweep.space.overrides import apply_overrides, with_train

ROUNDS = 3
EPOCHS = 4  # the first one, which traces, does not count
COMPARED_EPOCHS = 5
SEEDS = (1, 2, 3)
IMAGES = {"default": 2_560, "median": 10_240}


class Way(NamedTuple):
    """How to train: `bare` or `ours`, in which precision, in how many processes."""

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
            environment.load_tensorflow()
            environment.use_threads(int(threads))
            time_steps()
            trained = bare if kind == "bare" else ours
            tell(trained(RunConfig.model_validate_json(config), int(images)))
        case ["accuracy", *networks]:
            say_where()
            for network in networks or IMAGES:
                compare_accuracy(network)
        case networks:
            say_where()
            for network in networks or IMAGES:
                compare_speed(network)


def compare_speed(network: str) -> None:
    """Print the images a second of each way, beside the bare `fit` of the same rounds."""
    config = with_train(config_of(network), epochs=EPOCHS)
    both = ("float32", "mixed_bfloat16")
    ways = [BARE, *(Way("ours", precision, n) for precision in both for n in (1, cores()))]
    rates: dict[str, dict[Way, list[float]]] = {
        rate: {way: [] for way in ways} for rate in ("in_steps", "in_fit")
    }
    for _ in range(ROUNDS):
        for way in ways:
            each = train(way, config, IMAGES[network])
            for rate, measured in rates.items():
                measured[way].append(sum(statistics.median(one[rate][1:]) for one in each))
    for rate, speeds in rates.items():
        say(rate)
        for way, values in speeds.items():
            say_figure(str(way), values, "images/s", peer=speeds[BARE])


def compare_accuracy(network: str) -> None:
    """Print the accuracy of each way on the split's test set after 5 epochs, over the seeds."""
    config = with_train(config_of(network), epochs=COMPARED_EPOCHS)
    ways = (BARE, Way("ours", "float32"), Way("ours", "mixed_bfloat16"))
    found: dict[Way, list[float]] = {way: [] for way in ways}
    for seed in SEEDS:
        for way, measured in found.items():
            (told,) = train(way, with_train(config, seed=seed), None)
            measured.append(100 * told["test_accuracy"])
            say(f"  {way!s:28} seed {seed}: {measured[-1]:.2f} %")
    for way, measured in found.items():
        mean, spread = statistics.mean(measured), statistics.stdev(measured)
        apart = mean - statistics.mean(found[BARE])
        say(
            f"{way!s:28} test_accuracy {mean:.2f} % ± {spread:.2f}, n={len(measured)}; {apart:+.2f}"
        )


def train(way: Way, config: RunConfig, images: int | None) -> list[dict[str, Any]]:
    """Train in so many processes at the same time, which share the cores; return what they tell."""
    config = with_train(config, precision=way.precision)
    threads = str(cores() // way.processes)
    given = (way.kind, threads, str(images or 0), config.model_dump_json())
    with ExitStack() as stack:
        others = [stack.enter_context(started(__file__, *given)) for _ in range(way.processes - 1)]
        told = [in_process(__file__, *given)]
        told += [json.loads(other.communicate()[0].splitlines()[-1]) for other in others]
    return told


def bare(config: RunConfig, images: int) -> dict[str, Any]:
    """Train as one does with Keras alone."""
    import keras

    from fmnist_sweep.model.builder import build_cnn
    from fmnist_sweep.training.optimizers import make_loss, make_schedule

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
    kind = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW}[optimizer.name]
    model.compile(kind(rate), loss=make_loss(config.train), metrics=["accuracy"])
    seconds = []
    for _ in range(config.train.epochs or 1):
        began = time.perf_counter()
        model.fit(*train, batch_size=config.train.batch_size, epochs=1, verbose=0)
        seconds.append(time.perf_counter() - began)
    accuracy = model.evaluate(*test, batch_size=1000, verbose=0)[1]
    return {**rates_of(len(data.train), seconds), "test_accuracy": accuracy}


def ours(config: RunConfig, images: int) -> dict[str, Any]:
    """Train as a trial is trained."""
    from fmnist_sweep.training.evaluation import evaluate
    from fmnist_sweep.training.rung import default_builder
    from fmnist_sweep.training.train import train as train_ours

    data = sets(config, images)
    epochs = config.train.epochs or 1
    trained = train_ours(config, data, 0, epochs, build_model=default_builder)
    seconds = [record.metrics["epoch_seconds"] for record in trained.checkpoint.history]
    accuracy = evaluate(trained.model, data.test).accuracy
    return {**rates_of(len(data.train), seconds), "test_accuracy": accuracy}


_steps: list[float] = []


def time_steps() -> None:
    """Have each training step note its seconds, whoever makes it."""
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
    """Return the images a second of each epoch: in its steps, and in the whole of its `fit`."""
    steps = len(_steps) // len(seconds)
    in_steps = [sum(_steps[epoch * steps : (epoch + 1) * steps]) for epoch in range(len(seconds))]
    return {
        "in_steps": [images / second for second in in_steps],
        "in_fit": [images / second for second in seconds],
    }


def sets(config: RunConfig, images: int) -> Any:
    """Return the split's sets without the one that validates; so many training images, 0: all."""
    from fmnist_sweep.training.batches import ImageSet, TrainingData

    dataset = load_dataset(config.data)
    data = TrainingData.of(dataset, make_split(config.split, dataset))
    some = slice(images or None)
    train = ImageSet(data.train.images[some], data.train.labels[some], data.train.classes)
    return TrainingData(train, None, data.test)


def config_of(network: str) -> RunConfig:
    """Return a network's config, and say which it is."""
    environment.load_tensorflow()
    if network == "default":
        say("\ndefault: the FashionMNISTCNN article's network")
        return compose_config(()).run
    from fmnist_sweep.model.plan import plan_cnn
    from fmnist_sweep.search.oracle import sample_points
    from fmnist_sweep.search.plan import plan_sweep

    sweep = compose_config(["+sweep=cnn"])
    plan = plan_sweep(sweep, None, None, label="cnn", pinned=(), root=Path.cwd())
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


def cores() -> int:
    """Return the number of cores."""
    return environment.cores()


if __name__ == "__main__":
    main(sys.argv[1:])
