"""What a sweep is going to do, found out and checked before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fmnist_sweep.config.load import with_one_objective
from fmnist_sweep.config.metrics import MFLOPS, objective_names
from fmnist_sweep.config.schema import Config, RunConfig
from fmnist_sweep.data import Dataset
from fmnist_sweep.data.dataset import run_name
from fmnist_sweep.errors import ConfigError, InfeasibleModel, JournalError
from fmnist_sweep.journal.file import JOURNAL_FILE, Journal
from fmnist_sweep.journal.identity import (
    before_reached,
    check_same_sweep,
    code_of,
    is_of_form,
    sweep_identity,
    sweep_name,
)
from fmnist_sweep.journal.records import Begun, Learnt
from fmnist_sweep.journal.same_config import of_the_same_config
from fmnist_sweep.model.plan import plan_cnn
from fmnist_sweep.schedulers.opening import OwnSearch, open_scheduler
from fmnist_sweep.space.checks import check_searchable
from fmnist_sweep.space.overrides import apply_overrides, flatten
from fmnist_sweep.space.reading import read_space
from fmnist_sweep.space.space import Space
from fmnist_sweep.sweep.budget import check_budget
from fmnist_sweep.sweep.learning import check_can_learn, learn, takes_from_others
from fmnist_sweep.sweep.same_classes import check_same_classes
from fmnist_sweep.training.preparation import Prepared, epochs_of, prepare, with_threads
from fmnist_sweep.tuners.encoding import sample_points
from fmnist_sweep.tuners.feasibility import feasibility
from fmnist_sweep.tuners.protocol import OnInfeasible, SearchProblem, WhyInfeasible
from fmnist_sweep.tuners.search import Scheduler
from fmnist_sweep.workspace import Workspace

_SAMPLES = 200
_NOTHING_OWN = OwnSearch()


@dataclass(frozen=True)
class SweepPlan:
    """A sweep that may begin, or go on. `epochs` are those of a full training; `pinned` the
    paths that the command line took out of the search; `remarks` sentences for the user: which
    sweeps have the same config as one that begins, and how they differ. `start_with` are the
    overrides of `sweep.start_with`, `learnt` what is taken from earlier sweeps, if anything is."""

    name: str
    folder: Path
    config: Config
    space: Space
    pinned: list[str]
    epochs: int
    prepared: Prepared
    why_infeasible: WhyInfeasible
    identity: dict[str, Any]
    remarks: list[str]
    start_with: tuple[dict[str, Any], ...] = ()
    learnt: Learnt | None = None
    own: OwnSearch = _NOTHING_OWN

    def epochs_of(self, run: RunConfig) -> int:
        """Return the epochs of a full training of a trial's config."""
        return epochs_of(run, self.prepared)

    def open_scheduler(self, on_infeasible: OnInfeasible) -> Scheduler:
        """Return a new scheduler around its tuner, which knows of no trial yet.

        Raises:
            ConfigError: they cannot search that space, or do not go together.
        """
        config = self.config
        problem = SearchProblem(
            self.space,
            config.tuner.seed,
            config.sweep.objective,
            config.train.epochs,
            self.why_infeasible,
            on_infeasible,
            config.sweep.further_objectives,
        )
        return open_scheduler(config, problem, self.own)


