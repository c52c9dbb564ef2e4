"""Console output while something runs, according to the config's `display`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from rich.console import Console

from fmnist_sweep.cli.console import SweepProgress, epoch_line, say_tracking_trouble
from fmnist_sweep.cli.data_progress import progress_lines
from fmnist_sweep.cli.live import LiveSweep, LiveTraining, Screen
from fmnist_sweep.cli.live_region import live_region
from fmnist_sweep.config.schema import Config
from fmnist_sweep.sweep.opening import Watch
from fmnist_sweep.sweep.plan import SweepPlan
from fmnist_sweep.training.progress import OnStep
from fmnist_sweep.training.results import EpochRecord


@dataclass(frozen=True)
class TrainingDisplay:
    """Callbacks of a single training; `on_start` is called with a line that describes it. `on_step`
    is None if steps are not shown."""

    on_start: Callable[[str], None]
    on_epoch: Callable[[EpochRecord], None]
    on_step: OnStep | None


@contextmanager
def sweep_display(
    config: Config, out: Console, announce: Callable[[SweepPlan], None]
) -> Iterator[Watch]:
    """Show a sweep while the block runs it. `announce` prints what will be done."""
    match shown(config, out):
        case "quiet":
            yield Watch(on_trouble=say_tracking_trouble)
        case "lines":
            with progress_lines(out):
                yield Watch(
                    announce, on_record=SweepProgress(config, out), on_trouble=say_tracking_trouble
                )
        case "live":
            screen = Screen(out)
            live = LiveSweep(config, out, screen)
            with live_region(out, screen.lines, stderr=sys.stderr.isatty()), progress_lines(out):
                yield Watch(
                    announce, live.on_state, live.on_record, live.on_step, say_tracking_trouble
                )


@contextmanager
def training_display(config: Config, out: Console) -> Iterator[TrainingDisplay]:
    """Show a single training while the block runs it."""

    def say(line: str) -> None:
        out.print(line, soft_wrap=True)

    match shown(config, out):
        case "quiet":
            yield TrainingDisplay(_nothing, _nothing, None)
        case "lines":
            with progress_lines(out):
                yield TrainingDisplay(say, lambda record: say(f"  {epoch_line(record)}"), None)
        case "live":
            screen = Screen(out)
            live = LiveTraining(out, screen)
            with live_region(out, screen.lines, stderr=sys.stderr.isatty()), progress_lines(out):
                yield TrainingDisplay(live.on_start, live.on_epoch, live.on_step)


def shown(config: Config, out: Console) -> Literal["live", "lines", "quiet"]:
    """Return how to display: `auto` is live if standard output is a terminal, `live` wherever the
    cursor can be moved."""
    if config.display == "quiet" or config.display == "lines":
        return config.display
    # With FORCE_COLOR rich treats a file as a terminal, but files need lines.
    wanted = config.display == "live" or sys.stdout.isatty()
    return "live" if wanted and out.is_terminal and not out.is_dumb_terminal else "lines"


def _nothing(_heard: object) -> None:
    pass
