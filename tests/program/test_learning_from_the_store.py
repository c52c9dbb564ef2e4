"""What is learnt of a sweep that only the tracking store has left."""

from __future__ import annotations

import shutil
from pathlib import Path

from program import QUICK_SPACE, SMALL, calls, sweep_folder

ONE_EPOCH = ["train.epochs=1"]


def test_an_earlier_sweep_may_be_in_the_store_alone(tmp_path: Path) -> None:
    earlier = [*SMALL, *QUICK_SPACE, *ONE_EPOCH, "sweep.max_trials=2"]
    later = [
        *SMALL, *QUICK_SPACE, *ONE_EPOCH, "sweep.max_trials=1", "tuner=tpe",
        "sweep.learn_from=[old]", "sweep.start_with=[{best_of: old}]",
    ]  # fmt: skip
    (first,) = calls(tmp_path, [*earlier, "sweep.name=old"])
    assert first.exit_code == 0, first
    shutil.rmtree(sweep_folder(tmp_path))
    unknown, learnt = calls(
        tmp_path, [*later, "sweep.name=new", "sweep.learn_from=[older]"], [*later, "sweep.name=new"]
    )
    assert unknown.exit_code == 2
    assert unknown.err.startswith("error: sweep.learn_from.0: sweep older: not found")
    assert learnt.exit_code == 0, learnt
    assert "sweep.learn_from: 2 trials of old" in learnt.out + learnt.err
    journal = (tmp_path / "mlruns" / "sweeps" / "new" / "journal.jsonl").read_text()
    assert journal.count('"sweep":"old"') == 2
