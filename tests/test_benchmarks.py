"""Benchmarks say what they measure, can be loaded, and are in the docs; `make bench` runs them."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from program import REPOSITORY, environment

FOLDER = REPOSITORY / "benchmarks"
FILES = sorted(path for path in FOLDER.glob("*.py") if path.name != "measuring.py")


def test_there_are_some() -> None:
    assert len(FILES) > 5


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_says_what_it_measures_and_stands_in_the_docs(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring
    assert f"benchmarks/{path.name}" in (REPOSITORY / "docs" / "benchmarks.md").read_text()


def test_each_can_be_loaded() -> None:
    names = [path.stem for path in FILES]
    code = f"import importlib\nfor name in {names}: assert importlib.import_module(name).main"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=FOLDER, env=environment(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_benchmark_s_figure_has_median_range_n_and_ratio() -> None:
    code = "import measuring; measuring.say_figure('a', [1, 3, 2], 's', peer=[4, 4])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=FOLDER, env=environment(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.split() == (
        ["a", "median", "2", "s,", "1", "to", "3,", "n=3,", "0.50", "times", "the", "peer's"]
    ), done.stderr
