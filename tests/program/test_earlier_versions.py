"""Sweeps, records and stores of earlier versions load, resume and verify.

`tests/earlier/` holds a workspace that commit 107e599 left, and what that commit's program would
have made of it; `tests/earlier/make.py` made both.
"""

from __future__ import annotations

import json
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from program import Called, Store, calls

EARLIER = Path(__file__).parents[1] / "earlier"
EXPECTED = json.loads((EARLIER / "expected.json").read_text(encoding="utf-8"))
LOAD = """
import fmnist_sweep
from fmnist_sweep.runtime import use_threads

use_threads(1)
loaded = fmnist_sweep.load_sweep("finished")
assert list(loaded.leaderboard["trial"]) == {ranking}, loaded.leaderboard
assert loaded.best_config.train.batch_size == {batch_size}
loaded.best_model()
"""


@dataclass(frozen=True)
class Earlier:
    """The workspace after today's program has used it, and what each command printed."""

    folder: Path
    handed_back: Called
    resumed: Called
    reported: Called
    exported: Called
    rerun: Called


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Earlier:
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(EARLIER / "workspace.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    told = EXPECTED["finished"]["told"]
    ranking = [one["trial"] for one in sorted(told, key=lambda one: -one["score"])]
    load = LOAD.format(
        ranking=ranking, batch_size=told[ranking[0]]["overrides"]["train.batch_size"]
    )
    printed = calls(
        folder,
        EXPECTED["finished"]["command"],
        EXPECTED["killed"]["command"],
        ["report", "finished"],
        ["export", "finished-0"],
        ["+best=finished"],
        before=load,
    )
    return Earlier(folder, *printed)


def journal(folder: Path, name: str) -> list[dict[str, Any]]:
    lines = (folder / "mlruns" / "sweeps" / name / "journal.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def is_the_machine_that_recorded(folder: Path) -> bool:
    """Whether the killed sweep was resumed in the environment that began it."""
    places = [r["environment"] for r in journal(folder, "killed") if r["kind"] == "runs_in"]
    return bool(places[0]["numerics"] == places[-1]["numerics"])


def test_a_finished_sweep_is_handed_back(earlier: Earlier) -> None:
    assert earlier.handed_back.exit_code == 0, earlier.handed_back.err
    told = [record for record in journal(earlier.folder, "finished") if record["kind"] == "told"]
    assert len(told) == len(EXPECTED["finished"]["told"]), "and nothing is trained again"


def test_a_killed_hyperband_sweep_ends_as_it_would_have(earlier: Earlier) -> None:
    assert earlier.resumed.exit_code == 0, earlier.resumed.err
    records = journal(earlier.folder, "killed")
    asked = {record["ask"]: record for record in records if record["kind"] == "asked"}
    told = [record for record in records if record["kind"] == "told"]
    expected = EXPECTED["killed"]["told"]
    assert len(told) == len(expected)
    for record, wanted in zip(told, expected, strict=True):
        ask = asked[record["ask"]]
        # The scores are far apart, so that promotions are the same on each processor.
        for key in ("trial", "overrides", "first_epoch", "last_epoch"):
            assert ask[key] == wanted[key]
        if is_the_machine_that_recorded(earlier.folder):
            assert record["score"] == wanted["score"]
            assert record["result"]["weights_sha256"] == wanted["weights_sha256"]
    assert {run.info.status for run in Store(earlier.folder).runs} == {"FINISHED"}


def test_a_finished_sweep_reports_and_exports(earlier: Earlier) -> None:
    assert earlier.reported.exit_code == 0, earlier.reported.err
    assert earlier.exported.exit_code == 0, earlier.exported.err
    assert (earlier.folder / "experiments" / "best" / "finished-0.yaml").exists()


def test_an_exported_winner_is_verified(earlier: Earlier) -> None:
    assert earlier.rerun.exit_code == 0, earlier.rerun.err
    if is_the_machine_that_recorded(earlier.folder):
        assert "exact" in earlier.rerun.out
    else:
        assert re.search("verdict: (exact|within tolerance)", earlier.rerun.out)
