"""How soon a search finds a good network: simulated searches over a table of learning curves.

Tuners and schedulers of this package, beside Optuna's TPE, Keras Tuner's Hyperband and Bayesian
optimisation, and Syne Tune's ASHA and BOHB (where `pip install syne-tune==0.16.0` was run), each by
itself with its defaults. An epoch takes the seconds that it took when `make_curves.py`'s sweep
trained it; what the search itself takes is not counted. A search ends after the time of TRIALS
full trainings, on one worker and on several.

The regret of a search is how far its best epoch so far is from the table's best, as a share of what
the median point is away from it. It prints, per number of workers, how long each search takes until
it is as good as random search after 100 trials, and as the best peer at the end, and regrets with
ranks. `curves.png` in the working
directory shows the regrets.

`curves.py [seeds=30] [trials=30] [workers=1,8] [ours=tpe+asha,...] [peers=6] [processes=2]`.
`seeds=2 trials=5 workers=2 ours=tpe+asha` takes seconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from measuring import read_sizes, say, say_where
from numpy.typing import NDArray
from peers import Peer, peers
from scipy.stats import rankdata
from simulation import Curves, Ours, config_of, simulate

RANDOM, LEARNT = "random+full", "learnt"
RANDOM_TRIALS = 100
"""Trials of the random search that the others are compared with."""
EARLIER_SEEDS, EARLIER_SHARE = 1000, 6
"""Added to the seed of an earlier search, which is that many times as short."""
SHOWN_AT = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)
"""Shares of the whole time after which regrets are printed."""
TIMES = 400

Regrets = Mapping[str, NDArray[np.float64]]
"""By the name of a search: of shape (seeds, TIMES)."""


class Sizes(NamedTuple):
    """Searches of each kind, the length of a search in random search's trials, the numbers of
    workers, which tuners and schedulers of ours (`+` between them, then other overrides),
    how many peers search as well (the last, Keras Tuner's Bayesian optimisation, takes a minute a
    search), and how many searches run at a time."""

    seeds: int = 30
    trials: int = 30
    workers: tuple[int, ...] = (1, 8)
    ours: tuple[str, ...] = (
        "tpe+full", "tpe+asha", "tpe+hyperband", "tpe+median", "random+asha", "cmaes+asha",
        "hyperband+full", "tpe+asha+learnt",
    )  # fmt: skip
    peers: int = 6
    processes: int = 2


def main(arguments: list[str]) -> None:
    """Search the table with all of them, and say who was how quick."""
    sizes = read_sizes(arguments, Sizes())
    say_where()
    curves = Curves()
    names = ["random+full", *sizes.ours, *list(peers())[: sizes.peers]]
    seconds = sizes.trials * curves.training  # on one worker
    say(f"{len(curves.seconds)} points, a full training takes {curves.training:.1f} s on average")
    regrets: dict[int, Regrets] = {}
    with ProcessPoolExecutor(sizes.processes) as pool:
        last = np.array([RANDOM_TRIALS * curves.training])
        by_random = pool.map(partial(found, RANDOM, 0, 1, last), range(sizes.seeds))
        wanted = float(np.median([result[0] for result in by_random]))
        for workers in sizes.workers:
            times = times_of(seconds, workers)
            regrets[workers] = {}
            for name in names:
                search = partial(found, name, sizes.trials, workers, times)
                results = list(pool.map(search, range(sizes.seeds)))
                epochs, took = np.median([result[1:] for result in results], axis=0)
                say(
                    f"{name}, {_workers(workers)}: {epochs:.0f} epochs, took {took:.2f} s, "
                    f"n={sizes.seeds}"
                )
                regrets[workers][name] = np.stack([result[0] for result in results])
            say_times(regrets[workers], times, workers, wanted)
            say_regrets(regrets[workers], times)
    say_speed_up(regrets, seconds)
    draw(regrets, seconds, Path("curves.png"))


def found(
    name: str, trials: int, workers: int, times: NDArray[np.float64], seed: int
) -> tuple[NDArray[np.float64], int, float]:
    """Search; return the regrets at the times, the epochs, and how long the search itself took."""
    curves = Curves()
    search = peers().get(name) or ours(name, trials)
    started = time.perf_counter()
    result = simulate(curves, search(curves, seed, workers), workers, times[-1])
    took = time.perf_counter() - started
    best = np.maximum(result.at(times, curves.start), curves.start)
    return (curves.best - best) / (curves.best - curves.start), result.epochs, took


def ours(name: str, trials: int) -> Peer:
    """Return the search with a tuner and a scheduler: `tpe+asha`, `tpe+asha+scheduler.factor=4`.
    `+learnt`: behind an earlier one on a smaller space, a sixth as long."""
    tuner, scheduler, *others = name.split("+")
    learns = LEARNT in others
    overrides = [f"tuner={tuner}", f"scheduler={scheduler}", *(o for o in others if o != LEARNT)]
    config = config_of(" ".join(overrides))

    def search(curves: Curves, seed: int, workers: int) -> Ours:
        if not learns:
            return Ours(curves, config, seed)
        smaller = Curves(smaller=True)
        earlier = Ours(smaller, config, seed + EARLIER_SEEDS)
        simulate(smaller, earlier, 1, trials / EARLIER_SHARE * smaller.training)
        return Ours(curves, config, seed, earlier)

    return search


def say_times(regrets: Regrets, times: NDArray[np.float64], workers: int, by_random: float) -> None:
    """Print how long each search takes until it is as good as random search after 100 trials, and
    as the best peer at the end."""
    lasts = {name: float(np.median(values[:, -1])) for name, values in regrets.items()}
    of_peers = [last for name, last in lasts.items() if name in peers()]
    wanted = {
        f"random search after {RANDOM_TRIALS} trials": by_random,
        "the best peer at the end": min(of_peers, default=np.inf),
    }
    say("")
    columns = (f"until the regret of {whose}, {last:.3f}" for whose, last in wanted.items())
    say(f"| {_workers(workers)} | {' | '.join(columns)} |")
    say("|---|---:|---:|")
    for name, of_search in regrets.items():
        cells = []
        for last in wanted.values():
            reached = reached_at(of_search, times, last)
            quartiles = np.quantile(reached, [0.5, 0.25, 0.75], method="higher")
            middle, low, high = map(_seconds, quartiles)
            cells.append(f"{middle} ({low} to {high})")
        say(f"| {name} | {' | '.join(cells)} |")


def reached_at(
    regrets: NDArray[np.float64], times: NDArray[np.float64], wanted: float
) -> NDArray[np.float64]:
    """Return when each search first has that regret; infinity where it never has."""
    reached = regrets <= wanted + 1e-9
    return np.where(reached.any(axis=1), times[reached.argmax(axis=1)], np.inf)


def say_regrets(regrets: Regrets, times: NDArray[np.float64]) -> None:
    """Print median regrets with quartiles, and mean ranks."""
    places = [round(share * TIMES) - 1 for share in SHOWN_AT]
    say("")
    say(f"| regret, rank after | {' | '.join(f'{times[place]:.0f} s' for place in places)} |")
    say(f"|---|{'---|' * len(places)}")
    ranks = rankdata(np.stack(list(regrets.values())), axis=0).mean(axis=1)
    for of_search, (name, values) in zip(ranks, regrets.items(), strict=True):
        cells = []
        for place in places:
            low, middle, high = np.percentile(values[:, place], [25, 50, 75])
            cells.append(f"{middle:.3f} ({low:.3f} to {high:.3f}), {of_search[place]:.1f}")
        say(f"| {name} | {' | '.join(cells)} |")


def say_speed_up(regrets: Mapping[int, Regrets], seconds: float) -> None:
    """Print how many times as quick as with the fewest workers each search is with more, until
    random search's last regret with the fewest."""
    fewest, *others = sorted(regrets)
    wanted = float(np.median(regrets[fewest][RANDOM][:, -1]))
    reached = {
        workers: {
            name: float(np.median(reached_at(of_search, times_of(seconds, workers), wanted)))
            for name, of_search in regrets[workers].items()
        }
        for workers in regrets
    }
    for workers in others:
        say("")
        numbers = f"{_workers(fewest)} | {_workers(workers)}"
        say(f"| until regret {wanted:.3f} | {numbers} | times as quick |")
        say("|---|---:|---:|---:|")
        for name in regrets[workers]:
            few, many = reached[fewest][name], reached[workers][name]
            ratio = "-" if np.isinf(few) or np.isinf(many) else f"{few / many:.1f}"
            say(f"| {name} | {_seconds(few)} | {_seconds(many)} | {ratio} |")


