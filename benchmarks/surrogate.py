"""Seconds per ask of a tuner that learns, by number of trials and of searched values.

A new tuner is asked for N trials, which get a score from a formula, then for ASKS more, each of
which takes all trials before it into account. The first N of `bayesian` and `tpe` are random. The
peer is random search after as many trials, in the same process. The spaces consist of independent
floats.

When an ask takes longer than `LONGEST` seconds, larger numbers of trials are skipped. At the end:
the number of trials from which an ask costs more than a tenth of a 30 s trial.

`surrogate.py [tuners=bayesian] [dimensions=3,6,12,17] [trials=25,50,100,200,400] [asks=3]`.
`dimensions=3 trials=5 asks=1` takes seconds; so does `tuners=tpe dimensions=17 trials=1000`.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from measuring import read_sizes, say, say_figure, say_where

from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.journal.records import Asked, Told, TrialStatus
from fmnist_sweep.space.domains import FloatRange
from fmnist_sweep.space.space import Leaf, Space
from fmnist_sweep.tuners.opening import open_tuner
from fmnist_sweep.tuners.protocol import Proposal, SearchProblem

LONGEST = 30.0
DEAR = 3.0
PEER = "random"


class Sizes(NamedTuple):
    """Which tuners, how many values are searched, after how many trials, and how many asks are
    measured."""

    tuners: tuple[str, ...] = ("bayesian",)
    dimensions: tuple[int, ...] = (3, 6, 12, 17)
    trials: tuple[int, ...] = (25, 50, 100, 200, 400)
    asks: int = 3


def main(arguments: list[str]) -> None:
    """Measure every size, for the tuners and for random search."""
    sizes = read_sizes(arguments, Sizes())
    say_where()
    say(f"an ask is dear above {DEAR:g} s, a tenth of a 30 s trial")
    dear_from = [
        dear_number(tuner, searched, sizes.trials, sizes.asks)
        for tuner in sizes.tuners
        for searched in sizes.dimensions
    ]
    for line in dear_from:
        say(line)


def dear_number(tuner: str, dimensions: int, trials: Sequence[int], asks: int) -> str:
    """Measure a space's asks at growing numbers of trials; say from which number they are
    expensive."""
    space = _space(dimensions)
    dear = f"{tuner}, {dimensions} values searched: never dear"
    for number in sorted(trials):
        seconds = asks_after(number, space, tuner, asks)
        name = f"{tuner}, {dimensions} values, {number} trials"
        say_figure(name, seconds, "s", peer=asks_after(number, space, PEER, asks))
        if statistics.median(seconds) > DEAR and dear.endswith("never dear"):
            dear = f"{tuner}, {dimensions} values searched: dear from {number} trials on"
        if max(seconds) > LONGEST:
            return f"{dear}; more than {number} not tried"
    return f"{dear}; at most {max(trials)} tried"


def asks_after(trials: int, space: Space, tuner: str, asks: int) -> list[float]:
    """Return the seconds of each ask after that many trials."""
    settings = [f"tuner={tuner}"]
    if tuner in ("bayesian", "tpe"):
        settings.append(f"tuner.initial_points={trials}")  # random, without fitting
    config = compose_config(settings)
    objective = config.sweep.objective
    problem = SearchProblem(
        space, config.tuner.seed, objective, 1, lambda point: None, lambda values, why: None
    )
    searched = open_tuner(config.tuner, problem)
    seconds = []
    for number in range(trials + asks):
        started = time.perf_counter()
        proposal = searched.propose(number)
        seconds.append(time.perf_counter() - started)
        assert isinstance(proposal, Proposal)  # a continuous space is never used up
        searched.apply(
            Asked(number, number, 0, 0, 1, proposal.id, proposal.values, overrides={}, at=0.0)
        )
        score = _score(proposal.point)
        searched.apply(
            Told(number, number, TrialStatus.COMPLETED, score, None, None, seconds=1.0, at=0.0)
        )
    return seconds[trials:]


def _space(dimensions: int) -> Space:
    domain = FloatRange(0.0, 1.0, None, log=False)
    leaves = (Leaf(f"value.{number}", domain) for number in range(dimensions))
    return Space(tuple(leaves), {})


def _score(point: Mapping[str, Any]) -> float:
    """Return a score like an accuracy, with one maximum and ripples."""
    distances: list[float] = [(value - 0.6) ** 2 for value in point.values()]
    return 0.9 - sum(distances) / len(distances) + 0.02 * math.sin(20 * sum(distances))


if __name__ == "__main__":
    main(sys.argv[1:])
