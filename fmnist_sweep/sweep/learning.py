"""What a sweep takes from earlier ones when it begins: observations for its tuner, and winners to
try first."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from fmnist_sweep.config.messages import counted
from fmnist_sweep.config.schema import Config, RunConfig
from fmnist_sweep.config.tuner_schema import NAMES_THAT_LEARN
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.journal.records import Learnt, Observation
from fmnist_sweep.journal.trial import Trial
from fmnist_sweep.space.overrides import apply_overrides, flatten, with_train
from fmnist_sweep.space.space import VARIANT, Space
from fmnist_sweep.sweep.earlier import EarlierSweep, earlier_sweep
from fmnist_sweep.tuners.encoding import encode

_BEST_OF = "best_of"
_FREE = ("seed", "threads", "monitor", "early_stopping", "stop_epoch")
"""Settings of trainings that may differ: a trial with others is still an observation."""


@dataclass(frozen=True)
class Lessons:
    """What was learnt, and a sentence for the user about each sweep that it was learnt from."""

    learnt: Learnt
    remarks: list[str]


def takes_from_others(config: Config) -> bool:
    """Whether a sweep begins with something of earlier ones."""
    sweep = config.sweep
    return bool(sweep.learn_from) or any(_BEST_OF in start for start in sweep.start_with)


def check_can_learn(config: Config, *, own_tuner: bool) -> None:
    """Refuse `sweep.learn_from` for a tuner that learns nothing, or for several objectives.

    Raises:
        ConfigError: names what is allowed.
    """
    if config.sweep.learn_from and config.sweep.objectives is not None:
        raise ConfigError(
            "sweep.learn_from: earlier sweeps help a search for one objective; allowed: "
            "sweep.objectives=null"
        )
    if config.sweep.learn_from and not own_tuner and not config.tuner.learns:
        raise ConfigError(
            f"sweep.learn_from: tuner={config.tuner.name} learns nothing from results; allowed: "
            f"tuner={', '.join(NAMES_THAT_LEARN)}"
        )


def learn(config: Config, space: Space, identity: Mapping[str, Any]) -> Lessons:
    """Read the earlier sweeps, see `earlier_sweep`.

    Raises:
        ConfigError: there is no such sweep, nothing can be learnt from it, or its winner is not
            of this space.
        JournalError: its journal cannot be read.
    """
    observations: list[Observation] = []
    remarks = []
    for number, name in enumerate(config.sweep.learn_from):
        where = f"sweep.learn_from.{number}"
        found, left_out = _observations(_loaded(config, where, name), config, space, identity)
        reasons = ", ".join(f"{count} {why}" for why, count in left_out.items())
        if not found:
            why = reasons or "it has no trials"
            raise ConfigError(f"{where}: there is nothing to learn from {name}: {why}")
        observations += found
        but = f"; left out: {reasons}" if reasons else ""
        remarks.append(f"sweep.learn_from: {counted(len(found), 'trial')} of {name}{but}")
    starts = tuple(
        _start(f"sweep.start_with.{number}", start, config, space)
        for number, start in enumerate(config.sweep.start_with)
    )
    return Lessons(Learnt(tuple(observations), starts, at=time.time()), remarks)


def _loaded(config: Config, where: str, name: str) -> EarlierSweep:
    try:
        return earlier_sweep(config, name)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _observations(
    sweep: EarlierSweep, config: Config, space: Space, identity: Mapping[str, Any]
) -> tuple[list[Observation], Counter[str]]:
    left_out: Counter[str] = Counter()
    found = []
    begun = sweep.state.begun
    for trial in sweep.state.trials.values():
        taken: dict[str, Any] | str
        if begun is None or any(
            begun.identity.get(key) != identity[key] for key in ("data", "split")
        ):
            taken = "of other data or another split"
        elif begun.identity.get("build_model") != identity["build_model"]:
            taken = "of another build_model"
        else:
            taken = _values(trial, sweep.base, config, space)
        if isinstance(taken, str):
            left_out[taken] += 1
        else:
            scores = _best_so_far(trial, config)
            found.append(Observation(sweep.name, trial.number, taken, scores))
    return found, left_out


def _values(trial: Trial, base: RunConfig, config: Config, space: Space) -> dict[str, Any] | str:
    """Return a trial's values in a space, or why it is no observation."""
    metric = config.sweep.objective.metric
    if trial.result is None:
        return "without a result"
    if any(metric not in record.metrics for record in trial.history):
        return f"without {metric}"
    point = _point(trial, base, config, space)
    values = None if point is None else encode(space, point)
    return "outside of the space" if values is None else values


def _point(trial: Trial, base: RunConfig, config: Config, space: Space) -> dict[str, Any] | None:
    """Return the point of a space that an earlier trial is; None if it is none."""
    ran = apply_overrides(base, trial.overrides)
    return space.point_of(config.run, _as_in(config.run, ran, space))


def _as_in(base: RunConfig, ran: RunConfig, space: Space) -> RunConfig:
    """Return what was trained with the base config's settings where a difference is none."""
    searched = {leaf.path for leaf in space.leaves}
    free = list(_FREE)
    if not ran.train.schedule.depends_on_the_end:
        free += ["epochs", "steps"]
    same = {key: getattr(base.train, key) for key in free if f"train.{key}" not in searched}
    return with_train(base.model_copy(update={"model": ran.model, "train": ran.train}), **same)


def _best_so_far(trial: Trial, config: Config) -> tuple[float, ...]:
    """Return the best scores up to each epoch; a training that stopped early keeps its best."""
    objective = config.sweep.objective
    best = max if objective.direction == "max" else min
    scores = list(accumulate((r.metrics[objective.metric] for r in trial.history), best))
    if trial.result is not None and trial.result.stopped_early:
        scores += [scores[-1]] * (trial.last_epoch - len(scores))
    return tuple(scores)


def _start(where: str, start: dict[str, Any], config: Config, space: Space) -> dict[str, Any]:
    """Return the overrides of a start: its own, or those that make an earlier winner."""
    if _BEST_OF not in start:
        return flatten(start)
    if len(start) > 1:
        others = ", ".join(key for key in start if key != _BEST_OF)
        raise ConfigError(f"{where}: {_BEST_OF} cannot be combined with {others}")
    name = start[_BEST_OF]
    sweep = _loaded(config, where, str(name))
    best = sweep.state.best
    if best is None:
        raise ConfigError(f"{where}: no trial of {name} has completed")
    point = _point(best, sweep.base, config, space)
    if point is None or encode(space, point) is None:
        raise ConfigError(f"{where}: the winner of {name} is outside of the space")
    return {path: value for path, value in space.overrides(point).items() if path != VARIANT}
