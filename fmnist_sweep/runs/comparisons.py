"""Compares a training with its record and with reported results."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from fmnist_sweep.config.record_schema import Reported
from fmnist_sweep.reproduction import Verification
from fmnist_sweep.training.results import RunResult

_MARKS = {True: "matches", False: "DIFFERS", None: "not compared"}


def print_verification(out: Console, verification: Verification) -> None:
    """Print recorded and reproduced values side by side, and the verdict with its reason."""
    table = Table(title="Recorded and reproduced", title_justify="left")
    table.add_column("")
    for name in ("recorded", "reproduced"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("allowed")
    table.add_column("verdict")
    for line in verification.comparisons:
        table.add_row(line.name, line.recorded, line.reproduced, line.allowed, _MARKS[line.matches])
    out.print(table)
    if verification.differences:
        why = f"the environment differs from the record's: {'; '.join(verification.differences)}"
    else:
        why = "machine, threads and versions are the same as in the record"
    out.print(
        f"verdict: {verification.verdict} (tested: {verification.tested}; {why})",
        soft_wrap=True,
    )


def reported_table(reported: Reported, result: RunResult) -> Table:
    """Return a table of the reported results and this run's."""
    table = Table(title=f"Compared with {reported.by}", title_justify="left")
    for name in ("", "reported", "this run"):
        table.add_column(name, justify="left" if not name else "right")
    ours = {
        "parameters": f"{result.parameters:,}",
        "accuracy": _share(result.best_metrics.get("accuracy")),
        "val_accuracy": _share(result.best_metrics.get("val_accuracy")),
        "test_accuracy": _share(result.test_accuracy),
        "epoch_seconds": f"{result.best_metrics['epoch_seconds']:.1f}",
    }
    for name, value in ours.items():
        theirs = getattr(reported, name)
        if theirs is not None:
            table.add_row(name, reported_text(theirs), value)
    return table


def reported_text(value: float | list[float] | int) -> str:
    """Return a reported value as text: a count, seconds, an accuracy, or a range of accuracies."""
    if isinstance(value, list):
        return " to ".join(reported_text(end) for end in value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if value <= 1.0 else f"{value:g}"


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
