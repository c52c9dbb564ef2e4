"""Writes `curves.csv`, the table of `curves.py`, from a finished sweep over a grid.

    python -m fmnist_sweep +sweep=curves tracking=off
    python benchmarks/make_curves.py SWEEP

A row is a point: its values, the validation accuracy after each epoch, and the seconds that the
first epoch, which includes tracing, and each other epoch took. They are the least that any point
took that differs in the learning rate alone: other work on the machine only makes an epoch longer.
"""

from __future__ import annotations

import sys
from typing import Any

import pandas as pd
from measuring import say
from simulation import CURVES, METRIC

from fmnist_sweep import load_sweep
from fmnist_sweep.journal.records import TrialStatus


def main(arguments: list[str]) -> None:
    """Write the table of the sweep that is named."""
    if len(arguments) != 1:
        raise SystemExit("make_curves.py: expected the name of one sweep, such as curves-d9de9b")
    rows = []
    for _, trial in sorted(load_sweep(arguments[0]).state.trials.items()):
        if trial.status is not TrialStatus.COMPLETED:
            raise SystemExit(f"make_curves.py: trial {trial.number} is {trial.status.value}")
        row: dict[str, Any] = dict(trial.overrides)
        seconds = [epoch.metrics["epoch_seconds"] for epoch in trial.history]
        row |= {"first_seconds": seconds[0], "seconds": min(seconds[1:])}
        for epoch in trial.history:
            row[f"accuracy_{epoch.epoch}"] = round(epoch.metrics[METRIC], 5)
        rows.append(row)
    table = pd.DataFrame(rows)
    alike = [path for path in trial.overrides if path != "train.optimizer.learning_rate"]
    for column in ("first_seconds", "seconds"):
        table[column] = table.groupby(alike)[column].transform("min").round(3)
    table.to_csv(CURVES, index=False)
    say(f"{CURVES}: {len(rows)} points. Next: python benchmarks/curves.py")


if __name__ == "__main__":
    main(sys.argv[1:])
