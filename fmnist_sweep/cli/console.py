"""Console output of sweeps and trainings: lines while running, tables at the end."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fmnist_sweep.analysis.words import overrides_in_words, plain, short_path
from fmnist_sweep.config.messages import counted
from fmnist_sweep.config.metrics import PARAMETERS
from fmnist_sweep.config.schema import Config
from fmnist_sweep.journal.leaderboard import (
    also_shown,
    cannot_be_told_apart,
    front_lines,
    further_in_words,
    metric_cells,
    paused_words,
    score_words,
    searched_paths,
    spread_words,
    stopped_words,
)
from fmnist_sweep.journal.records import (
    ON_REQUEST,
    Asked,
    Confirmed,
    Continued,
    EpochEnded,
    LookedAtOfficialTest,
    Paused,
    Record,
    Refitted,
    Stopped,
    Told,
)
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.journal.trial import Trial
from fmnist_sweep.streams import showable
from fmnist_sweep.training.results import EpochRecord

_WIDEST = 200
"""Table width if the output is not a terminal, so that nothing is truncated."""
_NARROW = 115
"""Below this width the leaderboard's numbers and values do not all fit."""


def console(*, as_terminal: bool = False) -> Console:
    """Return a console on standard output; if that is a file, it is as wide as tables need, unless
    `as_terminal` is set.

    Markup in brackets is disabled, because names and paths come from users.
    """
    width = None if as_terminal or sys.stdout.isatty() else _WIDEST
    forced = True if as_terminal else None
    return _Console(highlight=False, markup=False, width=width, force_terminal=forced)


class _Console(Console):
    """A console that measures text in its stream's encoding: `+-` is wider than `±`."""

    def render_str(self, text: str, **named: Any) -> Text:
        """Convert a string to text for printing."""
        return super().render_str(showable(text, self.encoding), **named)


def say_tracking_trouble(trouble: str | None) -> None:
    """Report on stderr that the tracker is unavailable or available again."""
    if trouble is None:
        sys.stderr.write("tracking: available again\n")
    else:
        reason = " ".join(trouble.split())
        sys.stderr.write(f"tracking: unavailable, training continues: {reason}\n")


class SweepProgress:
    """Prints each record of a running sweep as a line."""

    def __init__(self, config: Config, out: Console) -> None:
        self._config = config
        self._out = out

    def __call__(self, record: Record, state: SweepState) -> None:
        """Print one record; `state` is the sweep's state after it."""
        match record:
            case Asked():
                self._out.print(self._asked(record, state), soft_wrap=True)
            case EpochEnded():
                line = epoch_line(record.record, state.objective.metric)
                self._say_of(record.trial, line, state)
            case Stopped():
                self._say_of(record.trial, stopped_words(record.by, record.epoch), state)
            case Told():
                self._say_of(record.trial, self._told(record, state), state)
            case Paused():
                words = f"{paused_words(state.trials[record.trial])}; {self._told(record, state)}"
                self._say_of(record.trial, words, state)
            case Continued():
                asked = state.open_asks[record.ask]
                first = len(state.trials[record.trial].history)
                again = replace(asked, first_epoch=first)
                self._out.print(self._asked(again, state, "goes on: "), soft_wrap=True)
            case Confirmed():
                self._out.print(
                    f"confirmation of trial {record.trial}, seed {record.seed}: "
                    f"{state.objective.metric} {record.score:.4f}"
                )
            case Refitted():
                self._out.print(
                    f"trial {record.trial} trained on all images that are not test: "
                    f"test_accuracy {record.result.test_accuracy:.4f}, "
                    f"{record.result.train_seconds:.1f} s"
                )
            case LookedAtOfficialTest():
                self._out.print(
                    f"official test: trial {record.trial} has accuracy {record.accuracy:.4f} "
                    f"on {record.images:,} images (evaluation {len(state.official)})"
                )

    def _say_of(self, trial: int, words: str, state: SweepState) -> None:
        # One at a time: whose line it is goes without saying.
        whose = f"trial {trial}: " if state.workers > 1 else "  "
        self._out.print(f"{whose}{words}", soft_wrap=True)

    def _asked(self, record: Asked, state: SweepState, what: str = "") -> str:
        epochs = f"epochs {record.first_epoch + 1}-{record.last_epoch}"
        what = what or ("promoted: " if record.rung > 0 else "")
        values = overrides_in_words(record.overrides)
        return f"trial {record.trial} ({what}{epochs}; {self._spent(state)}) {values}"

    def _spent(self, state: SweepState) -> str:
        sweep = self._config.sweep
        parts = [f"{state.epochs_total}"]
        parts[0] += f" of {sweep.max_epochs_total} epochs" if sweep.max_epochs_total else " epochs"
        if sweep.max_trials:
            parts.append(f"{len(state.trials)} of {sweep.max_trials} trials")
        if sweep.max_minutes:
            parts.append(f"{state.minutes():.1f} of {sweep.max_minutes:g} min")
        return "so far " + ", ".join(parts)

    def _told(self, record: Told | Paused, state: SweepState) -> str:
        result = record.result
        if result is None:
            return f"failed: {state.trials[record.trial].reason}"
        best = state.best
        further = further_in_words(state.trials[record.trial], state)
        leads = " *best so far*" if best is not None and best.number == record.trial else ""
        return (
            f"{state.objective.metric} {record.score:.4f} at epoch {result.best_epoch}, "
            f"test_accuracy {result.test_accuracy:.4f}, "
            f"{result.parameters:,} parameters, {record.seconds:.1f} s"
            f"{''.join(f', {words}' for words in further)}{leads}"
        )


