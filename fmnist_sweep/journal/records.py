"""The records of a journal, each a small value that can be stored as JSON.

The records, in order, are the only information that is stored about a sweep.
Times (`at`) are in seconds since 1970.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, ClassVar

from fmnist_sweep.config.record_schema import Environment
from fmnist_sweep.training.results import EpochRecord, RunResult

SCHEMA = 2
"""Incremented when journals of older versions become unreadable."""


ON_REQUEST = "request"
"""Who stops a trial that the user wants stopped."""


class TrialStatus(StrEnum):
    """The status of a trial."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True)
class Begun:
    """The sweep began, with its identity, so that a resume can check whether it is the same
    sweep."""

    kind: ClassVar[str] = "begun"
    schema: int
    name: str
    identity: dict[str, Any]
    command: str
    at: float


@dataclass(frozen=True)
class Observation:
    """What an earlier sweep's trial shows the tuner. `values` are the tuner's (Keras Tuner's
    encoding) in this sweep's space; `scores` the best ones up to each epoch."""

    sweep: str
    trial: int
    values: dict[str, Any]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Learnt:
    """What was taken from earlier sweeps when this one began, so that a resume does not need them:
    the observations of `sweep.learn_from`, and the overrides of all of `sweep.start_with`, with
    those of earlier winners."""

    kind: ClassVar[str] = "learnt"
    observations: tuple[Observation, ...]
    start_with: tuple[dict[str, Any], ...]
    at: float


@dataclass(frozen=True)
class RunsIn:
    """The sweep runs in this environment from here on; recorded only when it changes. With a
    `host`: a worker there trains, beside others; recorded once."""

    kind: ClassVar[str] = "runs_in"
    environment: Environment
    at: float
    host: str | None = None


@dataclass(frozen=True)
class Asked:
    """The tuner was asked and proposed a rung. `values` are the tuner's (Keras Tuner's encoding),
    None for a trial of `sweep.start_with`, which no tuner proposed."""

    kind: ClassVar[str] = "asked"
    ask: int
    trial: int
    rung: int
    first_epoch: int
    last_epoch: int
    oracle_id: str | None
    values: dict[str, Any] | None
    overrides: dict[str, Any]
    at: float


@dataclass(frozen=True)
class FoundInfeasible:
    """The tuner proposed a point that cannot be built or exceeds a limit; it was replaced."""

    kind: ClassVar[str] = "infeasible"
    values: dict[str, Any]
    reason: str
    at: float


@dataclass(frozen=True)
class EpochEnded:
    """A trial finished an epoch; its checkpoint is on disk, or with the worker that trained it.
    With `folds`, the metrics of each fold, `metrics` are their means. `place`: the number of the
    `RunsIn` that tells where; None: the last one without a host."""

    kind: ClassVar[str] = "epoch"
    trial: int
    epoch: int
    metrics: dict[str, float]
    at: float
    step_loss: tuple[tuple[int, float], ...] = ()
    folds: tuple[dict[str, float], ...] = ()
    place: int | None = None

    @classmethod
    def of(cls, trial: int, record: EpochRecord, place: int | None = None) -> EpochEnded:
        """Return the journal's record of an epoch that a training reports."""
        return cls(
            trial,
            record.epoch,
            record.metrics,
            record.ended_at,
            record.step_loss,
            record.folds,
            place,
        )

    @property
    def record(self) -> EpochRecord:
        """The epoch's record in the form that a training reports."""
        return EpochRecord(self.epoch, self.metrics, self.at, self.step_loss, self.folds)


@dataclass(frozen=True)
class Stopped:
    """A trial was stopped after that epoch: no rung goes on with it, and where it ended is its
    result. `by`: who stopped it, the user or the scheduler."""

    kind: ClassVar[str] = "stopped"
    trial: int
    epoch: int
    at: float
    by: str = ON_REQUEST


@dataclass(frozen=True)
class Told:
    """A rung ended, and the tuner was told. `seconds` were spent in the rung; a failed one has a
    `reason` and no `result`."""

    kind: ClassVar[str] = "told"
    ask: int
    trial: int
    status: TrialStatus
    score: float | None
    result: RunResult | None
    reason: str | None
    seconds: float
    at: float


