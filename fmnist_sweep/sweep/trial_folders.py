"""What a sweep's trials leave in its folder, and for how long."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

from fmnist_sweep.journal.leaders import Leaders
from fmnist_sweep.training.checkpoint import clear_checkpoints
from fmnist_sweep.training.results import BEST_MODEL_FILE

WhenSent = Callable[[Callable[[], None]], None]


def trial_folder(sweep: Path, number: int) -> Path:
    """Return the folder of a trial in that of its sweep."""
    return sweep / "trials" / f"{number:04d}"


class TrialFolders:
    """The folders `trials/<number>` of a sweep: a rung's checkpoints, and a trial's best model.

    Checkpoints stay while a rung may go on from them, a best model while its trial may still win
    and, in any case, until the tracker has it.

    Args:
        sweep: the sweep's own folder.
        leaders: ranks the trials whose last rung has ended; those in it may still win.
        is_confirmed: whether a trial was confirmed, so that it may win whatever it scored.
        when_sent: calls what it is given once the tracker has all that it was told so far.
    """

    def __init__(
        self,
        sweep: Path,
        leaders: Leaders,
        is_confirmed: Callable[[int], bool],
        when_sent: WhenSent,
    ) -> None:
        self._sweep = sweep
        self._leaders = leaders
        self._is_confirmed = is_confirmed
        self._when_sent = when_sent

    def of(self, number: int) -> Path:
        """Return a trial's folder."""
        return trial_folder(self._sweep, number)

    def best_model(self, number: int) -> Path:
        """Return where a trial's best model is, while it is there."""
        return self.of(number) / BEST_MODEL_FILE

    def settle(self, number: int, scores: Sequence[float]) -> None:
        """Let go of what is needed no more, now that no rung will go on with that trial.

        `scores`: empty where it has none that count.
        """
        clear_checkpoints(self.of(number))
        for beaten in self._leaders.take_in(number, scores) if scores else [number]:
            if not self._is_confirmed(beaten) and self.of(beaten).exists():
                self._when_sent(partial(shutil.rmtree, self.of(beaten), ignore_errors=True))

    def clear(self, but: Callable[[], int | None], paused: Collection[int] = ()) -> None:
        """Remove all of them at the sweep's end but those of paused trials: should it go on, a
        promotion is trained from the start. `but` says, once the tracker has all, which trial's
        best model is nowhere else."""
        trials = self._sweep / "trials"
        go_on = {self.of(number) for number in paused}
        for folder in set(trials.glob("*")) - go_on:
            clear_checkpoints(folder)

        def remove() -> None:
            number = but()
            kept = go_on if number is None else go_on | {self.of(number)}
            for folder in set(trials.glob("*")) - kept:
                shutil.rmtree(folder, ignore_errors=True)
            if not kept:
                shutil.rmtree(trials, ignore_errors=True)

        self._when_sent(remove)
