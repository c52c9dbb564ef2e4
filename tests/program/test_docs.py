"""What README and docs tell people to type works."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from forked import run_forked
from program import environment

from fmnist_sweep.config.compose import compose_config

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text() for page in PAGES)
COMMANDS = sorted(set(re.findall(r"^python -m fmnist_sweep.*$", TEXT, flags=re.MULTILINE)))


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) > 8


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_composes(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    words = shlex.split(line, comments=True)[3:]
    overrides = [word for word in words if "=" in word and not word.startswith("+best=")]
    if "-m" in words:
        overrides = [override.partition(",")[0] for override in overrides]

    compose_config(overrides)


def test_each_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`?make ([a-z-]*[a-z])`?", TEXT))
    assert {"sweep", "test", "ui"} <= named <= targets


def test_each_file_that_is_named_exists() -> None:
    named = set(re.findall(r"`((?:docs|conf|fmnist_sweep|experiments)/[\w./]+\w)`", TEXT))
    assert named
    assert [name for name in named if not (REPOSITORY / name).exists()] == []


def test_the_report_in_the_docs_names_its_version_and_no_commit() -> None:
    page = (REPOSITORY / "docs/cnn/report.html").read_text()
    assert re.search(r"fmnist-sweep \d+\.\d+\.\d+", page)
    assert not re.search(r"\b[0-9a-f]{40}\b", page)


def test_the_python_example_runs(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGES[0].read_text(), flags=re.DOTALL)
    sweeps = tmp_path / "experiments" / "sweep"
    sweeps.mkdir(parents=True)
    (sweeps / "mine.yaml").write_bytes((REPOSITORY / "experiments/sweep/mine.yaml").read_bytes())
    draw = [sys.executable, str(REPOSITORY / "docs" / "draw_pictures.py")]  # `make own`
    subprocess.run(draw, cwd=tmp_path, check=True, timeout=60)
    done = run_forked(code, tmp_path, (), environment())
    assert done.returncode == 0, done.stderr
    assert "test_accuracy" in done.stdout
    assert done.stdout.splitlines()[-1] in ("64", "128")


def test_each_picture_that_is_shown_exists() -> None:
    shown = [
        page.parent / name
        for page in PAGES
        for name in re.findall(r"!?\[[^\]]*\]\((?!https?:|#)([^)#]+)\)", page.read_text())
    ]
    assert len(shown) > 15
    assert [path for path in shown if not path.exists()] == []


def test_each_test_that_is_named_exists() -> None:
    named = set(re.findall(r"`((?:test_\w+|torture)\.py)`", TEXT))
    assert len(named) > 15
    there = {path.name for path in (REPOSITORY / "tests").rglob("*.py")}
    assert named - there == set()
