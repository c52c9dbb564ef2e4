"""The exceptions of this package.

    FmnistSweepError
    ├── UserError            the user's mistake; the program exits with code 2
    │   ├── ConfigError      a config, an override or a space
    │   │   ├── NoStore      a tracking store that is not there (yet)
    │   │   └── StoreVersion a tracking store of another version of MLflow
    │   ├── DataError        a data file: missing, altered, malformed
    │   └── InfeasibleModel  a network that cannot be built, or is over a sweep's bounds
    └── RunError             trouble while running; the program exits with code 1
        ├── TrialFailed      one trial went wrong; the sweep goes on
        ├── JournalError     a journal that cannot be read; names file and line
        ├── SweepStopped     a sweep that cannot go on (too many failures, a lock held)
        ├── NotReproduced    a rerun that is not, or did not give, what was recorded
        ├── Refused          what a tracker will not take, however often it is told
        │   └── RunDeleted   for somebody has deleted the run
        └── NotTracked       a run that ended, and that the tracker could not be told of whole

A message is one line that names the thing, the value given and what is allowed.
"""

from __future__ import annotations


class FmnistSweepError(Exception):
    """Root of all errors that this package raises on purpose."""

    exit_code = 1


class UserError(FmnistSweepError):
    """A mistake that the user can correct."""

    exit_code = 2


class ConfigError(UserError):
    """A config, an override or a search space that cannot be used."""


class NoStore(ConfigError):
    """A tracking store that does not exist (yet), so that nothing can be tracked in it."""


class StoreVersion(ConfigError):
    """A tracking store of an older or a newer version than the installed MLflow's."""


class DataError(UserError):
    """A data file that is missing, altered or malformed."""


class InfeasibleModel(UserError):
    """A network that cannot be built, such as one that shrinks the image below a pixel."""


class RunError(FmnistSweepError):
    """Trouble while running."""


class TrialFailed(RunError):
    """One trial went wrong; what was trained before stays recorded."""


class JournalError(RunError):
    """A journal that cannot be read."""


class SweepStopped(RunError):
    """A sweep that cannot go on."""


class NotReproduced(RunError):
    """A rerun whose data, split or config is not the recorded one, or whose result is not."""


class Refused(RunError):
    """What a tracker will not take, however often it is told."""


class RunDeleted(Refused):
    """What concerns a run that somebody has deleted from the tracker, or one below it.

    Attributes:
        key: of the deleted run.
    """

    def __init__(self, message: str, key: str) -> None:
        super().__init__(message)
        self.key = key


class NotTracked(RunError):
    """A run that came to its end, and that the tracker could not be told of whole."""
