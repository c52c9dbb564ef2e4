"""The descriptions of a sweep and its trials in MLflow, in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fmnist_sweep.config.messages import counted
from fmnist_sweep.config.schema import SweepConfig
from fmnist_sweep.files import canonical_json
from fmnist_sweep.journal.identity import search_words
from fmnist_sweep.journal.leaderboard import (
    also_shown,
    front_lines,
    metric_cells,
    score_words,
)
from fmnist_sweep.journal.records import Begun
from fmnist_sweep.journal.spending import continued
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.journal.trial import Trial
from fmnist_sweep.provenance import command, was_typed
from fmnist_sweep.space.space import Leaf

NOTE_TAG = "mlflow.note.content"
MAX_NOTE = 8000
"""MLflow's limit for a tag, and thus for a description."""
_MAX_OWN, _MAX_COMMAND, _MAX_CELL, _MAX_VALUES = 2500, 800, 200, 300
_LEADERS = 5


@dataclass(frozen=True)
class Described:
    """Constant facts about a sweep. `exports`: whether its winner is written as a config file,
    which requires a network and images that a config can describe."""

    own_note: str | None
    leaves: Sequence[Leaf]
    sweep: SweepConfig
    exports: bool


def sweep_note(about: Described, state: SweepState) -> str:
    """Return the description of a sweep's current state, with at most MAX_NOTE characters.

    `state` is that of a sweep that has begun. The user's note comes first, then the sweep's state,
    the commands to continue it and to retrain its winner, and the search space. What does not fit
    is omitted, with a remark.
    """
    parts = [] if about.own_note is None else [_own(about.own_note)]
    assert state.begun is not None
    parts += [_standing(state, state.begun), *_leaders(state, about.sweep.metrics)]
    parts += _commands(about, state, state.begun)
    text = "\n\n".join(parts)
    return f"{text}\n\n{_space(about.leaves, MAX_NOTE - len(text) - 2)}"


def trial_note(sweep: str, number: int, overrides: Mapping[str, Any]) -> str:
    """Return the description of a trial: its number and its searched values."""
    values = _values(overrides) or "the base config"
    return f"Trial {number} of {_cell(sweep)}: {values}"


def _own(note: str) -> str:
    """Return the user's Markdown note, closed so that it cannot affect what follows."""
    if len(note) > _MAX_OWN:
        note = f"{note[:_MAX_OWN]}… [{len(note):,} characters; the whole note is in config.yaml]"
    # MLflow removes scripts itself; an unclosed tag or comment would hide the rest.
    lines, fence = [], ""
    for line in note.splitlines():
        mark = re.match(r" {0,3}(```+|~~~+)", line)
        if mark is not None and (not fence or line.strip() == fence):
            fence = "" if fence else mark[1]
        lines.append(line if fence else re.sub(r"<(?=[a-zA-Z/!?])(?!https?://)", "&lt;", line))
    return "\n".join([*lines, *([fence] if fence else [])])


def _standing(state: SweepState, begun: Begun) -> str:
    metric, best = state.objective.metric, state.best
    spent = f"{counted(len(state.trials), 'trial')}, {counted(state.epochs_total, 'epoch')}, "
    spent += f"{state.rung_seconds / 60:.1f} minutes of training"
    how = "running or interrupted" if state.ended is None else f"ended: {_cell(state.ended.reason)}"
    search = search_words(begun.identity)
    if state.learnt is not None and state.learnt.observations:
        search += f", with {counted(len(state.learnt.observations), 'trial')} of earlier sweeps"
    lines = [f"**{_escaped(begun.name)}** ({how}): {spent}", search]
    if best is not None and best.result is not None:
        score = f"{metric} **{best.score:.4f}**"
        lines.append(
            f"best: trial {best.number}, {score}, test_accuracy {best.result.test_accuracy:.4f}"
        )
    elif state.ended is not None:
        lines.append("no trial completed")
    if state.official:
        look, looks = state.official[-1], len(state.official)
        lines.append(
            f"official test of trial {look.trial}: accuracy **{look.accuracy:.4f}** on "
            f"{look.images:,} images (evaluation {looks})"
        )
    if state.failed_trials:
        lines.append(f"failed trials: {_numbers(sorted(state.failed_trials))}")
    return "  \n".join(lines)


