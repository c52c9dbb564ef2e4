"""The CPU quota of a container, from Linux's control groups."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_PROCESS = Path("/proc/self")


def cpu_quota(process: Path = _PROCESS) -> float | None:
    """Return the number of processors that this process may use, such as 1.5; None without a limit.

    This is the lowest limit of the process's group and its ancestors, in control groups version 1
    and 2.
    """
    limits = [limit for limit in map(_limit_of, _groups(process)) if limit is not None]
    return min(limits, default=None)


def _groups(process: Path) -> Iterator[Path]:
    """Yield the folders of a process's groups that may limit its processors, and their
    ancestors."""
    try:
        groups = (process / "cgroup").read_text(encoding="utf-8").splitlines()
        mounts = (process / "mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return
    version_1: str | None = None
    version_2: str | None = None
    for line in groups:
        _, controllers, group = line.split(":", 2)
        if not controllers:
            version_2 = group
        elif "cpu" in controllers.split(","):
            version_1 = group
    for line in mounts:
        before, _, after = line.partition(" - ")
        kind, _, options = after.partition(" ")
        root, mounted_at = before.split(" ")[3:5]
        of_processors = "cpu" in options.split(" ")[-1].split(",")
        own = version_2 if kind == "cgroup2" else version_1 if of_processors else None
        if kind not in ("cgroup", "cgroup2") or own is None:
            continue
        top = Path(mounted_at.replace("\\040", " "))
        # In a container the mount may start at its own group, whose name is that outside the
        # container.
        is_below = Path(own).is_relative_to(root) and ".." not in Path(own).parts
        folder = top / Path(own).relative_to(root) if is_below else top
        yield from (each for each in (folder, *folder.parents) if each.is_relative_to(top))


def _limit_of(group: Path) -> float | None:
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text(encoding="utf-8").split()
        else:
            quota = (group / "cpu.cfs_quota_us").read_text(encoding="utf-8")
            period = (group / "cpu.cfs_period_us").read_text(encoding="utf-8")
        return max(0.0, float(quota) / float(period)) or None  # -1: no limit
    except (OSError, ValueError, ZeroDivisionError):  # "max", or no such file
        return None
