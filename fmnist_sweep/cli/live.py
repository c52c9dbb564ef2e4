"""The live display of a sweep and of a single training.

Callbacks run on the training's thread, drawing on another; they share an immutable `View`, which is
replaced by each callback.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

from rich.console import Console
from rich.text import Text

from fmnist_sweep.analysis.words import overrides_in_words
from fmnist_sweep.cli.console import SweepProgress, epoch_line
from fmnist_sweep.cli.live_view import Running, View, lines_of
from fmnist_sweep.config.messages import counted
from fmnist_sweep.config.schema import Config
from fmnist_sweep.executors.protocol import Rung
from fmnist_sweep.journal.leaderboard import (
    further_in_words,
    paused_words,
    score_words,
    stopped_words,
)
from fmnist_sweep.journal.records import (
    Confirmed,
    EpochEnded,
    LookedAtOfficialTest,
    Paused,
    Record,
    Refitted,
    Stopped,
    Told,
)
from fmnist_sweep.journal.spending import RunningEpoch, Spending, spending
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.journal.trial import Trial
from fmnist_sweep.streams import showable
from fmnist_sweep.training.progress import StepProgress
from fmnist_sweep.training.results import EpochRecord


class Screen:
    """Draws the latest view, with the remaining time counted down."""

    def __init__(self, out: Console) -> None:
        self._encoding = out.encoding
        self._unicode = out.encoding.startswith("utf")
        self._view: View | None = None
        self._at = 0.0

    def show(self, view: View | None) -> None:
        """Set the view to draw; None for nothing."""
        if view is not None:
            view = _as_shown(view, self._encoding)
        self._view, self._at = view, time.monotonic()

    def lines(self, width: int) -> Iterable[Text]:
        """Return the lines to draw."""
        view = self._view
        if view is None:
            return ()
        # While no progress is known (workers are starting), the estimate is not counted down.
        if view.seconds_left is not None and any(r.progress for r in view.running):
            passed = time.monotonic() - self._at
            view = replace(view, seconds_left=max(0.0, view.seconds_left - passed))
        # A truncated line ends in an ellipsis, which may become three dots.
        return lines_of(view, width if self._unicode else width - 2, unicode=self._unicode)


def _as_shown(view: View, encoding: str) -> View:
    """Return a view whose texts contain only what the encoding supports."""
    running = (
        replace(one, name=showable(one.name, encoding), values=showable(one.values, encoding))
        for one in view.running
    )
    best = None if view.best is None else showable(view.best, encoding)
    return replace(view, best=best, running=tuple(running))


class LiveSweep:
    """Displays a sweep; finished trials are printed, one line each."""

    def __init__(self, config: Config, out: Console, screen: Screen) -> None:
        self._config = config
        self._out = out
        self._screen = screen
        self._in_lines = SweepProgress(config, out)
        self._state = SweepState(config.sweep.objective)
        self._best: str | None = None
        # By trial: its progress; its epoch, and when that was first reported.
        self._searching: dict[int, StepProgress] = {}
        self._since: dict[int, tuple[int, float]] = {}
        self._confirming: dict[tuple[int, int], StepProgress] = {}
        self._refitting: dict[int, StepProgress] = {}
        # When the confirmation was first heard of, and how many retrainings were done then.
        self._confirmed_from: tuple[float, float] | None = None

    def on_state(self, state: SweepState) -> None:
        """Called with the sweep's state before it begins or resumes."""
        self._state = state
        if state.trials:
            left_open = [state.trials[asked.trial] for asked in state.open_asks.values()]
            running = "".join(
                f"; trial {trial.number} was {'paused' if trial.is_paused else 'running'}"
                for trial in left_open
            )
            self._out.print(
                f"already done: {counted(len(state.ended_trials), 'trial')}, "
                f"{counted(state.epochs_total, 'epoch')}{running}",
                soft_wrap=True,
            )
        self._best = _best_in_words(state)
        self._draw()

    def on_record(self, record: Record, state: SweepState) -> None:
        """Called with each record; `state` is the sweep's state after it."""
        self._state = state
        match record:
            case EpochEnded():
                self._searching[record.trial] = _at_its_end(record, state.trials[record.trial])
                self._since.pop(record.trial, None)
            case Stopped():
                self._out.print(f"trial {record.trial}  {stopped_words(record.by, record.epoch)}")
            case Told() | Paused():
                if isinstance(record, Paused):
                    words = paused_words(state.trials[record.trial])
                    self._out.print(f"trial {record.trial}  {words}")
                self._searching.pop(record.trial, None)
                self._since.pop(record.trial, None)
                self._print_ended(record, state)
            case Confirmed():
                self._confirming.pop((record.trial, record.seed), None)
                self._in_lines(record, state)
            case Refitted():
                self._refitting.clear()
                self._in_lines(record, state)
            case LookedAtOfficialTest():
                self._confirming.clear()
                self._in_lines(record, state)
        self._best = _best_in_words(state)
        self._draw()

    def on_step(self, rung: Rung, progress: StepProgress) -> None:
        """Called with the progress of a rung."""
        if rung.trial is not None:
            if any(asked.trial == rung.trial for asked in self._state.running_asks):
                self._searching[rung.trial] = progress
                if self._since.get(rung.trial, (0, 0.0))[0] != progress.epoch:
                    self._since[rung.trial] = (progress.epoch, time.monotonic())
            elif rung.whole:
                self._refitting[rung.trial] = progress
            else:
                self._confirming[rung.trial, rung.config.train.seed] = progress
            self._draw()

    def _print_ended(self, record: Told | Paused, state: SweepState) -> None:
        trial = state.trials[record.trial]
        result, line = record.result, Text(f"trial {record.trial}  ")
        values = overrides_in_words(trial.overrides)
        if result is None:  # the whole reason, at any width
            line.append(f"failed: {trial.reason}", "red").append(f"  {values}", "dim")
            self._out.print(line, soft_wrap=True)
            return
        line.append(f"{state.objective.metric} {record.score:.4f}  ")
        line.append(f"test_accuracy {result.test_accuracy:.4f}  ")
        line.append("".join(f"{words}  " for words in further_in_words(trial, state)))
        line.append(f"epochs {state.asks[record.ask].first_epoch + 1}-{result.last_epoch}  ")
        line.append(f"{record.seconds:.1f} s  ")
        if state.best is trial:
            line.append("best  ", "bold green")
        self._out.print(line.append(values, "dim"), no_wrap=True, overflow="ellipsis", crop=True)

    def _draw(self) -> None:
        confirms = self._confirmation()
        spent = confirms or self._spending()
        self._screen.show(
            View(
                name="sweep",
                spent=spent.words,
                share=spent.share,
                seconds_left=spent.seconds_left,
                best=self._best,
                running=tuple(self._running()),
            )
        )

    def _spending(self) -> Spending:
        now, epochs = time.monotonic(), {}
        for number, (_, since) in self._since.items():
            far = self._searching[number]
            epochs[number] = RunningEpoch(far.step / far.steps, now - since)
        return spending(self._config, self._state, epochs)

    def _confirmation(self) -> Spending | None:
        """Return the progress of the confirmation, None before and without it."""
        wanted, state = self._config.sweep.confirm, self._state
        done = sum(len(trial.confirmations) for trial in state.trials.values())
        if wanted is None or state.running_asks or not (done or self._confirming):
            self._confirmed_from = None
            return None
        all_of_them = wanted.seeds * len(state.to_confirm(wanted.top))
        parts = sum(
            (far.epoch - 1 + far.step / far.steps) / far.last_epoch
            for far in self._confirming.values()
        )
        now, so_far = time.monotonic(), done + parts
        since, before = self._confirmed_from = self._confirmed_from or (now, so_far)
        left = None
        if so_far > before and now - since > 1.0:
            left = max(0.0, (now - since) * (all_of_them - so_far) / (so_far - before))
        return Spending(f"confirmation, {done} of {all_of_them}", so_far / all_of_them, left)

    def _running(self) -> Iterator[Running]:
        for asked in self._state.running_asks:
            promoted = " (promoted)" if asked.rung > 0 else ""
            yield Running(
                f"trial {asked.trial}",
                f"{asked.first_epoch + 1}-{asked.last_epoch}{promoted}",
                overrides_in_words(asked.overrides),
                self._searching.get(asked.trial),
            )
        for number, far in self._refitting.items():
            values = overrides_in_words(self._state.trials[number].overrides)
            yield Running(f"trial {number}, all images", f"1-{far.last_epoch}", values, far)
        for (number, seed), far in self._confirming.items():
            values = overrides_in_words(self._state.trials[number].overrides)
            yield Running(f"trial {number}, seed {seed}", f"1-{far.last_epoch}", values, far)


