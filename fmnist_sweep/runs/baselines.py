"""Published systems compared with ours: the table of baselines, and each file's header and
record."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fmnist_sweep.config.record_schema import Reported
from fmnist_sweep.config.yaml_text import read_yaml
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.files import write_text_whole
from fmnist_sweep.provenance import command
from fmnist_sweep.runs.comparisons import reported_text
from fmnist_sweep.runs.config_file import (
    RECORD_COMMENT,
    comment,
    environment_lines,
    record_yaml,
)
from fmnist_sweep.tracking.baseline_runs import ACCURACIES, BaselineRuns

_BEGIN = "Written by `python -m fmnist_sweep baselines` from the tracked runs:"
_END = "(end of what is written)"
_MEASURED = re.compile(rf"^# {re.escape(_BEGIN)}\n(?:#.*\n)*?# {re.escape(_END)}\n", re.MULTILINE)
# The key and everything indented below it.
_RECORD = re.compile(
    rf"^(?:{re.escape(RECORD_COMMENT)}\n)?expected:.*\n?(?:[ \t]+.*\n?|\n)*", re.MULTILINE
)


@dataclass(frozen=True)
class Baseline:
    """A published system: its config's name, the reported results, and our runs' results."""

    name: str
    reported: Reported
    runs: BaselineRuns


def write_baseline_file(path: Path, baseline: Baseline) -> None:
    """Rewrite the measured part of a file's header, and its record; the rest is unchanged.

    Raises:
        ConfigError: the file's layout does not allow it.
    """
    text = path.read_text(encoding="utf-8")
    measured = comment([_BEGIN, *_header(baseline), _END])
    body = _RECORD.sub("", _MEASURED.sub("", text)).rstrip() + "\n"
    first, newline, rest = body.partition("\n")
    if first.startswith("# @package"):
        body = f"{first}{newline}{measured}{rest}"
    else:
        body = measured + body
    expected = baseline.runs.expected
    new = body + ("" if expected is None else record_yaml(expected))
    if _without_record(new) != _without_record(text):  # `text` has already been composed
        raise ConfigError(
            f"{path.name}: cannot write header and record; write `expected:` as a block, or omit it"
        )
    write_text_whole(path, new)


def markdown(baselines: Sequence[Baseline]) -> str:
    """Return the page about all baselines."""
    rows = [
        "| baseline | parameters | | train | validation | test | seconds per epoch |",
        "|---|---|---|---|---|---|---|",
    ]
    for baseline in baselines:
        theirs = [_theirs(baseline, name) for name in (*ACCURACIES, "epoch_seconds")]
        ours = [_ours(baseline, name) for name in ACCURACIES]
        what = _cell(f"`{baseline.name}`: {baseline.reported.by}")
        rows.append(
            _row(what, f"{baseline.runs.parameters:,}", "reported", *theirs)
            + "\n"
            + _row("", "", f"ours, n = {len(baseline.runs.seeds)}", *ours, _seconds(baseline.runs))
        )
    losses = [line for baseline in baselines for line in _loss_rows(baseline)]
    remarks = [f"- {_below(baselines)}"]
    remarks += [f"- `{b.name}`: {b.reported.remark}" for b in baselines if b.reported.remark]
    environments = {tuple(environment_lines(b.runs.environment)): None for b in baselines}
    return "\n".join(
        [
            "# Baselines",
            "",
            "Published systems that this project builds on, trained with it, and the results their",
            "authors reported. Ours: mean ± standard deviation over the seeds; validation and test",
            "are those of the epoch with the best validation, or of the last without validation;",
            "seconds are those of the fastest epoch, validation included.",
            "",
            *rows,
            "",
            *(["## Loss by step", "", *losses] if losses else []),
            "## Findings",
            "",
            *remarks,
            "",
            "## Reproduction",
            "",
            "`make baselines` trains all of them with three seeds and rewrites this page, and the",
            "header and record of each file in `experiments/baseline/`, from the tracked runs.",
            "",
            *(f"    {line}" for lines in environments for line in lines),
            "",
        ]
    )


def _header(baseline: Baseline) -> list[str]:
    runs = baseline.runs
    seeds = ", ".join(map(str, runs.seeds))
    lines = [
        "",
        f"{baseline.name}: {baseline.reported.by}.",
        f"Run it:    {command((f'+baseline={baseline.name}',))}",
        *environment_lines(runs.environment),
        f"{'':<16}{'reported':>16}  ours (mean ± sd of seeds {seeds})",
    ]
    for name in ACCURACIES:
        lines.append(f"{name:<16}{_theirs(baseline, name):>16}  {_ours(baseline, name)}")
    seconds = _theirs(baseline, "epoch_seconds")
    return [*lines, f"{'epoch_seconds':<16}{seconds:>16}  {_seconds(runs)}"]


def _theirs(baseline: Baseline, name: str) -> str:
    value = getattr(baseline.reported, name)
    return "-" if value is None else reported_text(value)


def _ours(baseline: Baseline, name: str) -> str:
    values = baseline.runs.accuracies[name]
    if not values:
        return "-"
    spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{spread}"


def _below(baselines: Sequence[Baseline]) -> str:
    """Return which of our results are more than two standard deviations below the reported ones."""
    lower = [
        f"`{baseline.name}` ({name})"
        for baseline in baselines
        for name in ACCURACIES
        if _is_below(baseline, name)
    ]
    told = ", ".join(lower) or "none"
    return f"Lower than reported by more than two standard deviations: {told}."


def _is_below(baseline: Baseline, name: str) -> bool:
    theirs, ours = getattr(baseline.reported, name), baseline.runs.accuracies[name]
    if theirs is None or not ours:
        return False
    least = min(theirs) if isinstance(theirs, list) else theirs
    spread = statistics.stdev(ours) if len(ours) > 1 else 0.0
    return bool(least > statistics.mean(ours) + 2 * spread)


def _seconds(runs: BaselineRuns) -> str:
    return f"{runs.epoch_seconds:.1f}"


def _loss_rows(baseline: Baseline) -> list[str]:
    if not baseline.runs.step_loss:
        return []
    steps, losses = zip(*baseline.runs.step_loss, strict=True)
    lines = [
        f"`{baseline.name}`: the mean over the steps since the previous column, or since the "
        "start of the epoch.",
        "",
        _row("step", *map(str, steps)),
        "|---" * (len(steps) + 1) + "|",
        _row("ours", *(f"{loss:.4g}" for loss in losses)),
    ]
    reported = baseline.reported.step_loss
    if reported is not None:
        lines += [
            _row("ours, relative to the first", *_relative(losses)),
            _row("reported, in the authors' scale", *(f"{loss:g}" for loss in reported)),
            _row("reported, relative to the first", *_relative(reported)),
        ]
    return [*lines, ""]


def _relative(losses: Sequence[float]) -> list[str]:
    return [f"{loss / losses[0]:.3g}" for loss in losses]


def _row(*cells: str) -> str:
    return "".join(f"| {cell} " if cell else "| " for cell in cells) + "|"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _without_record(text: str) -> Any:
    values = read_yaml(text)
    if isinstance(values, dict):
        values.pop("expected", None)
    return values
