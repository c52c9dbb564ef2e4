"""A problem that answers at once: the search's real parts around results that a formula gives."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.config.load import load_config
from fmnist_sweep.config.record_schema import Environment, Numerics
from fmnist_sweep.config.schema import Config, RunConfig
from fmnist_sweep.data import load_dataset, make_split
from fmnist_sweep.executors.protocol import OnEpoch, Rung, RungOutcome
from fmnist_sweep.files import digest_of
from fmnist_sweep.journal.file import JOURNAL_FILE, Journal, to_line
from fmnist_sweep.journal.records import Learnt, Record, to_json
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.model.plan import plan_cnn
from fmnist_sweep.schedulers.opening import OwnSearch
from fmnist_sweep.space.overrides import flatten
from fmnist_sweep.space.reading import read_space
from fmnist_sweep.sweep.loop import SweepLoop
from fmnist_sweep.sweep.plan import SweepPlan
from fmnist_sweep.sweep.stopping import StopRequests
from fmnist_sweep.sweep.trial_folders import TrialFolders
from fmnist_sweep.tracking.kept_models import leaders
from fmnist_sweep.training.preparation import Prepared, epochs_of
from fmnist_sweep.training.results import EpochRecord, RunResult
from fmnist_sweep.tuners.feasibility import feasibility
from fmnist_sweep.tuners.protocol import WhyInfeasible

ENVIRONMENT = Environment(
    numerics=Numerics(
        versions={"tensorflow": "2.21.0"},
        cpu="a CPU",
        cpu_features=["avx2"],
        accelerators=[],
        threads=2,
        settings={},
    ),
    packages={"fmnist-sweep": "0.1.0"},
    platform="Linux",
    git_commit="c" * 40,
    git_changed=False,
    command="python -m fmnist_sweep +sweep=mine",
)
SMALL_DATA = (
    "data=synthetic",
    "data.train_size=400",
    "data.test_size=20",
    "split.validation=100",
    "split.test=100",
    "model=small_cnn",
    "tracking=off",
)


NOTHING_OWN = OwnSearch()


@cache
def base_config(*overrides: str) -> Config:
    """The shipped config, shrunk, with those overrides on the command line."""
    return compose_config([*SMALL_DATA, *overrides])


def config_with(
    space: Mapping[str, Any] | None = None,
    *,
    tuner: str = "random",
    scheduler: str = "full",
    variants: Mapping[str, Any] | None = None,
    **values: Any,
) -> Config:
    """That config with a space, and values at dotted paths whose dots are written `__`."""
    base = base_config(f"tuner={tuner}", f"scheduler={scheduler}")
    raw = OmegaConf.create({**base.model_dump(), **base.as_given()})
    raw.space, raw.variants = space, variants
    for path, value in values.items():
        OmegaConf.update(raw, path.replace("__", "."), value, merge=False)
    return load_config(raw)


@cache
def prepared() -> Prepared:
    """The data and the split of `base_config`."""
    config = base_config()
    dataset = load_dataset(config.data)
    return Prepared(dataset, make_split(config.split, dataset))


def score(config: RunConfig, epoch: int) -> float:
    """A number in 0..1 that any change of the config changes, and that grows with the epochs."""
    luck = int(digest_of(config.as_given())[:8], 16) / 2**32
    return 0.9 * luck + 0.1 * (1 - 0.5**epoch)


def cost(config: RunConfig, name: str) -> float:
    """What a network costs: its MFLOP, and for another name a number that the config alone says."""
    if name == "mflops":
        return plan_cnn(config.model, prepared().dataset.image_shape, 10).mflops
    return 1.0 + int(digest_of([name, config.as_given()])[:8], 16) / 2**32


def train_at_once(config: RunConfig, last_epoch: int) -> tuple[list[EpochRecord], RunResult]:
    """What a training of that config to the end of that epoch reports."""
    epochs = [
        EpochRecord(
            epoch,
            {
                "loss": 1.0 - score(config, epoch),
                "accuracy": score(config, epoch),
                "val_loss": 1.0 - score(config, epoch),
                "val_accuracy": score(config, epoch),
                "learning_rate": 0.1,
                "epoch_seconds": 1.0,
            },
            ended_at=float(epoch),
        )
        for epoch in range(1, last_epoch + 1)
    ]
    digest = digest_of([config.as_given(), last_epoch])
    result = RunResult(
        last_epoch=last_epoch,
        best_epoch=last_epoch,
        best_metrics=epochs[-1].metrics,
        test_accuracy=score(config, last_epoch),
        test_loss=0.5,
        train_seconds=float(last_epoch),
        parameters=1000,
        stopped_early=False,
        weights_sha256=digest,
        best_weights_sha256=digest,
    )
    return epochs, result


@dataclass
class InstantExecutor:
    """Trains by formula. `fails` says of a config whether its training breaks, which it does
    after the first epoch; `rungs` are those that were submitted."""

    fails: Callable[[RunConfig], bool] = lambda config: False
    workers: int = 1
    seconds: float = 0.5
    rungs: list[Rung] = field(default_factory=list)

    def submit(self, rung: Rung, on_epoch: OnEpoch) -> Future[RungOutcome]:
        self.rungs.append(rung)
        epochs, result = train_at_once(rung.config, rung.last_epoch)
        breaks = self.fails(rung.config)
        for record in epochs[:1] if breaks else epochs:
            if on_epoch(record):
                _, result = train_at_once(rung.config, record.epoch)
                break
        result = replace(result, costs={name: cost(rung.config, name) for name in rung.costs})
        future: Future[RungOutcome] = Future()
        outcome = RungOutcome(None, "TrialFailed: it broke", self.seconds)
        future.set_result(outcome if breaks else RungOutcome(result, None, self.seconds))
        return future

    def wait(self, futures: Collection[Future[RungOutcome]]) -> set[Future[RungOutcome]]:
        return set(futures)


@dataclass
class LateExecutor(InstantExecutor):
    """Trains by formula too, but a rung ends only when it is waited for, and not in turn."""

    running: list[tuple[Rung, OnEpoch, Future[RungOutcome]]] = field(default_factory=list)
    at_once: list[int] = field(default_factory=list)

    def submit(self, rung: Rung, on_epoch: OnEpoch) -> Future[RungOutcome]:
        future: Future[RungOutcome] = Future()
        self.running.append((rung, on_epoch, future))
        return future

    def wait(self, futures: Collection[Future[RungOutcome]]) -> set[Future[RungOutcome]]:
        done = {future for future in futures if future.done()}
        if done:
            return done
        self.at_once.append(len(self.running))
        rung, on_epoch, future = self.running.pop(len(self.rungs) % len(self.running))
        future.set_result(super().submit(rung, on_epoch).result())
        return {future}


@dataclass
class Run:
    """A sweep that was run: how it ended, and what it left."""

    reason: str
    state: SweepState
    journal: Journal
    executor: InstantExecutor


def plan_of(
    config: Config,
    folder: Path,
    why_infeasible: WhyInfeasible | None = None,
    own: OwnSearch = NOTHING_OWN,
    learnt: Learnt | None = None,
) -> SweepPlan:
    """A plan whose data are those of `prepared`."""
    space, _ = read_space(config)
    why = why_infeasible or feasibility(config, space, prepared(), on_paper=True)
    epochs = epochs_of(config, prepared())
    starts = tuple(map(flatten, config.sweep.start_with))
    return SweepPlan(
        "mine", folder, config, space, [], epochs, prepared(), why, {}, [], starts, learnt, own
    )


def run(
    config: Config,
    folder: Path,
    executor: InstantExecutor | None = None,
    *,
    observer: Callable[[Record, SweepState], None] = lambda record, state: None,
    why_infeasible: WhyInfeasible | None = None,
    environment: Environment = ENVIRONMENT,
    stops: StopRequests | None = None,
    own: OwnSearch = NOTHING_OWN,
) -> Run:
    """Run a sweep, or go on with the one whose journal is in that folder."""
    executor = executor or InstantExecutor()
    journal = Journal(folder / JOURNAL_FILE)
    further = config.sweep.further_objectives
    state = SweepState(config.sweep.objective, executor.workers, further_objectives=further)
    for _ in state.taking_in(journal):
        pass
    loop = SweepLoop(
        plan_of(config, folder, why_infeasible, own),
        journal,
        state,
        executor,
        TrialFolders(
            folder,
            leaders(config),
            lambda number: bool(state.trials[number].confirmations),
            lambda call: call(),
        ),
        stops or StopRequests(folder),
        observer,
        environment,
    )
    return Run(loop.run(), state, journal, executor)


def told(records: list[Record]) -> list[dict[str, Any]]:
    """Records as plain values, without the times at which they were written."""
    return [{**to_json(record), "at": 0.0} for record in records]


def to_lines(records: Iterable[Record]) -> bytes:
    """Records as the content of a journal."""
    lines, check = [], 0
    for record in records:
        line, check = to_line(record, check)
        lines.append(line)
    return b"".join(lines)


def journal_of(records: list[Record], folder: Path) -> Path:
    """Write records as a journal, in one go."""
    path = folder / JOURNAL_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_lines(records))
    return path
