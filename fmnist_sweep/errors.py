"""The exceptions of this package.

    FmnistSweepError
    ├── UserError            invalid input; the program exits with code 2
    │   ├── ConfigError      a config, an override or a space
    │   │   ├── NoStore      a tracking store that does not exist (yet)
    │   │   └── StoreVersion a tracking store of another version of MLflow
    │   ├── DataError        a data file: missing, altered, malformed
    │   └── InfeasibleModel  a network that cannot be built, or exceeds a sweep's limits
    └── RunError             a failure while running; the program exits with code 1
        ├── TrialFailed      one trial failed; the sweep continues
        ├── JournalError     a journal that cannot be read; names file and line
        ├── SweepStopped     a sweep that cannot continue (too many failures, a lock held)
        ├── NotReproduced    a rerun that differs from its record
        ├── Refused          a call that the tracker rejects permanently
        │   └── RunDeleted   because the run was deleted
        └── NotTracked       a finished run whose tracking data was only partly sent

A message is one line that names the thing, the value given and what is allowed.
"""

from __future__ import annotations


class FmnistSweepError(Exception):
    """Base class of all errors that this package raises on purpose."""

    exit_code = 1


class UserError(FmnistSweepError):
    """Invalid input, which the user can correct."""

    exit_code = 2


class ConfigError(UserError):
    """An invalid config, override or search space."""


class NoStore(ConfigError):
    """A tracking store that does not exist (yet)."""


class StoreVersion(ConfigError):
    """A tracking store whose version is older or newer than the installed MLflow's."""


class DataError(UserError):
    """A data file is missing, altered or malformed."""


class InfeasibleModel(UserError):
    """A network that cannot be built, for example because it shrinks the image below one pixel."""


class RunError(FmnistSweepError):
    """A failure while running."""


class TrialFailed(RunError):
    """One trial failed; what was trained before remains recorded."""


class JournalError(RunError):
    """A journal cannot be read."""


class SweepStopped(RunError):
    """A sweep cannot continue."""


class NotReproduced(RunError):
    """A rerun whose data, split, config or result differs from the record."""


class Refused(RunError):
    """The tracker rejects a call permanently."""


class RunDeleted(Refused):
    """A call about a run that was deleted from the tracker, or whose ancestor was.

    Attributes:
        key: the deleted run's key.
    """

    def __init__(self, message: str, key: str) -> None:
        super().__init__(message)
        self.key = key


class NotTracked(RunError):
    """A finished run whose tracking data was only partly sent."""
