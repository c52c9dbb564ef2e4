"""What a launched sweep or training prints to go on with: the same thing on any machine."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from program import QUICK_SPACE, SMALL, Store, calls

from fmnist_sweep import runtime
from fmnist_sweep.cli import launch
from fmnist_sweep.config.compose import compose

# The number of threads is left to the machine.
SWEEP = [word for word in (*SMALL, *QUICK_SPACE) if not word.startswith("train.threads")]
SWEEP += ["train.epochs=1", "sweep.max_trials=1"]
THREADS = f"train.threads={runtime.cores()}"


def words_after(label: str, printed: str) -> list[str]:
    (line,) = (line for line in printed.splitlines() if line.strip().startswith(label))
    return shlex.split(line.partition(label)[2])[3:]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "train.threads=6"),
        (["train.threads=null"], "train.threads=6"),
        (["executor=processes", "executor.workers=4"], "train.threads=1"),
        (["train.threads=5"], "train.threads=5"),
    ],
)
def test_ctrl_c_prints_a_command_that_has_the_threads(
    more: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runtime, "cores", lambda: 6)
    monkeypatch.setattr(launch, "run_sweep", interrupted)
    config, composition = compose([*SWEEP, *more])
    with pytest.raises(KeyboardInterrupt):
        launch.launch_sweep(config, composition)
    words = words_after("To resume: ", capsys.readouterr().out)
    assert [word for word in words if word.startswith("train.threads")] == [said]


def test_the_printed_command_goes_on_with_the_sweep_and_one_that_is_finished_says_so(
    tmp_path: Path,
) -> None:
    going_on = [*SWEEP[:-1], THREADS, "sweep.max_trials=2"]
    single = [word for word in SWEEP if word.partition(".")[0] not in ("+space", "sweep")]
    done = calls(tmp_path, SWEEP, SWEEP, going_on, single)
    assert [one.exit_code for one in done] == [0] * 4, done
    first, again, gone_on, trained = done
    (folder,) = (tmp_path / "mlruns" / "sweeps").iterdir()
    for one in (first, trained):
        assert f"{runtime.cores()} thread" in one.out
    assert words_after("continue", first.out) == going_on
    assert "nothing was trained" not in first.err
    assert f"sweep {folder.name} is finished since 20" in again.err
    assert "nothing was trained; raise sweep.max_trials to go on" in again.err
    assert "2 trials" in gone_on.out

    tags = Store(tmp_path).parents[0].data.tags
    assert THREADS in tags["sweep.command"]
    assert THREADS in tags["mlflow.note.content"]
    (run,) = Store(tmp_path, "fmnist-train").runs
    assert THREADS in run.data.tags["train.command"]
