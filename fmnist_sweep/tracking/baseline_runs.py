"""The tracked runs of a baseline, one per seed, and their results."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fmnist_sweep.config.record_schema import Environment, Expected
from fmnist_sweep.config.schema import Config, RunConfig
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.reproduction import expected_of
from fmnist_sweep.tracking.mlflow.calls import quoted
from fmnist_sweep.tracking.mlflow.reader import MlflowReader, SeenRun
from fmnist_sweep.tracking.run_reading import config_of, environments_of, outcome_of
from fmnist_sweep.tracking.tracker import RunStatus

ACCURACIES = {
    "accuracy": "accuracy",
    "val_accuracy": "best_val_accuracy",
    "test_accuracy": "test_accuracy",
}
"""What authors report, and the metric it is compared with: the last epoch's training accuracy, and
the best epoch's validation and test accuracy."""


@dataclass(frozen=True)
class BaselineRuns:
    """The results of a baseline's runs, in the order of their seeds.

    `epoch_seconds` is that of the fastest whole epoch, training and validation together;
    `step_loss` has (step, mean over the seeds). `left_out` counts seeds whose runs are of another
    environment than the newest run. `expected` is the record of the config's own seed.
    """

    seeds: tuple[int, ...]
    accuracies: dict[str, list[float]]
    parameters: int
    epoch_seconds: float
    step_loss: list[tuple[int, float]]
    environment: Environment
    left_out: int
    expected: Expected | None


def read_baseline_runs(
    config: Config, reader: MlflowReader, source: str, experiments: Sequence[str]
) -> BaselineRuns | None:
    """Return the results of a baseline's runs: for each seed, the newest finished run of exactly
    this config in the environment of the newest run; None if there is none.

    Args:
        config: the baseline's config.
        reader: reads the store.
        source: the config's file, such as `baseline/mlp`; runs are tagged with it.
        experiments: the experiments to search.
    """
    runs = [
        run
        for tag in ("rerun_of", "derived_from")
        for run in reader.runs(experiments, f"tags.{tag} = {quoted(source)}")
    ]
    newest: dict[int, tuple[SeenRun, Environment]] = {}
    for run in sorted(runs, key=lambda run: run.started_at, reverse=True):
        found = _seed_and_environment(config.run, run, reader)
        if found is not None:
            newest.setdefault(found[0], (run, found[1]))
    if not newest:
        return None
    environment = next(iter(newest.values()))[1]
    kept = {
        seed: run
        for seed, (run, place) in sorted(newest.items())
        if place.numerics == environment.numerics
    }
    seen = list(kept.values())
    return BaselineRuns(
        seeds=tuple(kept),
        accuracies={
            name: [run.metrics[metric] for run in seen if metric in run.metrics]
            for name, metric in ACCURACIES.items()
        },
        parameters=int(seen[0].params["model.parameters"]),
        epoch_seconds=min(_epoch_seconds(config, run, reader) for run in seen),
        step_loss=_step_loss([reader.history(run, "step_loss") for run in seen]),
        environment=environment,
        left_out=len(newest) - len(kept),
        expected=_expected(config, kept, environment),
    )


def _seed_and_environment(
    config: RunConfig, run: SeenRun, reader: MlflowReader
) -> tuple[int, Environment] | None:
    """Return a run's seed and environment, None if its config differs or it did not finish."""
    if run.status is not RunStatus.FINISHED or outcome_of(run) is None:
        return None
    try:
        trained, environments = config_of(reader, run), environments_of(reader, run)
    except ConfigError:  # another version, so not a run of this config
        return None
    if _what_counts(trained) != _what_counts(config) or not environments:
        return None
    if any(place.numerics != environments[0].numerics for place in environments):
        return None
    return trained.train.seed, environments[0]


def _what_counts(config: RunConfig) -> dict[str, Any]:
    """Return a config's values without the seed, the threads and the location of the data."""
    plain = config.model_dump()
    for part, keys in (
        ("train", ("seed", "threads")),
        ("data", ("dir", "file", "files", "train_file", "val_file")),
    ):
        plain[part] = {key: value for key, value in plain[part].items() if key not in keys}
    return plain


def _expected(
    config: Config, runs: dict[int, SeenRun], environment: Environment
) -> Expected | None:
    run = runs.get(config.train.seed)
    outcome = None if run is None else outcome_of(run)
    return None if outcome is None else expected_of(config.run, outcome, [environment])


def _epoch_seconds(config: Config, run: SeenRun, reader: MlflowReader) -> float:
    seconds = [value for _, value in reader.history(run, "epoch_seconds")]
    if config.train.steps is not None and len(seconds) > 1:
        seconds = seconds[:-1]  # the budget may end within the last epoch
    return min(seconds)


def _step_loss(histories: list[list[tuple[int, float]]]) -> list[tuple[int, float]]:
    by_step = [dict(history) for history in histories]
    return [
        (step, statistics.mean(losses[step] for losses in by_step))
        for step in (by_step[0] if by_step else {})
        if all(step in losses for losses in by_step)
    ]
