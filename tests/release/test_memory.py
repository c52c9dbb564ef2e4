"""A long sweep stays the size that it was: measured as `benchmarks/memory.py` does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from program import REPOSITORY, environment

NETWORKS, GROWS_FROM, ALLOWED_MB = 35, 10, 10


def grown(way: str, folder: Path) -> float:
    """By how many MB a process grows from its 10th network to its 35th."""
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "benchmarks" / "memory.py"), "way", way, str(NETWORKS)],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    sizes = json.loads(done.stdout.splitlines()[-1])
    assert len(sizes) == NETWORKS
    return float(sizes[-1] - sizes[GROWS_FROM - 1])


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="measured as Linux tells it")
def test_a_sweep_grows_by_little_more_than_a_plain_loop_of_trainings(tmp_path: Path) -> None:
    ours = grown("sweep", tmp_path / "sweep")
    # A plain loop grew by 2.7 MB a network; its minutes are spent only where they could matter.
    if ours > ALLOWED_MB:
        plain = grown("plain", tmp_path / "plain")
        assert ours <= plain + ALLOWED_MB, f"{ours:.1f} MB; a plain loop: {plain:.1f} MB"
