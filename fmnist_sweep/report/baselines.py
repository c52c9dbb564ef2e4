"""Published systems beside ours: the table of all baselines, and the header and record of each.

All of it is made from tracked runs: `python -m fmnist_sweep -m +baseline=NAME train.seed=1,2,3`
makes those of one baseline.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fmnist_sweep.config.record_schema import Environment, Expected, Reported
from fmnist_sweep.config.schema import Config, RunConfig
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.files import write_text_whole
from fmnist_sweep.provenance import command
from fmnist_sweep.report.comparisons import reported_text
from fmnist_sweep.report.config_file import environment_lines, record_yaml
from fmnist_sweep.reproduction import expected_of
from fmnist_sweep.tracking.mlflow_reader import MlflowReader, SeenRun
from fmnist_sweep.tracking.run_reading import config_of, environments_of, outcome_of
from fmnist_sweep.tracking.tracker import RunStatus

_ACCURACIES = ("accuracy", "val_accuracy", "test_accuracy")
# What the last two are called once a training has ended: they are its best epoch's.
_TRACKED = {"accuracy": "accuracy", "val_accuracy": "best_val_accuracy"}


@dataclass(frozen=True)
class Baseline:
    """A baseline's config, and what its tracked runs gave, one value a seed.

    `epoch_seconds` is that of the fastest whole epoch, training and validation together;
    `step_loss` has (step, mean over the seeds).
    """

    name: str
    config: Config
    reported: Reported
    seeds: tuple[int, ...]
    accuracies: dict[str, list[float]]
    parameters: int
    epoch_seconds: float
    step_loss: list[tuple[int, float]]
    environment: Environment
    expected: Expected | None


def gather(
    name: str, config: Config, reader: MlflowReader, experiments: Sequence[str]
) -> Baseline | None:
    """Return a baseline and its runs: for each seed the newest that finished with this very
    config, all of them in the environment of the newest; None where there is no such run."""
    assert config.reported is not None  # the caller's choice of files
    source = f"baseline/{name}"
    runs: dict[int, tuple[SeenRun, Environment]] = {}
    for tag in ("rerun_of", "derived_from"):
        for run in reader.runs(experiments, f"tags.{tag} = '{source}'"):
            found = _run_of(config.run, run, reader)
            if found is not None:
                seed, environment = found
                if seed not in runs or tag == "rerun_of":
                    runs[seed] = (run, environment)
    if not runs:
        return None
    environment = runs[min(runs)][1]
    runs = {s: (r, e) for s, (r, e) in sorted(runs.items()) if e.numerics == environment.numerics}
    seen = [run for run, _ in runs.values()]
    return Baseline(
        name=name,
        config=config,
        reported=config.reported,
        seeds=tuple(runs),
        accuracies={
            ours: [run.metrics[theirs] for run in seen if theirs in run.metrics]
            for ours in _ACCURACIES
            for theirs in [_TRACKED.get(ours, ours)]
        },
        parameters=int(seen[0].params["model.parameters"]),
        epoch_seconds=min(_epoch_seconds(config, run, reader) for run in seen),
        step_loss=_step_loss([reader.history(run, "step_loss") for run in seen]),
        environment=environment,
        expected=_expected(config, runs),
    )


def write_baseline_file(path: Path, baseline: Baseline) -> None:
    """Put header and record of a baseline's file anew; what stands in between stays as it is."""
    text = path.read_text()
    body = re.sub(r"\A(?:#.*\n|\n)*", "", text)
    body = re.split(r"^(?:#.*\n)*expected:", body, maxsplit=1, flags=re.MULTILINE)[0]
    header = "".join(f"# {line}".rstrip() + "\n" for line in _header(baseline))
    record = "" if baseline.expected is None else record_yaml(baseline.expected)
    write_text_whole(path, f"# @package _global_\n{header}{body.rstrip()}\n{record}")