def epoch_line(record: EpochRecord, objective: str = "val_accuracy") -> str:
    """Return an epoch's metrics as a line, the objective among them."""
    names = dict.fromkeys(("loss", "accuracy", "val_loss", "val_accuracy", objective))
    told = [f"{name} {record.metrics[name]:.4f}" for name in names if name in record.metrics]
    seconds = record.metrics["epoch_seconds"]
    return f"epoch {record.epoch:2d}  {'  '.join(told)}  {seconds:.1f} s"


def leaderboard_table(
    state: SweepState, metrics: Sequence[str] = (), most: int = 20, *, width: int = _WIDEST
) -> Table:
    """Return the leaderboard for a console of the given width, its first `most` rows, with
    `metrics` (see `also_shown`).

    If the console is narrow, the costs of the trials are omitted, not their values.
    """
    paths = searched_paths(state)
    # Shortened paths, because the parts that all paths share carry no information.
    metric = state.objective.metric
    table = Table(title=f"Leaderboard by {metric}", title_justify="left")
    costs = [PARAMETERS, "epochs", "seconds"]
    if width < _NARROW:
        costs = [name for name in costs if name in (each.metric for each in state.objectives)]
    more = also_shown(state, metrics)
    front = ("front",) if state.further_objectives else ()
    for name in ("rank", "trial", *front, metric, "test_accuracy", *more, *costs):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("searched values", overflow="fold", min_width=30)
    ranking = state.ranking()
    for rank, trial in enumerate(ranking[:most], start=1):
        table.add_row(
            str(rank),
            str(trial.number),
            *("yes" if trial.number in state.front else "" for _ in front),
            _score(trial, ranking[0], metric),
            *_numbers(trial, more)[: 1 + len(more) + len(costs)],
            ", ".join(
                f"{short_path(p)}={plain(trial.overrides[p])}"
                for p in paths
                if p in trial.overrides
            ),
        )
    return table


def summary_lines(state: SweepState, most: int = 20) -> list[str]:
    """Return what the leaderboard's table omits: further rows, failures, infeasible points."""
    lines = []
    if len(state.ranking()) > most:
        lines.append(f"{len(state.ranking()) - most} more trials in leaderboard.csv")
    for number in sorted(state.failed_trials):
        lines.append(f"trial {number} failed: {state.trials[number].reason}")
    lines += stopped_lines(state)
    if state.infeasible:
        lines.append(f"{state.infeasible} infeasible points were proposed and replaced")
    lines += front_lines(state)
    if (meaning := spread_words(state)) is not None:
        lines.append(meaning)
    if any(trial.confirmed_score for trial in state.ranking()):
        lines.append("≈ not significantly different from the best (Welch's t-test, 5 %)")
    return lines


def stopped_lines(state: SweepState) -> list[str]:
    """Name the trials that were stopped on request; count those that a scheduler stopped."""
    lines, by_scheduler = [], Counter[str]()
    for trial in state.trials.values():
        if trial.stopped_at is not None and trial.stopped_by == ON_REQUEST:
            words = stopped_words(trial.stopped_by, trial.stopped_at)
            lines.append(f"trial {trial.number} was {words}")
        elif trial.is_paused:
            lines.append(f"trial {trial.number} was {paused_words(trial)}")
        elif trial.stopped_at is not None:
            by_scheduler[trial.stopped_by] += 1
    return lines + [f"{counted(n, 'trial')} stopped by {by}" for by, n in by_scheduler.items()]


def _score(trial: Trial, best: Trial, metric: str) -> str:
    confirmed = trial.confirmed_score
    if confirmed is None:
        return score_words(trial, metric)
    mark = ""
    if trial is not best and best.confirmed_score is not None:
        mark = " ≈" if cannot_be_told_apart(trial, best) else ""
    return f"{score_words(trial, metric)}{mark}"


def _numbers(trial: Trial, metrics: Sequence[str]) -> list[str]:
    result = trial.result
    assert result is not None  # ranked trials have a result
    return [
        f"{result.test_accuracy:.4f}",
        *metric_cells(trial, metrics),
        f"{result.parameters:,}",
        str(result.last_epoch),
        f"{result.train_seconds:.1f}",
    ]


def print_commands(out: Console, commands: Mapping[str, str]) -> None:
    """Print commands to copy, each with its purpose; nothing if there are none."""
    if not commands:
        return
    out.print("next:")
    width = max(map(len, commands))
    for what, line in commands.items():
        out.print(f"  {what:<{width}}  {line}", soft_wrap=True)
