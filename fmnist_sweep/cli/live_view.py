"""The live display as lines of text.

Composed without rich's tables, which would take ten times as long, four times a second, during
training.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from rich.text import Text

from fmnist_sweep.analysis.words import time_in_words
from fmnist_sweep.training.progress import StepProgress

_WIDE = 120
"""From this width on, a trial's values are beside its bar, else below it."""
_MOST_RUNNING = 12


@dataclass(frozen=True)
class Running:
    """A running training: its name, its epochs ("4-9 (promoted)"), its searched values and its
    progress, None if not reported yet."""

    name: str
    epochs: str
    values: str = ""
    progress: StepProgress | None = None


@dataclass(frozen=True)
class View:
    """What the display shows. `share` (0..1) of the budget is spent, `spent` says it in words;
    `seconds_left` is an estimate, None if unknown."""

    name: str
    spent: str
    share: float | None
    seconds_left: float | None
    best: str | None
    running: tuple[Running, ...]


def lines_of(view: View, width: int, *, unicode: bool) -> Iterator[Text]:
    """Yield the display's lines, at most `width` columns wide."""
    for line in _whole_lines(view, width, unicode=unicode):
        line.truncate(width, overflow="ellipsis")
        line.no_wrap = True
        yield line


def _whole_lines(view: View, width: int, *, unicode: bool) -> Iterator[Text]:
    label = max(map(len, (view.name, "best", *(running.name for running in view.running))))
    gauge = _Gauge(max(10, min(40, width // 6)), unicode=unicode)
    yield _budget_line(view, label, gauge)
    if view.best is not None:
        yield Text.assemble((f"{'best':<{label}}  ", "bold"), view.best)
    for running in view.running[:_MOST_RUNNING]:
        line = _running_line(running, label, gauge)
        if width >= _WIDE:
            yield line.append(f"  {running.values}", "dim")
        else:
            yield line
            if running.values:
                yield Text(f"{'':<{label}}  {running.values}", "dim")
    if len(view.running) > _MOST_RUNNING:
        yield Text(f"{'':<{label}}  and {len(view.running) - _MOST_RUNNING} more", "dim")


def _budget_line(view: View, label: int, gauge: _Gauge) -> Text:
    line = Text.assemble((f"{view.name:<{label}}  ", "bold"))
    if view.share is not None:
        line.append_text(gauge.at(view.share, "green"))
        line.append(f" {math.floor(100 * view.share):3d} %  ")
    line.append(view.spent)
    if view.seconds_left is not None:
        line.append(f"  about {time_in_words(view.seconds_left)} left")
    return line


def _running_line(running: Running, label: int, gauge: _Gauge) -> Text:
    line = Text.assemble((f"{running.name:<{label}}  ", "bold"))
    now = running.progress
    if now is None:
        return line.append_text(gauge.at(0.0, "cyan")).append(f" epochs {running.epochs}  starting")
    line.append_text(gauge.at(now.step / now.steps, "cyan"))
    line.append(f" epoch {now.epoch} of {running.epochs}  loss {now.loss:.4f}")
    return line.append(f"  accuracy {now.accuracy:.4f}")


class _Gauge:
    """A progress bar of heavy and light lines, readable without colours."""

    def __init__(self, width: int, *, unicode: bool) -> None:
        self._width = width
        self._done, self._rest = ("━", "─") if unicode else ("#", "-")

    def at(self, share: float, colour: str) -> Text:
        """Return the bar with the given share (0..1) done."""
        done = round(self._width * min(1.0, max(0.0, share)))
        rest = self._width - done
        return Text.assemble((self._done * done, colour), (self._rest * rest, "dim"))
