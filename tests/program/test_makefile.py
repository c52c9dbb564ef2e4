"""What a user types, and the locks behind it. `make setup` itself is what runs these tests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
TARGETS = (
    "help", "setup", "smoke", "sweep", "test", "test-drawn", "lint", "ui", "torture", "bench",
    "lock",
)  # fmt: skip
SHARED = ("clock.py", "make_curves.py", "measuring.py", "peers.py", "simulation.py")
LOCKS = (
    "requirements.lock", "requirements-cuda.lock", "requirements-build.lock",
    "requirements-ray.lock",
)  # fmt: skip


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the Makefile and what setup looks at, its environment marked as installed.

    The environment's `python` and `pip` only write down how they were called.
    """
    for name in ("Makefile", "pyproject.toml", *LOCKS):
        shutil.copy(ROOT / name, tmp_path)
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    write_script(binaries / "python", 'echo "$@" >>calls')
    (tmp_path / ".venv" / ".installed-from-requirements.lock").touch()
    return tmp_path


def make(
    folder: Path, *arguments: str, path: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env=environment(path),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def environment(path: Path | None = None) -> dict[str, str]:
    """This one without the variables by which an outer `make` reaches an inner one."""
    inherited = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTEST_ARGS", "VENV", "CUDA", "RAY", "PORT"}
    clean = {name: value for name, value in os.environ.items() if name not in inherited}
    return clean if path is None else {**clean, "PATH": f"{path}{os.pathsep}{clean['PATH']}"}


def write_script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def calls(checkout: Path) -> list[str]:
    log = checkout / "calls"
    return log.read_text().splitlines() if log.exists() else []


# --- targets ----------------------------------------------------------------------------------


def test_make_alone_lists_each_target_on_a_line(checkout: Path) -> None:
    listed = make(checkout)
    assert listed.stdout == make(checkout, "help").stdout
    described = [line.split(maxsplit=2) for line in listed.stdout.splitlines()]
    assert set(TARGETS) <= {target for _make, target, _text in described}


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("smoke", "-m fmnist_sweep +sweep=smoke"),
        ("sweep", "-m fmnist_sweep +sweep=cnn"),
        ("test-quick", "-m pytest -m not slow and not release tests/search tests/unit -k split"),
        ("test", "-m pytest -m not release -k split"),
        ("test-release", "-m pytest -m release -k split"),
        ("test-drawn", "-m pytest -m hypothesis --hypothesis-profile=drawn -k split"),
    ],
)
def test_a_target_sees_to_the_data_and_then_runs_its_command(
    checkout: Path, target: str, command: str
) -> None:
    done = make(checkout, target, "PYTEST_ARGS=-k split")
    assert done.returncode == 0, done.stderr
    assert calls(checkout) == [
        "-m fmnist_sweep.data.setup --found-in .venv/.data-found-in",
        command,
    ]
    assert done.stdout.splitlines()[-1].startswith("Next: make ")


def test_own_draws_pictures_and_says_what_is_next(checkout: Path) -> None:
    done = make(checkout, "own")
    assert done.returncode == 0, done.stderr
    assert calls(checkout) == ["docs/draw_pictures.py shapes"]
    assert done.stdout.startswith("Next: python -m fmnist_sweep data=folder data.dir=shapes")


def test_setup_does_nothing_where_nothing_is_to_be_done(checkout: Path) -> None:
    (checkout / ".venv" / ".data-found-in").write_text(f"{checkout}\n")
    done = make(checkout, "setup")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"ready: .venv, data in {checkout}. Next: make smoke\n"
    assert calls(checkout) == []


def test_setup_looks_for_the_data_again_where_it_is_gone(checkout: Path) -> None:
    (checkout / ".venv" / ".data-found-in").write_text(f"{checkout / 'gone'}\n")
    make(checkout, "setup")
    assert calls(checkout) == ["-m fmnist_sweep.data.setup --found-in .venv/.data-found-in"]