def times_of(seconds: float, workers: int) -> NDArray[np.float64]:
    """Return the times of a search's regrets, given how long one worker searches."""
    return np.linspace(seconds / workers / TIMES, seconds / workers, TIMES)


def _workers(number: int) -> str:
    return "1 worker" if number == 1 else f"{number} workers"


def _seconds(number: float) -> str:
    return "never" if np.isinf(number) else f"{number:.0f} s"


def draw(regrets: Mapping[int, Regrets], seconds: float, path: Path) -> None:
    """Draw median regrets over simulated time, a panel for each number of workers."""
    from fmnist_sweep.pictures.style import finish, new_figure

    seeds = len(next(iter(regrets.values()))[RANDOM])
    figure = new_figure(
        5.2 * len(regrets),
        5.4,
        "How far the best epoch so far is from the best of all",
        f"simulated over a table of learning curves; median of {seeds} searches",
    )
    for axes, (workers, of_workers) in zip(
        np.atleast_1d(figure.subplots(1, len(regrets), sharey=True)), regrets.items(), strict=True
    ):
        minutes = times_of(seconds, workers) / 60
        of_peers = [name for name in of_workers if name in peers()]
        for names, line in ((of_workers.keys() - of_peers - {RANDOM}, "-"), (of_peers, "--")):
            axes.set_prop_cycle(None)
            for name in (name for name in of_workers if name in names):
                axes.plot(minutes, np.median(of_workers[name], axis=0), line, label=name)
        axes.plot(minutes, np.median(of_workers[RANDOM], axis=0), "k:", label=RANDOM)
        axes.set_xlabel(f"minutes, {_workers(workers)}")
        axes.set_ylim(0, 0.6)
    figure.axes[0].set_ylabel("regret, as a share of the median point's")
    figure.axes[-1].legend(frameon=False)
    finish(figure).savefig(path, dpi=150)
    say(f"\n{path}")


if __name__ == "__main__":
    main(sys.argv[1:])
