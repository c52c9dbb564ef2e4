"""Cost per trial, apart from training, as a sweep grows, with an objective that returns at once.

The objective is an `executor` passed to `run_sweep`. Measured are milliseconds per trial around the
100th and the last, without and with MLflow on SQLite, and the seconds to resume a sweep of that
size
in a new process, for each tuner. The peer is Keras Tuner's own random oracle, with the JSON files
that it writes; it slows down, and is limited to 2,000 trials.

The Bayesian tuner and TPE propose only initial points, which are drawn: their rows measure
bookkeeping. `surrogate.py` measures their models.

`flat.py [trials=10000] [tuners=random,grid,…] [tracking=off,mlflow]`: all tuners; with MLflow only
random search is measured. `trials=120 tuners=random` takes a minute; at least 100 are needed.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Collection
from concurrent.futures import Future
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from measuring import in_process, read_sizes, say, say_figure, say_where, tell

from fmnist_sweep import runtime
from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.files import digest_of

MOST_OF_THE_PEER = 2_000
AROUND = 100  # trials per figure
TUNERS = {
    "random": (),
    "grid": (),
    "hyperband": ("train.epochs=9",),
    "bayesian": ("tuner.initial_points=1000000",),  # so that no surrogate is fitted
    "tpe": ("tuner.initial_points=1000000",),  # nor a model made
    "cmaes": (),
    "nsga2": (),
    "qmc": (),
}
SWEEP = (
    "+sweep=cnn", "sweep.max_mflops=null", "sweep.max_minutes=null", "sweep.max_epochs_total=null",
    "data=synthetic", "data.train_size=600", "data.test_size=100", "split=wrapper",
    "split.test=100", "train.epochs=1", "train.threads=1",
)  # fmt: skip


class Sizes(NamedTuple):
    """How many trials, and of which tuners."""

    trials: int = 10_000
    tuners: tuple[str, ...] = tuple(TUNERS)
    tracking: tuple[str, ...] = ("off", "mlflow")


def main(arguments: list[str]) -> None:
    """Measure one way, or compare them all."""
    match arguments:
        case ["sweep", trials, tuner, tracking]:
            runtime.load_tensorflow()
            tell(sweep(int(trials), tuner, tracking))
        case ["keras_tuner", trials]:
            runtime.load_tensorflow()
            tell(keras_tuner_alone(int(trials)))
        case _:
            compare(read_sizes(arguments, Sizes()))


def compare(sizes: Sizes) -> None:
    """Print each way's cost per trial at the beginning and the end, and the time of a resume."""
    trials = sizes.trials
    if trials < AROUND:
        raise SystemExit(f"trials={trials}: it takes at least {AROUND} to have two ends")
    say_where()
    say(f"\nmilliseconds a trial, {AROUND} trials each: around the {AROUND}th, and the last ones")
    peer = in_process(__file__, "keras_tuner", str(min(trials, MOST_OF_THE_PEER)))
    at_first = say_ends("keras tuner's oracle, JSON", peer["times"], None)
    at_all = [1e3 * (peer["times"][-1] - peer["times"][0]) / (len(peer["times"]) - 1)]
    say_figure("keras tuner's oracle, a trial in all", at_all, "ms")
    for tracking in sizes.tracking:
        for tuner in sizes.tuners if tracking == "off" else ("random",):
            with tempfile.TemporaryDirectory() as folder:
                given = ("sweep", str(trials), tuner, tracking)
                told = in_process(__file__, *given, cwd=Path(folder))
                say_ends(f"{tuner}, tracking={tracking}", told["times"], at_first)
                each = [1e3 * told["seconds"] / trials]
                say_figure(f"{tuner}, a trial in all", each, "ms", peer=at_all)
                again = in_process(__file__, *given, cwd=Path(folder))
                say_figure(f"{tuner}, resumed after", [again["ready"]], "s")
                say_figure(f"{tuner}, resumed, all told after", [again["seconds"]], "s")


