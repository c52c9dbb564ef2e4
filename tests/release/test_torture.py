"""A few kills of sweeps of some tuners, drawn once for all runs; `make torture` draws a hundred."""

from __future__ import annotations

import random
from functools import partial
from importlib import import_module
from operator import attrgetter
from pathlib import Path

import pytest
from torture import PLACES, SIGNALS, SWEEPS, Kill, draw, torture, undisturbed

KILLS = 3
SEED = 1


@pytest.mark.parametrize("tuner", ["random", "bayesian", "hyperband", "tpe"])
def test_killed_at_drawn_moments_it_ends_as_if_it_never_was(tuner: str, tmp_path: Path) -> None:
    random_, turn = random.Random(f"{SEED}/{tuner}"), list(SWEEPS).index(tuner)
    longest = undisturbed(tuner, tmp_path / "whole")
    # SIGKILL, at a place, and two others, which take turns.
    place = Kill(SIGNALS[0], random_.choice(list(PLACES)), nth=1, after=random_.random() < 0.5)
    others = SIGNALS[1:]
    numbers = iter((others[2 * turn % 4], others[(2 * turn + 1) % 4]))
    drawn = (
        Kill(next(numbers, kill.number), kill.place, kill.nth, kill.after, kill.seconds)
        for kill in iter(partial(draw, random_, longest), None)
    )
    kills = iter([place])
    report = torture(
        tuner,
        tmp_path / "killed",
        (next(kills, None) or next(drawn) for _ in iter(int, 1)),
        KILLS,
        tmp_path / "whole",
    )
    assert report.kills


def test_each_place_exists() -> None:
    for module, name in PLACES.values():
        attrgetter(name)(import_module(module))
