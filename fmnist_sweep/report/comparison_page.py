"""Compares several sweeps: the results of each, by trial and by time."""

from __future__ import annotations

from collections.abc import Sequence

from fmnist_sweep.analysis.words import plain, time_in_words
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.journal.identity import search_words
from fmnist_sweep.provenance import command, was_typed
from fmnist_sweep.report.page import render
from fmnist_sweep.report.source import ReportSource
from fmnist_sweep.report.sweep_pictures import comparison_pictures

_NONE = "-"


def comparison_page(sources: Sequence[ReportSource]) -> str:
    """Return a page that compares sweeps with the same objective.

    Raises:
        ConfigError: the objectives differ, so that scores cannot be compared.
    """
    objectives = {source.name: source.state.objective for source in sources}
    if len(set(map(repr, objectives.values()))) > 1:
        told = ", ".join(f"{name} has {o.metric} ({o.direction})" for name, o in objectives.items())
        raise ConfigError(f"report: sweeps with different objectives cannot be compared: {told}")
    names = [source.name for source in sources]
    values = {
        "title": "Comparison of sweeps",
        "warnings": _warnings(sources),
        "metric": sources[0].state.objective.metric,
        "sweeps": [_row(source) for source in sources],
        "pictures": comparison_pictures(sources),
        "next_commands": [
            *(
                (f"Resume {source.name}", source.begun.command)
                for source in sources
                if was_typed(source.begun.command)
            ),
            ("Recreate this page", f"{command(())} report {' '.join(names)}"),
        ],
    }
    return render("comparison.html.j2", values)


def _warnings(sources: Sequence[ReportSource]) -> list[str]:
    told = []
    for key, what in (("data", "data"), ("split", "splits")):
        if len({source.begun.identity[key] for source in sources}) > 1:
            told.append(
                f"These sweeps have different {what}: their scores are not exactly comparable."
            )
    if any(source.material is not None and source.material.data.synthetic for source in sources):
        told.append("Some use synthetic images, not real data.")
    return told


def _row(source: ReportSource) -> dict[str, object]:
    state, best = source.state, source.state.best
    result = None if best is None else best.result
    return {
        "name": source.name,
        "tuner": search_words(source.begun.identity).removeprefix("tuner "),
        "trials": len(state.trials),
        "failed": len(state.failed_trials),
        "epochs": state.epochs_total,
        "time": time_in_words(state.rung_seconds),
        "score": _NONE if best is None else f"{best.score:.4f}",
        "test_accuracy": _NONE if result is None else f"{result.test_accuracy:.4f}",
        "official": f"{state.official[-1].accuracy:.4f}" if state.official else _NONE,
        "parameters": _NONE if result is None else f"{result.parameters:,}",
        "winner": None if best is None else best.number,
        "searched": [] if best is None else [(p, plain(v)) for p, v in best.overrides.items()],
    }