class LiveTraining:
    """Displays a single training; finished epochs are printed."""

    def __init__(self, out: Console, screen: Screen) -> None:
        self._out = out
        self._screen = screen
        self._seconds = 0.0  # of finished epochs
        self._last_epoch: int | None = None
        self._epoch, self._since = 0, 0.0  # the current epoch, and when it was first reported

    def on_start(self, line: str) -> None:
        """Called with a line that describes the training."""
        self._out.print(line, soft_wrap=True)

    def on_epoch(self, record: EpochRecord) -> None:
        """Called after each epoch."""
        self._out.print(f"  {epoch_line(record)}", soft_wrap=True)
        self._seconds += record.metrics["epoch_seconds"]
        if self._last_epoch is not None:
            self._show(float(record.epoch), self._seconds, self._last_epoch, None)

    def on_step(self, progress: StepProgress) -> None:
        """Called with the training's progress."""
        if progress.epoch != self._epoch:
            self._epoch, self._since = progress.epoch, time.monotonic()
        self._last_epoch = progress.last_epoch
        done = progress.epoch - 1 + progress.step / progress.steps
        seconds = self._seconds + time.monotonic() - self._since
        self._show(done, seconds, progress.last_epoch, progress)

    def _show(self, done: float, seconds: float, of: int, progress: StepProgress | None) -> None:
        ended = int(done) if progress is None else progress.epoch - 1
        running = () if progress is None else (Running("now", str(of), progress=progress),)
        left = seconds * (of - done) / done if seconds > 1.0 else None
        spent = f"{ended} of {counted(of, 'epoch')}"
        self._screen.show(View("training", spent, done / of, left, None, running))


def _best_in_words(state: SweepState) -> str | None:
    best = state.best
    if best is None or best.result is None or best.score is None:
        return None
    score = score_words(best, state.objective.metric)
    return (
        f"{state.objective.metric} {score}  trial {best.number}  "
        f"test_accuracy {best.result.test_accuracy:.4f}"
        f"{''.join(f'  {words}' for words in further_in_words(best, state))}"
    )


def _at_its_end(record: EpochEnded, trial: Trial) -> StepProgress:
    loss, accuracy = record.metrics["loss"], record.metrics["accuracy"]
    return StepProgress(record.epoch, trial.last_epoch, 1, 1, loss, accuracy)
