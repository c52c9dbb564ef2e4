"""What a sweep is going to do, found out and checked before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fmnist_sweep.config.schema import Config
from fmnist_sweep.data import Dataset
from fmnist_sweep.data.dataset import run_name
from fmnist_sweep.errors import ConfigError, InfeasibleModel, JournalError
from fmnist_sweep.files import folder_in
from fmnist_sweep.model.plan import plan_cnn
from fmnist_sweep.search.budget import check_budget
from fmnist_sweep.search.feasibility import WhyInfeasible, feasibility
from fmnist_sweep.search.identity import (
    check_same_sweep,
    differs_by_data,
    sweep_identity,
    sweep_name,
)
from fmnist_sweep.search.journal import JOURNAL_FILE, Journal, first_record
from fmnist_sweep.search.oracle import sample_points
from fmnist_sweep.search.records import Asked, Begun, Record, Told
from fmnist_sweep.space.checks import check_searchable
from fmnist_sweep.space.overrides import apply_overrides, flatten
from fmnist_sweep.space.reading import read_space
from fmnist_sweep.space.space import Space
from fmnist_sweep.training.preparation import Prepared, epochs_of, prepare, with_threads

_SAMPLES = 200


@dataclass(frozen=True)
class SweepPlan:
    """A sweep that may begin, or go on. `epochs` are those of a full training; `pinned` the
    paths that the command line took out of the search; `of_other_data` the sweeps that differ from
    one that begins by nothing but the content of its data."""

    name: str
    folder: Path
    config: Config
    space: Space
    pinned: list[str]
    epochs: int
    prepared: Prepared
    why_infeasible: WhyInfeasible
    identity: dict[str, Any]
    of_other_data: list[str]


def plan_sweep(
    config: Config,
    build_model: Callable[..., Any] | None,
    data: Dataset | None,
    *,
    label: str,
    pinned: tuple[str, ...],
    root: Path,
) -> SweepPlan:
    """Check everything that can be checked beforehand; write nothing.

    Raises:
        UserError: names what cannot be used and what is allowed.
    """
    config = with_threads(config, config.executor.workers)
    space, paths = read_space(config, pinned)
    if not space.leaves:
        raise ConfigError("space: there is nothing to search; give it at least one leaf")
    prepared = prepare(config, data)
    _check_objective(config, prepared)
    epochs = epochs_of(config, prepared)
    check_budget(config, epochs)
    dataset = prepared.dataset
    why_infeasible = feasibility(config, space, prepared, on_paper=build_model is None)
    for number, overrides in enumerate(config.sweep.start_with):
        _check_start(number, config, overrides, prepared, on_paper=build_model is None)
    _check_any_feasible(space, why_infeasible)
    identity = sweep_identity(config, space, dataset.sha256, prepared.split.sha256, build_model)
    name = sweep_name(config, run_name(label, dataset), identity)
    folder = folder_in(root / "mlruns" / "sweeps", name)
    records = Journal(folder / JOURNAL_FILE).records
    begun = _begun(records, folder / JOURNAL_FILE)
    if begun is not None:
        check_same_sweep(name, begun.identity, identity)
        if build_model is None:
            _check_same_classes(name, records, config, prepared)
    return SweepPlan(
        name,
        folder,
        config,
        space,
        paths,
        epochs,
        prepared,
        why_infeasible,
        identity,
        [] if begun is not None else _of_other_data(folder, identity),
    )


def infeasible_share(space: Space, why_infeasible: WhyInfeasible, samples: int) -> Infeasible:
    """Draw points of a space at random and say how many of them cannot be tried, and why."""
    reasons = [
        reason
        for point in sample_points(space, samples, seed=0)
        if (reason := why_infeasible(point)) is not None
    ]
    return Infeasible(len(reasons) / samples, reasons[0] if reasons else None)


@dataclass(frozen=True)
class Infeasible:
    """The share of a space's points that cannot be tried, and one of the reasons."""

    share: float
    example: str | None


def _begun(records: Sequence[Record], journal: Path) -> Begun | None:
    """Return how a sweep began, None where it has not.

    Raises:
        JournalError: the journal lacks its beginning.
    """
    if records and not isinstance(records[0], Begun):
        raise JournalError(f"{journal}, line 1: tells of no beginning; that line is lost")
    return records[0] if records and isinstance(records[0], Begun) else None


def _check_same_classes(
    name: str, records: Sequence[Record], config: Config, prepared: Prepared
) -> None:
    """Refuse to go on with networks for another number of classes, which names of classes decide
    where a class has no images. The number of parameters of one that was trained tells."""
    trained = next((each for each in records if isinstance(each, Told) and each.result), None)
    if trained is None or trained.result is None:
        return
    asked = {each.trial: each for each in records if isinstance(each, Asked)}
    model = apply_overrides(config.run, asked[trained.trial].overrides).model

    def parameters(classes: int) -> int:
        return plan_cnn(model, prepared.dataset.image_shape, classes).parameters

    now, recorded = prepared.dataset.classes, trained.result.parameters
    if parameters(now) == recorded:
        return
    a_class = parameters(3) - parameters(2)
    then, rest = divmod(recorded - parameters(2), a_class)
    if rest == 0 and then + 2 > 0:  # else it is no matter of classes
        raise ConfigError(
            f"sweep {name}: its networks are for {then + 2} classes, and there are {now} now; name "
            f"{then + 2} in data.class_names, or take another sweep.name"
        )


def _of_other_data(folder: Path, identity: Mapping[str, Any]) -> list[str]:
    found = []
    for journal in sorted(folder.parent.glob(f"*/{JOURNAL_FILE}")):
        try:
            begun = first_record(journal)
        except JournalError:
            continue  # that sweep's own trouble
        if isinstance(begun, Begun) and differs_by_data(begun.identity, identity):
            found.append(begun.name)
    return found


def _check_any_feasible(space: Space, why_infeasible: WhyInfeasible) -> None:
    infeasible = infeasible_share(space, why_infeasible, _SAMPLES)
    if infeasible.share == 1.0:
        raise ConfigError(
            f"space: none of {_SAMPLES} points drawn from it can be tried; "
            f"the first: {infeasible.example}"
        )


def _check_start(
    number: int, config: Config, overrides: Mapping[str, Any], prepared: Prepared, *, on_paper: bool
) -> None:
    where, flat, dataset = f"sweep.start_with.{number}", flatten(overrides), prepared.dataset
    for path in flat:
        check_searchable(f"{where}.{path}", path, config.run)
    try:
        start = apply_overrides(config.run, flat)
        epochs_of(start, prepared)
        if on_paper:
            plan_cnn(start.model, dataset.image_shape, dataset.classes)
    except (ConfigError, InfeasibleModel) as error:
        raise ConfigError(f"{where}: {error}") from error


def _check_objective(config: Config, prepared: Prepared) -> None:
    if prepared.split.validation is None:
        raise ConfigError(
            f"sweep.objective.metric={config.sweep.objective.metric}: split "
            f"{prepared.split.scheme} has no validation set; set split.validation, "
            "or take split=balanced"
        )
