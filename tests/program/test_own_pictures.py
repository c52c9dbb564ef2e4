"""A sweep on drawn pictures: with any executor, resumed, run again, after a change of a file."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from program import REPOSITORY, assert_same_outcome, calls_in

DRAW = REPOSITORY / "docs" / "draw_pictures.py"
SWEEP = [
    "data=folder", "data.dir=shapes", "data.channels=3", "data.image_size=[12, 12]", "data.fit=pad",
    "split.validation=30", "split.test=30", "train.threads=1", "report=false", "sweep.name=own",
    "model=small_cnn", "model.conv_blocks=[{channels: 2}]", "model.fc_layers=[]", "train.epochs=2",
    "+space.train.batch_size={choice: [16, 32]}",
]  # fmt: skip


def test_a_sweep_on_pictures_resumes_reruns_and_is_the_same_with_any_executor(
    tmp_path: Path,
) -> None:
    at_once, resumed = tmp_path / "at_once", tmp_path / "resumed"
    at_once.mkdir()
    subprocess.run([sys.executable, str(DRAW), "shapes"], cwd=at_once, check=True, timeout=60)
    shutil.rmtree(at_once / "shapes" / "train" / "star")  # two classes are quicker
    shutil.rmtree(at_once / "shapes" / "test" / "star")
    shutil.copytree(at_once, resumed)
    workers = ["executor=processes", "executor.workers=1"]

    first, half, whole, reproduced, asked, changed = calls_in(
        (at_once, [*SWEEP, *workers, "sweep.max_trials=2"]),
        (resumed, [*SWEEP, "sweep.max_trials=1"]),
        (resumed, [*SWEEP, "sweep.max_trials=2"]),
        (resumed, ["+best=own"]),
        (resumed, ["predict", "own", "shapes/test/ring/00.png"]),
        (resumed, [*SWEEP, "data.skip_damaged=true", "data.dir=damaged"]),
    )

    understood = "shapes: 180 pictures, fitted to 12×12×3 by pad, 2 classes, 40 are the"  # noqa: RUF001
    for done in (first, half, whole, reproduced):
        assert done.exit_code == 0, done.err
        assert understood in done.out
    assert_same_outcome(at_once, resumed)
    assert "verdict: exact" in reproduced.out
    assert "pad to 12x12" in asked.out
    assert (changed.exit_code, changed.err.splitlines()) == (
        2, ["error: data.dir: damaged does not exist; allowed: a folder"],
    )  # fmt: skip

    (resumed / "shapes" / "train" / "ring" / "00.png").write_bytes(
        (resumed / "shapes" / "train" / "disc" / "00.png").read_bytes()
    )
    (other,) = calls_in((resumed, [*SWEEP, "sweep.max_trials=2"]))
    assert other.exit_code == 2
    assert "sweep.name=own belongs to another sweep: data" in other.err
