"""The winner as a plain config: `experiments/best/<name>.yaml`, ready for `+best=<name>`."""

from __future__ import annotations

from pathlib import Path

from fmnist_sweep.config.record_schema import Expected
from fmnist_sweep.config.schema import Config, RunConfig
from fmnist_sweep.data import Split
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.journal.trial import Trial
from fmnist_sweep.provenance import command
from fmnist_sweep.reproduction import Outcome, expected_of
from fmnist_sweep.runs.config_file import environment_lines, write_config_file
from fmnist_sweep.space.overrides import refit_config, straight_config
from fmnist_sweep.tracking.run_log import final_metrics


def best_config(config: Config, trial: Trial) -> RunConfig:
    """Return a trial as a single training: the base config, the trial's overrides, and its last
    epoch (`train.stop_epoch`) if that is before the schedule's horizon. A trial on folds is trained
    to its best epoch, on all images that are not test: nothing validates, nor stops it early."""
    result = trial.result
    if result is not None and result.folds:
        return refit_config(config.run, trial.overrides, result.best_epoch)
    return straight_config(config.run, trial.overrides, trial.last_epoch)


def write_best_file(
    folder: Path, name: str, config: Config, state: SweepState, trial: Trial, split: Split
) -> Path:
    """Write the winner's config into `folder`, and return its file; `write_config_file` names
    it."""
    chosen = best_config(config, trial)
    file = write_config_file(
        folder,
        name,
        chosen,
        _expected(chosen, state, trial, split),
        lambda stem: _header(stem, config, state, trial),
    )
    return file.path


def _expected(chosen: RunConfig, state: SweepState, trial: Trial, split: Split) -> Expected:
    result = trial.model_result
    assert result is not None  # a winner was trained
    assert state.begun is not None
    outcome = Outcome(
        final_metrics(result),
        split.images,
        data_sha256=state.begun.identity["data"],
        split_sha256=state.begun.identity["split"],
        weights_sha256=result.weights_sha256,
        best_weights_sha256=result.best_weights_sha256,
    )
    return expected_of(chosen, outcome, state.environments_of(trial))


def _score(trial: Trial, metric: str) -> str:
    spread = None if trial.result is None else trial.result.spread(metric)
    if trial.result is None or spread is None:
        return f"{trial.score:.4f}"
    return f"{trial.score:.4f} ± {spread:.4f} over {len(trial.result.folds)} folds"


def _header(stem: str, config: Config, state: SweepState, trial: Trial) -> list[str]:
    result, metric, own = trial.model_result, config.sweep.objective.metric, trial.result
    assert result is not None  # a winner was trained
    assert own is not None
    assert state.begun is not None
    lines = [
        f"The winner of sweep {state.begun.name}: trial {trial.number} of {len(state.trials)}.",
        "",
        f"Run it:    {command((f'+best={stem}',))}",
        f"Sweep:     {state.begun.command}",
        *environment_lines(state.environments_of(trial)[-1]),
        f"Result:    {metric} {_score(trial, metric)} at epoch {own.best_epoch}, "
        f"test_accuracy {result.test_accuracy:.4f} (n = 1 seed), "
        f"{result.parameters:,} parameters, {result.train_seconds:.0f} s training",
    ]
    confirmed = trial.confirmed_score
    if confirmed is not None:
        lines.append(
            f"           {metric} {confirmed[0]:.4f} ± {confirmed[1]:.4f} over "
            f"{len(trial.confirmations)} new seeds"
        )
    looks = [look for look in state.official if look.trial == trial.number]
    if looks:
        lines.append(
            f"           official_test_accuracy {looks[-1].accuracy:.4f} on "
            f"{looks[-1].images:,} images, evaluation {len(state.official)} of this sweep"
        )
    return [*lines, ""]