def say_ends(name: str, times: list[float], peer: list[float] | None) -> list[float]:
    """Print the cost at both ends, and their ratio."""
    each = [1e3 * (after - before) for before, after in pairwise(times)]
    first, last = each[AROUND // 2 : AROUND // 2 + AROUND], each[-AROUND:]
    say_figure(f"{name}, at first", first, "ms", peer=peer)
    say_figure(f"{name}, at last", last, "ms", peer=peer)
    ratio = statistics.median(last) / statistics.median(first)
    say(f"{'':34} at last {ratio:.2f} times what it was at first")
    return first


class Instant:
    """An executor whose training is a formula."""

    workers = 1

    def __init__(self) -> None:
        self.first_rung: float | None = None

    def submit(self, rung: Any, on_epoch: Any) -> Future[Any]:
        """Return a score that depends only on the config."""
        from fmnist_sweep.executors.protocol import RungOutcome
        from fmnist_sweep.training.results import EpochRecord, RunResult

        self.first_rung = self.first_rung or time.perf_counter()
        digest = digest_of(rung.config.as_given())
        score = int(digest[:8], 16) / 2**32
        metrics = {
            "loss": 1 - score, "accuracy": score, "val_loss": 1 - score, "val_accuracy": score,
            "learning_rate": 0.1, "epoch_seconds": 0.001,
        }  # fmt: skip
        for epoch in range(rung.first_epoch + 1, rung.last_epoch + 1):
            on_epoch(EpochRecord(epoch, metrics, ended_at=time.time()))
        result = RunResult(
            last_epoch=rung.last_epoch,
            best_epoch=rung.last_epoch,
            best_metrics=metrics,
            test_accuracy=score,
            test_loss=1 - score,
            train_seconds=0.001 * rung.last_epoch,
            parameters=1000,
            stopped_early=False,
            weights_sha256=digest,
            best_weights_sha256=digest,
        )
        future: Future[Any] = Future()
        future.set_result(RungOutcome(result, None, 0.001))
        return future

    def wait(self, futures: Collection[Future[Any]]) -> set[Future[Any]]:
        """Return all futures."""
        return set(futures)


def sweep(trials: int, tuner: str, tracking: str) -> dict[str, Any]:
    """Run a sweep of that many trials in the working directory, or resume it for one more."""
    from fmnist_sweep import run_sweep
    from fmnist_sweep.journal.records import Told
    from fmnist_sweep.sweep.opening import Watch

    times: list[float] = []

    def observer(record: Any, state: Any) -> None:
        if isinstance(record, Told) and tracking == "off":
            times.append(time.perf_counter())

    if tracking == "mlflow":  # a trial ends when it was logged, in the outbox's thread
        from fmnist_sweep.tracking.mlflow.tracker import MlflowTracker

        end = MlflowTracker.end

        def ending(*arguments: Any, **named: Any) -> None:
            end(*arguments, **named)
            times.append(time.perf_counter())

        MlflowTracker.end = ending  # type: ignore[method-assign]
    more = int(Path("mlruns/sweeps").exists())
    config = compose_config(
        [*SWEEP, *TUNERS[tuner], f"tuner={tuner}", f"tracking={tracking}",
         f"sweep.max_trials={trials + more}", "report=false", "tracking.registered_model=null"]
    )  # fmt: skip
    executor = Instant()
    began = time.perf_counter()
    run_sweep(config, executor=executor, watch=Watch(on_record=observer))
    seconds = time.perf_counter() - began
    assert executor.first_rung is not None
    return {"times": times, "seconds": seconds, "ready": executor.first_rung - began}


def keras_tuner_alone(trials: int) -> dict[str, Any]:
    """Use Keras Tuner's oracle as its own `Tuner` does, in the working directory."""
    import keras_tuner

    from fmnist_sweep.space.reading import read_space
    from fmnist_sweep.tuners.encoding import to_hyperparameters

    space, _ = read_space(compose_config(SWEEP))
    oracle = keras_tuner.oracles.RandomSearchOracle(
        objective=keras_tuner.Objective("val_accuracy", "max"),
        max_trials=trials,
        hyperparameters=keras_tuner.HyperParameters.from_config(
            _with_lists(to_hyperparameters(space).get_config())
        ),
        seed=1,
    )
    oracle.verbose = 0
    oracle._set_project_dir("keras_tuner", "random")
    times = []
    for _ in range(trials):
        trial = oracle.create_trial("tuner")
        if trial.status == "STOPPED":  # it stops after 20 repeats
            break
        score = int(digest_of(trial.hyperparameters.values)[:8], 16) / 2**32
        oracle.update_trial(trial.trial_id, {"val_accuracy": score})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
        times.append(time.perf_counter())
    return {"times": times}


def _with_lists(config: dict[str, Any]) -> dict[str, Any]:
    """Return a space's config with Keras Tuner's own choices, which list their values."""
    space = [
        each
        if each["class_name"] != "_Indices"
        else {
            "class_name": "Choice",
            "config": {
                "name": each["config"]["name"],
                "conditions": each["config"]["conditions"],
                "values": list(range(each["config"]["domain"].count)),
            },
        }
        for each in config["space"]
    ]
    return {**config, "space": space}


if __name__ == "__main__":
    main(sys.argv[1:])