@pytest.mark.parametrize("changed", ["requirements.lock", "pyproject.toml"])
def test_setup_installs_again_once_a_lock_or_the_project_changed(
    checkout: Path, changed: str
) -> None:
    later = time.time() + 10
    os.utime(checkout / changed, (later, later))
    write_script(checkout / "python", "exit 0")
    done = make(checkout, "setup", f"PYTHON={checkout / 'python'}")
    assert done.returncode == 0, done.stderr
    installs = [call for call in calls(checkout) if call.startswith("-m pip install")]
    from_locks, editable = installs[:2], installs[2]
    assert [call.split()[-1] for call in from_locks] == [LOCKS[2], LOCKS[0]]
    assert all("--require-hashes" in call for call in from_locks)
    assert "--no-deps" in editable
    assert "--no-index" in editable


def test_cuda_installs_from_its_own_lock(checkout: Path) -> None:
    write_script(checkout / "python", "exit 0")
    make(checkout, "setup", "CUDA=1", f"PYTHON={checkout / 'python'}")
    assert any(call.endswith(f"-r {LOCKS[1]}") for call in calls(checkout))


@pytest.mark.parametrize(("words", "locks"), [
    (["RAY=1"], ["requirements-ray.lock"]),
    (["CUDA=1", "RAY=1"], ["requirements-cuda.lock", "requirements-ray.lock"]),
])  # fmt: skip
def test_ray_installs_from_its_own_lock_after_that_of_cuda(
    checkout: Path, words: list[str], locks: list[str]
) -> None:
    write_script(checkout / "python", "exit 0")
    done = make(checkout, "setup", *words, f"PYTHON={checkout / 'python'}")
    assert done.returncode == 0, done.stderr
    installs = [call.split()[-1] for call in calls(checkout) if "--require-hashes" in call]
    assert installs == ["requirements-build.lock", *locks]


@pytest.mark.parametrize("version", [(3, 10, 13), (3, 14, 0)])
def test_setup_refuses_another_python_in_one_line(
    checkout: Path, version: tuple[int, int, int]
) -> None:
    shutil.rmtree(checkout / ".venv")
    python = python_that_says(version, checkout / "python")
    done = make(checkout, "setup", f"PYTHON={python}")
    assert done.returncode == 2
    said = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    assert len(said) == 1
    found = ".".join(map(str, version))
    assert f"is Python {found}; needed: Python 3.11, 3.12 or 3.13" in said[0]
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 13, 99)])
def test_setup_takes_each_supported_python(checkout: Path, version: tuple[int, int, int]) -> None:
    (checkout / ".venv" / ".installed-from-requirements.lock").unlink()
    python = python_that_says(version, checkout / "python")
    assert make(checkout, "setup", f"PYTHON={python}").returncode == 0
    assert (checkout / ".venv" / ".installed-from-requirements.lock").exists()


def python_that_says(version: tuple[int, int, int], path: Path) -> Path:
    """This Python under another version number, as far as setup looks; it makes no environment."""
    code = f"import sys; sys.version_info = {(*version, 'final', 0)}"
    write_script(
        path,
        'case "$1" in\n'
        f"--version) echo Python {'.'.join(map(str, version))} ;;\n"
        f'-c) exec {sys.executable} -c "{code}; $2" ;;\n'
        "esac",
    )
    return path


