"""Requests to stop one trial: a file in the sweep's folder, or a tag of the trial's run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fmnist_sweep.files import write_text_whole


def request_stop(sweep: Path, number: int) -> None:
    """Ask the process that runs the sweep of that folder, now or later, to stop a trial."""
    write_text_whole(_file(sweep, number), "")


class StopRequests:
    """What a sweep looks at after each epoch.

    Args:
        sweep: the sweep's folder.
        is_tagged: whether a trial's run carries the tag that asks for it.
    """

    def __init__(
        self, sweep: Path, is_tagged: Callable[[int], bool] = lambda number: False
    ) -> None:
        self._sweep = sweep
        self._is_tagged = is_tagged

    def __contains__(self, number: int) -> bool:
        return _file(self._sweep, number).exists() or self._is_tagged(number)

    def done(self, number: int) -> None:
        """Forget a request, which the journal has now."""
        _file(self._sweep, number).unlink(missing_ok=True)


def _file(sweep: Path, number: int) -> Path:
    return sweep / "stop" / f"{number:04d}"
