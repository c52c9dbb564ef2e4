"""Where a result comes from: the code, the packages, the command."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = (
    "fmnist-sweep", "tensorflow", "keras", "keras-tuner", "mlflow", "hydra-core", "numpy", "pandas",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a result depends on."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a source tree that was never installed
            found[package] = "not installed"
    return found


def command(overrides: tuple[str, ...]) -> str:
    """Return the command that composes those overrides, ready to be copied."""
    return shlex.join(["python", "-m", "fmnist_sweep", *overrides])


def git_commit(folder: Path) -> str | None:
    """Return the commit that a folder is checked out at, or None where there is none to tell."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def cpu_model() -> str:
    """Return the processor's name as its system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()
