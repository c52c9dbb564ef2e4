"""A trial of a running sweep is stopped: by the side command, by a tag in MLflow."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from forked import Forked
from program import QUICK_SPACE, SMALL, Store, calls, leaderboard, started

EPOCHS = 9999  # more than are trained before it is stopped, on whatever machine
SWEEP = [*SMALL, *QUICK_SPACE, f"train.epochs={EPOCHS}", "sweep.max_trials=2", "sweep.name=mine"]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Forked]:
    """A sweep of two trials of many epochs, under way."""
    with started(tmp_path, *SWEEP) as process:
        yield process


def records(folder: Path) -> list[dict[str, Any]]:
    path = folder / "mlruns" / "sweeps" / "mine" / "journal.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def wait_for(folder: Path, found: Callable[[dict[str, Any]], bool]) -> None:
    """Wait until the journal has such a record."""
    for _ in range(3000):
        if any(map(found, records(folder))):
            return
        time.sleep(0.1)
    raise AssertionError("not in five minutes")


def test_a_command_and_a_tag_stop_one_trial_each_and_the_sweep_ends(
    running: Forked, tmp_path: Path
) -> None:
    wait_for(tmp_path, lambda record: record["kind"] == "epoch" and record["trial"] == 0)
    asked, unknown, none = calls(
        tmp_path, ["stop", "mine-0"], ["stop", "mine-7"], ["stop", "other-0"]
    )
    assert (asked.exit_code, unknown.exit_code, none.exit_code) == (0, 2, 2)
    assert asked.out.startswith("trial 0 of mine will stop after its current epoch")
    assert "stop: mine-7: cannot be stopped; allowed: " in unknown.err
    assert "stop: other-0: sweep 'other' not found; there are: mine" in none.err

    wait_for(tmp_path, lambda record: record["kind"] == "epoch" and record["trial"] == 1)
    store = Store(tmp_path)
    store.client.set_tag(store.children[1].info.run_id, "stop", "true")
    printed = "".join(running.communicate(timeout=300))
    assert running.returncode == 0, printed

    stops = {r["trial"]: r["epoch"] for r in records(tmp_path) if r["kind"] == "stopped"}
    assert stops.keys() == {0, 1}
    assert all(0 < epoch < EPOCHS for epoch in stops.values())
    for number, epoch in stops.items():
        run = Store(tmp_path).children[number]
        assert run.info.status == "FINISHED"
        assert run.data.tags["trial.stopped"] == f"after epoch {epoch}"
        assert store.steps(run, "loss") == list(range(1, epoch + 1))
        assert f"trial {number} was stopped on request after epoch {epoch}" in printed
    assert set(leaderboard(tmp_path)["reason"]) == {
        f"stopped on request after epoch {epoch}" for epoch in stops.values()
    }
    # The winner was stopped, and its config gives the same weights.
    late, again = calls(tmp_path, ["stop", "mine-0"], ["+best=mine"])
    assert late.exit_code == 2
    assert "stop: mine-0: cannot be stopped; allowed: none at present" in late.err
    assert again.exit_code == 0, again.err
    assert "exact" in again.out
