"""Exports any tracked run as a config that retrains it: `experiments/best/<name>.yaml`."""

from __future__ import annotations

import re
from pathlib import Path

from fmnist_sweep.errors import ConfigError
from fmnist_sweep.files import write_text_whole
from fmnist_sweep.provenance import command
from fmnist_sweep.reproduction import expected_of
from fmnist_sweep.runs.config_file import ConfigFile, environment_lines, write_config_file
from fmnist_sweep.space.overrides import ending_at
from fmnist_sweep.tracking.mlflow.reader import MlflowReader, SeenRun
from fmnist_sweep.tracking.run_reading import config_of, environments_of, outcome_of
from fmnist_sweep.tracking.tracker import REASON_TAG

_WINNER = "best.yaml"
_LONGEST_NAME = 90


def export_run(reader: MlflowReader, run: SeenRun, folder: Path, name: str | None) -> ConfigFile:
    """Write a run's config, with its record if it finished.

    The config is a single training to the run's last epoch, regardless of rungs and early stopping.
    A sweep's own run exports its winner.

    Args:
        reader: reads the store that holds the run.
        run: the run.
        folder: `experiments/best`.
        name: the file's name; None uses the run's.

    Raises:
        ConfigError: the run has not ended, or its config cannot be written.
    """
    if not run.status.is_final:
        raise ConfigError(f"run {run.name} is {run.status}; allowed: a run that has ended")
    if run.tags.get("fmnist.role") == "sweep":
        return _export_winner(reader, run, folder, name)
    if "split.folds" in run.tags and run.tags.get("fmnist.role") not in ("refit", "training"):
        raise ConfigError(
            f"run {run.name}: it was trained on folds, which no single training repeats; "
            "export its sweep's run, whose winner was trained on all images that are not test"
        )
    config = config_of(reader, run)
    environments = environments_of(reader, run)
    outcome = outcome_of(run)
    if outcome is not None:
        config = ending_at(config, run.last_steps["test_accuracy"])
    header = [
        f"Run {run.name} ({run.id}), {run.status}.",
        "",
        "Run it:    {rerun}",
        *([f"Made by:   {environments[-1].command}"] if environments else []),
        *(environment_lines(environments[-1]) if environments else []),
        *_result_lines(run),
        "",
    ]
    return write_config_file(
        folder,
        _file_name(run) if name is None else name,
        config,
        None if outcome is None else expected_of(config, outcome, environments),
        lambda stem: [line.replace("{rerun}", command((f"+best={stem}",))) for line in header],
    )


def _export_winner(
    reader: MlflowReader, run: SeenRun, folder: Path, name: str | None
) -> ConfigFile:
    text = reader.text(run, _WINNER)
    if text is None:
        raise ConfigError(
            f"run {run.name} is a sweep without a winner's file; export one of its trials"
        )
    stem = _file_name(run) if name is None else name
    text = re.sub(r"\+best=\S+", f"+best={stem}", text, count=1)
    path = folder / f"{stem}.yaml"
    if path.exists():
        if not path.is_file() or path.read_bytes() != text.encode():
            raise ConfigError(
                f"{path.name}: the file exists with other content; give a name: export RUN NAME"
            )
        return ConfigFile(path, is_new=False)
    write_text_whole(path, text)
    return ConfigFile(path, is_new=True)


def _result_lines(run: SeenRun) -> list[str]:
    if "test_accuracy" not in run.metrics:
        reason = run.tags.get(REASON_TAG, "the run did not finish")
        return [f"Result:    none: {' '.join(reason.split())}. A rerun is not compared with it."]
    parts = [
        f"{name} {run.metrics[name]:.4f}"
        for name in ("best_val_accuracy", "test_accuracy")
        if name in run.metrics
    ]
    return [
        f"Result:    {', '.join(parts)} (n = 1 seed) at epoch {run.metrics['best_epoch']:.0f} of "
        f"{run.last_steps['test_accuracy']}"
    ]


def _file_name(run: SeenRun) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", run.name.removesuffix(".yaml")).strip("._-")
    return name[:_LONGEST_NAME] or run.id