def markdown(baselines: Sequence[Baseline]) -> str:
    """Return the page on all baselines."""
    rows = [
        "| baseline | parameters | | train | validation | test | seconds an epoch |",
        "|---|---|---|---|---|---|---|",
    ]
    for baseline in baselines:
        theirs = [_theirs(baseline, name) for name in (*_ACCURACIES, "epoch_seconds")]
        ours = [_ours(baseline, name) for name in _ACCURACIES]
        rows.append(
            f"| `{baseline.name}`: {baseline.reported.by} | {baseline.parameters:,} | reported | "
            + " | ".join(theirs)
            + " |"
        )
        rows.append(
            f"| | | ours, n = {len(baseline.seeds)} | "
            + " | ".join([*ours, f"{baseline.epoch_seconds:.1f}"])
            + " |"
        )
    losses = [line for baseline in baselines for line in _loss_rows(baseline)]
    remarks = [f"- `{b.name}`: {b.reported.remark}" for b in baselines if b.reported.remark]
    environments = {tuple(environment_lines(b.environment)): None for b in baselines}
    return "\n".join(
        [
            "# Baselines",
            "",
            "Published systems that this project grew from, run inside it, beside what their",
            "authors reported. Ours: mean ± standard deviation over the seeds; validation and test",
            "are the best validated epoch's, or the last one's where nothing validates; seconds",
            "are those of the fastest epoch, validation included.",
            "",
            *rows,
            "",
            *(["## Loss by step", "", *losses, ""] if losses else []),
            *(["## What was seen", "", *remarks, ""] if remarks else []),
            "## Made by",
            "",
            "`make baselines` trains all of them with three seeds and writes this page, and header",
            "and record of each file in `experiments/baseline/`, from the tracked runs.",
            "",
            *(f"    {line}" for lines in environments for line in lines),
            "",
        ]
    )


def _run_of(
    config: RunConfig, run: SeenRun, reader: MlflowReader
) -> tuple[int, Environment] | None:
    """Return a run's seed and environment, None where it is of another config or did not end."""
    if run.status is not RunStatus.FINISHED or outcome_of(run) is None:
        return None
    try:
        trained, environments = config_of(reader, run), environments_of(reader, run)
    except ConfigError:  # of another version: no run of this config
        return None
    neutral = {"seed": config.train.seed, "threads": config.train.threads}
    same = trained.model_copy(update={"train": trained.train.model_copy(update=neutral)})
    if same.model_dump() != config.model_dump() or len(environments) != 1:
        return None
    return trained.train.seed, environments[0]


def _expected(config: Config, runs: dict[int, tuple[SeenRun, Environment]]) -> Expected | None:
    if config.train.seed not in runs:
        return None
    run, environment = runs[config.train.seed]
    outcome = outcome_of(run)
    assert outcome is not None  # `_run_of` saw to it
    return expected_of(config.run, outcome, [environment])


def _epoch_seconds(config: Config, run: SeenRun, reader: MlflowReader) -> float:
    seconds = [value for _, value in reader.history(run, "epoch_seconds")]
    if config.train.steps is not None and len(seconds) > 1:
        seconds = seconds[:-1]  # the last epoch may be cut short by the budget
    return min(seconds)


def _step_loss(histories: list[list[tuple[int, float]]]) -> list[tuple[int, float]]:
    by_step = [dict(history) for history in histories]
    return [
        (step, statistics.mean(losses[step] for losses in by_step))
        for step in (by_step[0] if by_step else {})
        if all(step in losses for losses in by_step)
    ]


def _header(baseline: Baseline) -> list[str]:
    lines = [
        f"{baseline.name}: {baseline.reported.by}.",
        "",
        f"Run it:    {command((f'+baseline={baseline.name}',))}",
        *environment_lines(baseline.environment),
        f"{'':<16}{'reported':>16}  ours (mean ± sd of seeds "
        f"{', '.join(map(str, baseline.seeds))})",
    ]
    for name in _ACCURACIES:
        lines.append(f"{name:<16}{_theirs(baseline, name):>16}  {_ours(baseline, name)}")
    seconds = _theirs(baseline, "epoch_seconds")
    lines.append(f"{'epoch_seconds':<16}{seconds:>16}  {baseline.epoch_seconds:.1f}")
    return [*lines, "`python -m fmnist_sweep baselines` writes these lines, and the record below."]


def _theirs(baseline: Baseline, name: str) -> str:
    value = getattr(baseline.reported, name)
    return "-" if value is None else reported_text(value)


def _ours(baseline: Baseline, name: str) -> str:
    values = baseline.accuracies[name]
    if not values:
        return "-"
    spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{spread}"


def _loss_rows(baseline: Baseline) -> list[str]:
    if not baseline.step_loss:
        return []
    steps, losses = zip(*baseline.step_loss, strict=True)
    lines = [
        f"`{baseline.name}`, the mean since the column before:",
        "",
        f"| step | {' | '.join(map(str, steps))} |",
        "|---" * (len(steps) + 1) + "|",
        f"| ours | {' | '.join(f'{loss:.4g}' for loss in losses)} |",
    ]
    reported = baseline.reported.step_loss
    if reported is not None:
        lines.append(f"| ours, over the first | {_relative(losses)} |")
        lines.append(f"| reported, in its authors' scale | {_cells(reported)} |")
        lines.append(f"| reported, over the first | {_relative(reported)} |")
    return [*lines, ""]


def _relative(losses: Sequence[float]) -> str:
    return _cells([loss / losses[0] for loss in losses])


def _cells(values: Sequence[float]) -> str:
    return " | ".join(f"{value:.3g}" for value in values)