def test_setup_names_a_python_that_is_not_there(checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    done = make(checkout, "setup", "PYTHON=no-such-python")
    assert done.returncode == 2
    assert "no-such-python" in done.stderr
    assert "needed: Python 3.11, 3.12 or 3.13" in done.stderr


def test_bench_runs_each_that_there_is_and_not_what_they_share(checkout: Path) -> None:
    (checkout / ".venv" / ".data-found-in").write_text(f"{checkout}\n")
    (checkout / "benchmarks").mkdir()
    names = sorted(path.name for path in (ROOT / "benchmarks").glob("*.py"))
    for name in names:
        (checkout / "benchmarks" / name).touch()
    assert make(checkout, "bench").returncode == 0
    assert calls(checkout) == [
        *(f"benchmarks/{name}" for name in names if name not in SHARED),
        "benchmarks/throughput.py accuracy",
    ]


# --- the UI -----------------------------------------------------------------------------------


def test_ui_says_what_writes_a_store_where_there_is_none(checkout: Path) -> None:
    done = make(checkout, "ui")
    assert done.returncode == 2
    said = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    assert len(said) == 1
    assert "mlruns/mlflow.db does not exist" in said[0]


# --- locks ------------------------------------------------------------------------------------


def pins(lock: str) -> dict[str, str]:
    """Name and version of each requirement; fails on one without an exact version and a hash."""
    entries = re.split(r"\n(?=[a-z0-9])", (ROOT / lock).read_text())[1:]
    found: dict[str, str] = {}
    for entry in entries:
        match = re.match(
            r"([a-z0-9][a-z0-9.-]*)==([^ ]+)(?: ; [^\\\n]+)? \\\n +--hash=sha256:", entry
        )
        assert match, f"{lock}: {entry.splitlines()[0]}"
        name, version = match.groups()
        assert name not in found, f"{lock} has {name} twice"
        found[str(canonicalize_name(name))] = version
    return found


def is_satisfied(declared: str, pinned: Mapping[str, str]) -> bool:
    requirement = Requirement(declared)
    version = pinned.get(canonicalize_name(requirement.name))
    return version is not None and requirement.specifier.contains(version)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_host_and_no_folder(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert not re.search(r"://|index|find-links|@ |file:|(^|\s)/\w", text)


def test_the_locks_hold_what_the_project_declares() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    build = {*project["dependency-groups"]["build"], *project["build-system"]["requires"]}
    declared = {
        LOCKS[0]: {*project["project"]["dependencies"], *extras["dev"], *build},
        LOCKS[1]: {*project["project"]["dependencies"], *extras["dev"], *extras["cuda"], *build},
        LOCKS[2]: build,
        LOCKS[3]: {*project["project"]["dependencies"], *extras["dev"], *extras["ray"], *build},
    }
    for lock, wanted in declared.items():
        pinned = pins(lock)
        assert {each for each in wanted if not is_satisfied(each, pinned)} == set(), lock


def test_the_locks_agree() -> None:
    main, cuda, build, ray = (pins(lock) for lock in LOCKS)
    assert main.items() <= cuda.items()
    assert main.items() <= ray.items()
    assert build.items() <= main.items()
    assert any(name.startswith("nvidia-") for name in cuda)
    assert not any(name.startswith("nvidia-") for name in main)


# --- continuous integration and git -----------------------------------------------------------


@pytest.mark.parametrize(
    ("failing", "exit_code"),
    [("none", 0), ("lint", 1), ("test", 1), ("test-release", 1), ("lint test", 1)],
)
def test_ci_lints_and_tests_whatever_fails(tmp_path: Path, failing: str, exit_code: int) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    (tmp_path / "bin").mkdir()
    body = f'echo "$@" >>calls\ncase " {failing} " in *" $1 "*) exit 2 ;; esac'
    write_script(tmp_path / "bin" / "make", body)
    write_script(tmp_path / "bin" / "chromium", "exit 0")  # else it would be installed
    done = subprocess.run(
        ["bash", str(tmp_path / ".ci" / "run")],
        env={**environment(tmp_path / "bin"), "PYTHON": sys.executable},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == exit_code, done.stderr
    assert sorted(calls(tmp_path)) == ["lint", "test", "test-release"]
    named = re.findall(r"failed: make ([\w-]+)", done.stderr)
    assert named == [target for target in failing.split() if target != "none"]


def test_git_ignores_what_runs_leave_and_keeps_what_is_written_by_hand(tmp_path: Path) -> None:
    kept = [
        "conf/model/small_cnn.yaml",
        "experiments/best/cnn-1a2b3c.yaml",
        "fmnist_sweep/model/builder.py",
        "mlruns/README.md",
        "requirements.lock",
    ]
    ignored = [
        ".venv/bin/python",
        "dist/fmnist_sweep-0.1.0.tar.gz",
        "fmnist_sweep/__pycache__/app.cpython-311.pyc",
        "mlruns/artifacts/1/model.keras",
        "mlruns/mlflow.db",
        "mlruns/sweeps/cnn-1a2b3c/journal.jsonl",
        "models/keras_checkpoints/FashionMNISTCNN-epoch-01-val_acc-0.8599.keras",
    ]
    shutil.copy(ROOT / ".gitignore", tmp_path)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    done = subprocess.run(
        ["git", "check-ignore", "--no-index", "--", *kept, *ignored],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == ignored
