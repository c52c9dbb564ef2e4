"""A container's quota of processors, in folders of control groups as Linux has them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fmnist_sweep import runtime
from fmnist_sweep.cpu_quota import cpu_quota

CPUS = runtime.cores()


def process_in(folder: Path, group: str, root: str, version: int, limits: dict[str, str]) -> Path:
    """Make up a process in a group below a mount that begins at `root`; limits by group."""
    top = folder / "mount"
    for name, text in limits.items():
        place = top / name
        place.mkdir(parents=True, exist_ok=True)
        if version == 2:
            (place / "cpu.max").write_text(f"{text}\n")
        else:
            quota, period = text.split()
            (place / "cpu.cfs_quota_us").write_text(f"{quota}\n")
            (place / "cpu.cfs_period_us").write_text(f"{period}\n")
    process = folder / "process"
    process.mkdir()
    kind = "cgroup2 cgroup2 rw" if version == 2 else "cgroup cgroup rw,cpu,cpuacct"
    (process / "mountinfo").write_text(
        "22 1 0:20 / /proc rw - proc proc rw\n"
        "31 22 0:28 / /nowhere/memory rw - cgroup cgroup rw,memory\n"
        f"32 22 0:29 {root} {top} rw,nosuid shared:9 - {kind}\n"
    )
    line = f"0::{group}" if version == 2 else f"2:cpu,cpuacct:{group}"
    (process / "cgroup").write_text(f"5:memory:/elsewhere\n{line}\n1:name=systemd:/\n")
    return process


@pytest.mark.parametrize(
    ("group", "root", "version", "limits", "quota"),
    [
        ("/", "/", 2, {".": "150000 100000"}, 1.5),  # a container with a namespace of its own
        ("/", "/", 2, {".": "max 100000"}, None),
        ("/", "/", 2, {}, None),
        ("/a/b", "/", 2, {"a/b": "400000 100000", "a": "max 100000"}, 4.0),
        ("/a/b", "/", 2, {"a/b": "400000 100000", "a": "100000 50000"}, 2.0),  # the one above
        ("/docker/abc", "/docker/abc", 2, {".": "50000 100000"}, 0.5),  # the host's name for it
        ("/docker/abc/in", "/docker/abc", 2, {"in": "300000 100000"}, 3.0),
        ("/../other", "/", 2, {".": "200000 100000"}, 2.0),  # outside of what can be seen
        ("/docker/abcdef", "/docker/abc", 2, {".": "200000 100000"}, 2.0),
        ("/", "/", 1, {".": "-1 100000"}, None),
        ("/a/b", "/", 1, {".": "-1 100000", "a": "250000 100000", "a/b": "-1 100000"}, 2.5),
        ("/docker/abc", "/docker/abc", 1, {".": "120000 50000"}, 2.4),
        ("/", "/", 2, {".": "nonsense"}, None),
    ],
)
def test_the_lowest_limit_of_the_group_and_those_above_counts(
    group: str, root: str, version: int, limits: dict[str, str], quota: float | None, tmp_path: Path
) -> None:
    process = process_in(tmp_path, group, root, version, limits)
    assert cpu_quota(process) == quota


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None


@pytest.mark.parametrize(
    ("quota", "cores"),
    [(None, 4), (0.1, 1), (1.0, 1), (1.5, 2), (2.0, 2), (3.2, 4), (64.0, 4)],
)
def test_a_quota_is_rounded_up_and_never_more_than_there_are(
    quota: float | None, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "_cores_to_run_on", lambda: 4)
    monkeypatch.setattr(runtime, "cpu_quota", lambda: quota)
    assert runtime.cores() == cores


@contextmanager
def a_real_group(name: str) -> Iterator[Path | None]:
    """Make a group with half a processor; None where this process may not."""
    group = None
    for top, file, text in (
        ("/sys/fs/cgroup", "cpu.max", "50000 100000"),
        ("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", "50000"),
    ):
        place = Path(top) / name
        try:
            place.mkdir()
            group = place
            with (place / file).open("r+") as limit:
                limit.write(text)
            break
        except OSError:
            if group is not None:
                group.rmdir()
            group = None
    try:
        yield group
    finally:
        if group is not None:
            group.rmdir()


def test_a_real_group_counts_where_one_can_be_made() -> None:
    with a_real_group(f"fmnist-sweep-test-{os.getpid()}") as group:
        join = "" if group is None else f"open({str(group / 'cgroup.procs')!r}, 'w').write('0')"
        reader = f"{join}\nfrom fmnist_sweep.runtime import cores\nprint(cores())"
        done = subprocess.run(
            [sys.executable, "-c", reader], capture_output=True, text=True, timeout=60, check=True
        )
        assert int(done.stdout) == (CPUS if group is None else 1)
