"""The cost of a sweep beyond its training, compared with Keras Tuner's `Tuner` with MLflow's
autolog.

- `ours`: `run_sweep` with random search over the learning rate, checkpoints, journal, test set and
  MLflow on SQLite.
- `peer`: `keras_tuner.GridSearch` over the same learning rates, on NumPy arrays, with the default
  `mlflow.tensorflow.autolog` and one MLflow run per trial, also on SQLite.

Both train the same architecture on the same images of Fashion-MNIST with the same number of
threads,
one after the other, in separate processes. The clock runs from the call of `run_sweep`, or from the
opening of the peer's store, to the end, without imports. The peer has its arrays ready at the
start;
ours reads its data while the clock runs.

Overhead is that time without the calls of Keras's training and validation step functions, and
without tracing: the first call of each of these functions for a shape. Ours also evaluates each
trial on a test set, draws a report and registers its winner: this is counted as overhead, including
its steps. Report and registering come once, after the last trial: they are in the figures of the
whole sweep, not of trials. For a model's signature autolog predicts once per trial: this is counted
as tracing, to the peer's advantage. Ours trains with fused operations: its steps are faster, which
changes the shares of the wall time, but not the overhead. On a CPU such a call returns when its
work
is done, so that a clock around it is sufficient.

`overhead.py [trials=20] [images=40000] [epochs=6] [ways=ours,peer]`, and config overrides. A trial
then takes about 30 s on two idle cores (42 s with other work of low priority): epochs on 32,000 of
the images. `trials=2 images=2000` takes a minute; `ways=ours` omits the peer and the ratios.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from clock import REGISTERING, REPORT, STEPS, TEST, TRACING, Clock
from measuring import in_process, read_sizes_and_overrides, say, say_figure, say_where, tell

from fmnist_sweep import runtime
from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.config.schema import Config

LEARNING_RATE = "train.optimizer.learning_rate"
CONFIG = (
    "model=small_cnn", "train.batch_size=128", "split.validation=0.1", "split.test=0.1",
    "tuner=random", f"+space.{LEARNING_RATE}={{float: [3e-4, 3e-3], log: true}}",
)  # fmt: skip


class Sizes(NamedTuple):
    """How much is trained."""

    trials: int = 20
    images: int = 40_000
    epochs: int = 6
    ways: tuple[str, ...] = ("ours", "peer")


def main(arguments: list[str]) -> None:
    """Measure one way, or compare both."""
    match arguments:
        case [("ours" | "peer") as way, overrides, rates]:
            runtime.load_tensorflow()  # without log output
            runtime.quiet_mlflow()
            tell(WAYS[way](compose_config(json.loads(overrides)), json.loads(rates)))
        case _:
            compare(*read_sizes_and_overrides(arguments, Sizes()))


def compare(sizes: Sizes, overrides: tuple[str, ...]) -> None:
    """Print the time of each way's sweep, in total and per trial."""
    say_where()
    say(f"{sizes.trials} trials of {sizes.epochs} epochs on {sizes.images} images, a tenth "
        "validation, a tenth test; n=1 sweep each way")  # fmt: skip
    given = json.dumps(
        [*CONFIG, f"sweep.max_trials={sizes.trials}", f"train.epochs={sizes.epochs}",
         f"data.limit={sizes.images}", *overrides]
    )  # fmt: skip
    ours = in_process(__file__, "ours", given, "[]")
    _say_seconds("ours", ours)
    if "peer" not in sizes.ways:
        return
    peer = in_process(__file__, "peer", given, json.dumps(ours["rates"]))
    _say_seconds("peer", peer)
    say_figure("wall, a trial, ours", ours["walls"], "s", peer=peer["walls"])
    say_figure("wall, a trial, peer", peer["walls"], "s")
    say_figure("overhead, a trial, ours", ours["overheads"], "s", peer=peer["overheads"])
    say_figure("overhead, a trial, peer", peer["overheads"], "s")
    say(f"overhead, in all: {_overhead(ours) / _overhead(peer):.2f} times the peer's")


def ours(config: Config, _: list[float]) -> dict[str, Any]:
    """Run the sweep."""
    import gc

    import fmnist_sweep.tracking.mlflow.tracker  # noqa: F401 - imported here, untimed
    from fmnist_sweep import run_sweep
    from fmnist_sweep.journal.records import Told
    from fmnist_sweep.sweep import final_report, opening
    from fmnist_sweep.sweep import run as running
    from fmnist_sweep.sweep.opening import Watch
    from fmnist_sweep.tracking import outbox
    from fmnist_sweep.training import checkpoint, rung, train

    clock = Clock()
    clock.follow(running, "plan_sweep", "reading data, planning")
    clock.follow(opening, "open_tracker", "opening the store")
    clock.follow(running, "look_at_official_test", "official test, apart from its steps")
    clock.follow(outbox.Outbox, "finish", "waiting for MLflow at the end")
    clock.follow(train, "compiled_model", "building networks")
    clock.follow(checkpoint.CheckpointFolder, "save", "checkpoints")
    clock.follow(rung, "_save_model", "best models")
    clock.follow(rung, "evaluate", TEST)
    clock.follow(rung, "probabilities", TEST)  # the winner's predictions, for the report
    clock.follow(final_report, "gather", REPORT)
    clock.follow(final_report, "up_to_date_report", REPORT)
    clock.follow(running, "register_winner", REGISTERING)
    clock.follow(gc, "collect", "Python's collection")

    def observer(record: Any, state: Any) -> None:
        if isinstance(record, Told):
            clock.lap()

    clock.start()
    sweep = run_sweep(config, watch=Watch(on_record=observer))
    measured = clock.read()
    trials = sweep.state.trials.values()
    rates = [trial.overrides[LEARNING_RATE] for trial in trials]
    return {**measured, "rates": rates, "best": max(trial.score or 0.0 for trial in trials)}