def _leaders(state: SweepState, metrics: Sequence[str]) -> list[str]:
    ranking = state.ranking()
    if not ranking:
        return []
    also = also_shown(state, metrics)
    scores = (state.objective.metric, "test_accuracy", *also)
    front = ("front",) if state.further_objectives else ()
    head = ("rank", "trial", *front, *scores, "parameters", "epochs")
    rows = [_row((*head, "searched values")), _row(["---:"] * len(head) + ["---"])]
    for rank, trial in enumerate(ranking[:_LEADERS], start=1):
        is_on_front = ["yes" if trial.number in state.front else "" for _ in front]
        figures = [
            *is_on_front,
            *_figures(trial, state.objective.metric, also),
            _values(trial.overrides),
        ]
        rows.append(_row([str(rank), str(trial.number), *figures]))
    left = len(ranking) - _LEADERS
    more = f"\n\n{left} more in `leaderboard.csv`." if left > 0 else ""
    more += "".join(f"\n\n{_escaped(line)}" for line in front_lines(state))
    return ["### Leaderboard\n\n" + "\n".join(rows) + more]


def _figures(trial: Trial, objective: str, metrics: Sequence[str]) -> list[str]:
    result = trial.result
    assert result is not None  # ranked trials have a result
    score = score_words(trial, objective)
    counts = [f"{result.parameters:,}", str(len(trial.history) or result.last_epoch)]
    return [score, f"{result.test_accuracy:.4f}", *metric_cells(trial, metrics), *counts]


def _commands(about: Described, state: SweepState, begun: Begun) -> list[str]:
    if not was_typed(begun.command):
        how = "Started from Python: calling `run_sweep(config)` again resumes it."
    else:
        how = f"### Command\n\n{_code(begun.command)}\n\nThe same command resumes it."
    parts = [how]
    if state.ended is None:
        return parts
    on = continued(begun.command, about.sweep, state.ended.reason)
    if on is not None:
        parts.append(f"To continue it:\n\n{_code(on)}")
    if about.exports and state.best is not None:
        again = command((f"+best={begun.name}",))
        parts.append(f"To retrain its winner and compare:\n\n{_code(again)}")
    return parts


def _code(line: str) -> str:
    if len(line) > _MAX_COMMAND:
        return "(too long, see the tag `sweep.command`)"
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{line}\n{fence}"


def _space(leaves: Iterable[Leaf], room: int) -> str:
    rows = [_row((_cell(leaf.path), _cell(str(leaf.domain)), _cell(leaf.where))) for leaf in leaves]
    head = "### Searched\n\n" + _row(("path", "values", "where")) + "\n" + _row(["---"] * 3)
    whole = "\n".join([head, *rows])
    if len(whole) <= room:
        return whole
    # An upper bound of its length, for any numbers.
    room -= len(f"\n\n{len(rows)} more of {len(rows)} in `config.yaml`, under `space`.")
    shown = head
    for count, row in enumerate(rows):
        if len(shown) + 1 + len(row) > room:
            left = f"{len(rows) - count} more of {len(rows)} in `config.yaml`, under `space`."
            return f"{shown}\n\n{left}"
        shown = f"{shown}\n{row}"
    return shown


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _values(overrides: Mapping[str, Any]) -> str:
    shown, size = [], 0
    for path, value in overrides.items():
        text = value if isinstance(value, str) else canonical_json(value)
        text = f"{value:.6g}" if isinstance(value, float) else text
        shown.append(_cell(f"{path}={text}"))
        size += len(shown[-1]) + 2
        if size > _MAX_VALUES:
            left = len(overrides) - len(shown)
            return ", ".join(shown) + (f", … {left} more" if left else "")
    return ", ".join(shown)


def _cell(text: str) -> str:
    """Return a text that cannot break a table or a line, as code if possible."""
    flat = " ".join(text.split())
    if len(flat) > _MAX_CELL:
        flat = f"{flat[:_MAX_CELL]}…"
    if not flat:
        return ""
    return _escaped(flat) if re.search(r"[`|\\]", flat) else f"`{flat}`"


def _escaped(text: str) -> str:
    """Return a text with all Markdown and HTML characters escaped."""
    return re.sub(r"[^\w\s.,:;=+/()…-]|_", lambda found: f"&#{ord(found[0])};", text)


def _numbers(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:20]))
    return shown if len(numbers) <= 20 else f"{shown} and {len(numbers) - 20} more"