def plan_sweep(
    config: Config,
    build_model: Callable[..., Any] | None,
    data: Dataset | None,
    *,
    label: str,
    pinned: tuple[str, ...],
    workspace: Workspace,
    own: OwnSearch = _NOTHING_OWN,
) -> SweepPlan:
    """Check everything that can be checked beforehand; write nothing.

    Raises:
        UserError: names what cannot be used and what is allowed.
    """
    # Again, since a config may have been changed from Python after it was composed.
    config = with_threads(with_one_objective(config), config.executor)
    space, paths = read_space(config, pinned)
    if not space.leaves:
        raise ConfigError("space: there is nothing to search; give it at least one leaf")
    prepared = prepare(config, data)
    _check_objective(config, prepared, on_paper=build_model is None)
    epochs = epochs_of(config, prepared)
    dataset = prepared.dataset
    if prepared.split.folds:
        _check_folds(config, space)
    why_infeasible = feasibility(config, space, prepared, on_paper=build_model is None)
    check_can_learn(config, own_tuner=own.tuner is not None)
    _check_any_feasible(space, why_infeasible)
    identity = {
        **sweep_identity(config, space, dataset.sha256, prepared.split.sha256, build_model),
        **{
            seam: {**code_of(given), "seed": config.tuner.seed}
            for seam, given in vars(own).items()
            if given is not None
        },
    }
    forms = [identity, before_reached(identity, build_model)]
    name, begun = _sweep_of(config, run_name(label, dataset), forms, workspace)
    folder = workspace.sweep(name)
    if begun is None:
        remarks = of_the_same_config(folder, forms)
    else:
        if build_model is None:
            check_same_classes(name, Journal(folder / JOURNAL_FILE).records, config, prepared)
        remarks = [] if is_of_form(begun.identity, identity) else [_NOT_RECORDED.format(name)]
    learnt = None
    if takes_from_others(config):
        learnt = _learnt(folder)
        if learnt is None:
            lessons = learn(config, space, identity)
            learnt, remarks = lessons.learnt, remarks + lessons.remarks
    starts = tuple(map(flatten, config.sweep.start_with)) if learnt is None else learnt.start_with
    for number, overrides in enumerate(starts):
        _check_start(number, config, overrides, prepared, on_paper=build_model is None)
    plan = SweepPlan(
        name,
        folder,
        config,
        space,
        paths,
        epochs,
        prepared,
        why_infeasible,
        identity,
        remarks,
        starts,
        learnt,
        own,
    )
    check_budget(config, epochs, plan.open_scheduler(lambda values, reason: None))
    return plan


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


def _learnt(folder: Path) -> Learnt | None:
    records = Journal(folder / JOURNAL_FILE).records
    return next((record for record in records if isinstance(record, Learnt)), None)


def _begun(journal: Path) -> Begun | None:
    """Return how a sweep began, None where it has not.

    Raises:
        JournalError: the journal cannot be read, or lacks its beginning.
    """
    records = Journal(journal).records
    if records and not isinstance(records[0], Begun):
        raise JournalError(
            f"{journal}, line 1: the first record is not `begun`; that line is missing"
        )
    return records[0] if records and isinstance(records[0], Begun) else None


_NOT_RECORDED = (
    "sweep {} was begun by a version that recorded build_model's own source only: whether what it "
    "uses was edited since is not known"
)


def _sweep_of(
    config: Config, label: str, forms: list[dict[str, Any]], workspace: Workspace
) -> tuple[str, Begun | None]:
    """Return the sweep's name, and how it began, None where it has not.

    `forms` are those that its identity may be recorded in, today's first.

    Raises:
        ConfigError: the name is another sweep's.
    """
    names = [sweep_name(config, label, form) for form in forms]
    begun = [_begun(workspace.sweep(name) / JOURNAL_FILE) for name in names]
    for name, beginning, form in zip(names, begun, forms, strict=True):
        if beginning is not None and is_of_form(beginning.identity, form):
            check_same_sweep(name, beginning.identity, form)
            return name, beginning
    if begun[0] is not None:
        check_same_sweep(names[0], begun[0].identity, forms[0])
    return names[0], begun[0]


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
    where, dataset = f"sweep.start_with.{number}", prepared.dataset
    for path in overrides:
        check_searchable(f"{where}.{path}", path, config.run)
    try:
        start = apply_overrides(config.run, overrides)
        epochs_of(start, prepared)
        if on_paper:
            plan_cnn(start.model, dataset.image_shape, dataset.classes)
    except (ConfigError, InfeasibleModel) as error:
        raise ConfigError(f"{where}: {error}") from error


def _check_folds(config: Config, space: Space) -> None:
    searched = {leaf.path for leaf in space.leaves} | {
        path for given in config.sweep.start_with for path in flatten(given)
    }
    if config.train.steps is not None or "train.steps" in searched:
        raise ConfigError(
            "train.steps: split.scheme=kfold trains each fold for whole epochs; set train.epochs"
        )


def _check_objective(config: Config, prepared: Prepared, *, on_paper: bool) -> None:
    if not prepared.split.is_validated:
        raise ConfigError(
            f"sweep.objective.metric={config.sweep.objective.metric}: split "
            f"{prepared.split.scheme} has no validation set; set split.validation, "
            "or take split=balanced"
        )
    if MFLOPS in config.sweep.measured_costs and not on_paper:
        others = [name for name in objective_names() if name != MFLOPS]
        raise ConfigError(
            f"sweep.objectives: {MFLOPS} are not known of the networks of build_model; allowed: "
            f"{', '.join(others)}"
        )