def peer(config: Config, rates: list[float]) -> dict[str, Any]:
    """Run Keras Tuner's tuner on the same trials."""
    import gc

    _stand_in_for_tensorboard()
    import keras
    import keras_tuner
    import mlflow.tensorflow
    from keras_tuner.src.engine.tuner_utils import SaveBestEpoch
    from mlflow.tensorflow.callback import MlflowCallback, MlflowModelCheckpointCallback

    from fmnist_sweep.model.builder import build_cnn
    from fmnist_sweep.training.batches import ImageSet
    from fmnist_sweep.training.preparation import prepare, with_threads

    data = prepare(with_threads(config.run)).data
    assert data.validation is not None
    clock = Clock()

    class Network(keras_tuner.HyperModel):  # type: ignore[misc]  # Keras Tuner has no types
        def build(self, hp: Any) -> Any:
            model = build_cnn(config.model, data.image_shape, data.train.classes)
            rate = hp.Choice("learning_rate", rates)
            model.compile(
                keras.optimizers.Adam(rate),
                loss="sparse_categorical_crossentropy",
                metrics=["accuracy"],
            )
            return model

    class Tracked(keras_tuner.GridSearch):  # type: ignore[misc]  # Keras Tuner has no types
        def run_trial(self, trial: Any, *arguments: Any, **named: Any) -> Any:
            with mlflow.start_run(run_name=trial.trial_id, nested=True):
                mlflow.log_params(trial.hyperparameters.values)
                history = super().run_trial(trial, *arguments, **named)
            clock.lap()
            return history

    def arrays(images: ImageSet) -> Any:
        return images.images.astype("float32") / 255, images.labels

    images, labels = arrays(data.train)
    validation = arrays(data.validation)
    keras.utils.set_random_seed(config.train.seed)
    clock.follow(Tracked, "_try_build", "building networks")
    clock.follow(SaveBestEpoch, "on_epoch_end", "Keras Tuner's checkpoints")
    clock.follow(MlflowModelCheckpointCallback, "on_epoch_end", "MLflow's checkpoints")
    clock.follow(MlflowCallback, "on_train_begin", "MLflow's summary")
    clock.follow(mlflow.tensorflow, "log_model", "MLflow's models")
    clock.follow(gc, "collect", "Python's collection")
    for name in (
        "absl",
        "mlflow",
    ):  # one warning per epoch about the format of autolog's checkpoints
        logging.getLogger(name).setLevel(logging.ERROR)
    clock.start()
    with clock.part("opening the store"):
        mlflow.set_tracking_uri(f"sqlite:///{Path.cwd()}/mlflow.db")
        mlflow.set_experiment("peer")
    mlflow.tensorflow.autolog()
    with mlflow.start_run():
        tuner = Tracked(
            Network(),
            objective="val_accuracy",
            max_consecutive_failed_trials=1,  # otherwise failed trials would go unnoticed
            directory="tuner",
            project_name="peer",
        )
        tuner.search(
            images,
            labels,
            validation_data=validation,
            epochs=config.train.epochs,
            batch_size=config.train.batch_size,
            verbose=0,
        )
    measured = clock.read()
    return {**measured, "best": tuner.oracle.get_best_trials()[0].score}


WAYS: dict[str, Callable[[Config, list[float]], dict[str, Any]]] = {"ours": ours, "peer": peer}


def _stand_in_for_tensorboard() -> None:
    """Provide a TensorBoard for Keras Tuner and autolog, if there is none.

    Keras Tuner's `Tuner` imports it before each trial, whether or not it is used, and autolog's
    callback
    uses it to write each epoch's metrics. TensorFlow 2.21 no longer includes it, and without it
    every
    trial fails. This one writes nothing, to the peer's advantage.
    """
    if importlib.util.find_spec("tensorboard") is not None:
        return
    packages = ("tensorboard", "tensorboard.plugins", "tensorboard.plugins.hparams")
    hparams, scalars = (
        types.ModuleType(name)
        for name in ("tensorboard.plugins.hparams.api", "tensorboard.summary.v2")
    )
    vars(scalars)["scalar"] = lambda **named: True
    modules = [*map(types.ModuleType, (*packages, "tensorboard.summary")), hparams, scalars]
    sys.modules |= {module.__name__: module for module in modules}
    vars(sys.modules[packages[-1]])["api"] = hparams


def _overhead(way: dict[str, Any]) -> float:
    return float(way["wall"] - way["parts"][STEPS] - way["parts"][TRACING])


def _say_seconds(name: str, way: dict[str, Any]) -> None:
    parts = dict(way["parts"])
    wall, overhead = way["wall"], _overhead(way)
    lines = [("wall", wall), (STEPS, parts.pop(STEPS)), (TRACING, parts.pop(TRACING))]
    lines += [("overhead", overhead)]
    lines += [(f"  {part}", seconds) for part, seconds in sorted(parts.items(), key=_by_seconds)]
    lines += [("  the rest", overhead - sum(parts.values()))]
    say(f"{name}, best validation accuracy {way['best']:.4f}")
    for what, seconds in lines:
        say(f"  {what:40} {seconds:8.2f} s {seconds / wall:7.2%} of wall")


def _by_seconds(part: tuple[str, float]) -> float:
    return -part[1]


if __name__ == "__main__":
    main(sys.argv[1:])