@dataclass(frozen=True)
class Paused:
    """The time budget ended a rung early; `score` and `result` are those of the epochs that it
    has, which count as any others. The ask stays open: a larger budget goes on with it."""

    kind: ClassVar[str] = "paused"
    status: ClassVar[TrialStatus] = TrialStatus.COMPLETED
    ask: int
    trial: int
    score: float
    result: RunResult
    seconds: float
    at: float


@dataclass(frozen=True)
class Continued:
    """A paused rung is trained on."""

    kind: ClassVar[str] = "continued"
    ask: int
    trial: int
    at: float


@dataclass(frozen=True)
class Bounded:
    """The winner is chosen within these bounds from here on, by the names of objectives, each with
    `max` or `min`; recorded only when they change."""

    kind: ClassVar[str] = "bounded"
    bounds: dict[str, dict[str, float]]
    at: float


@dataclass(frozen=True)
class Confirmed:
    """A trial was retrained with a new seed."""

    kind: ClassVar[str] = "confirmed"
    trial: int
    seed: int
    score: float
    result: RunResult
    at: float


@dataclass(frozen=True)
class Refitted:
    """A winner of trials on folds was trained on all images that are not test, to the epoch that
    was the best of the folds' means. `result` is that training's."""

    kind: ClassVar[str] = "refitted"
    trial: int
    result: RunResult
    at: float


@dataclass(frozen=True)
class LookedAtOfficialTest:
    """A winner was evaluated on the official test set; all evaluations are counted."""

    kind: ClassVar[str] = "official_test"
    trial: int
    accuracy: float
    loss: float
    images: int
    best_weights_sha256: str
    at: float


@dataclass(frozen=True)
class Ended:
    """The sweep ended, for the given reason; with a larger budget it can continue."""

    kind: ClassVar[str] = "ended"
    reason: str
    at: float


Record = (
    Begun
    | Learnt
    | RunsIn
    | Asked
    | FoundInfeasible
    | EpochEnded
    | Stopped
    | Told
    | Paused
    | Continued
    | Bounded
    | Confirmed
    | Refitted
    | LookedAtOfficialTest
    | Ended
)
_KINDS: dict[str, type[Any]] = {
    record.kind: record
    for record in (
        Begun, Learnt, RunsIn, Asked, FoundInfeasible, EpochEnded, Stopped, Told, Paused,
        Continued, Bounded, Confirmed, Refitted, LookedAtOfficialTest, Ended,
    )
}  # fmt: skip


_ADDED: dict[str, object] = {"host": None, "place": None, "folds": ()}
"""Keys that earlier versions did not have, of a record or its result, and the values with which
they are left out."""


def to_json(record: Record) -> dict[str, Any]:
    """Return a record as plain values, beginning with its kind."""
    plain = asdict(record)
    if isinstance(record, RunsIn):
        plain["environment"] = record.environment.model_dump()
    for part in (plain, plain.get("result") or {}):
        for key, default in _ADDED.items():
            if key in part and part[key] == default:
                del part[key]
    return {"kind": record.kind, **plain}


def from_json(line: dict[str, Any]) -> Record:
    """Read the output of `to_json`.

    Raises:
        KeyError, TypeError, ValueError: not a record.
    """
    fields = dict(line)
    record = _KINDS[fields.pop("kind")]
    if record is Begun and fields["schema"] != SCHEMA:
        raise ValueError(f"journal schema {fields['schema']}; this version reads {SCHEMA}")
    if fields.get("result") is not None:
        folds = tuple(fields["result"].get("folds", ()))
        fields["result"] = RunResult(**{**fields["result"], "folds": folds})
    if record is Learnt:
        fields["observations"] = tuple(
            Observation(**{**one, "scores": tuple(one["scores"])}) for one in fields["observations"]
        )
        fields["start_with"] = tuple(fields["start_with"])
    if record is RunsIn:
        fields["environment"] = Environment.model_validate(fields["environment"])
    if record is EpochEnded:
        fields["step_loss"] = tuple(map(tuple, fields["step_loss"]))
        fields["folds"] = tuple(fields.get("folds", ()))
    if record is Told:
        fields["status"] = TrialStatus(fields["status"])
    made: Record = record(**fields)
    return made
