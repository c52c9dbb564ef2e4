"""What the console shows while the program runs, in a real terminal and without one."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from forked import Forked
from omegaconf import OmegaConf
from program import QUICK_SPACE, SMALL, environment, program
from search_fakes import base_config
from terminal import InTerminal, Screen

from fmnist_sweep.config.load import load_config

SWEEP = [*SMALL, *QUICK_SPACE, "sweep.max_trials=3", "tracking=off"]
LONG = [*SWEEP, "train.epochs=200", "sweep.max_trials=50"]
TRAINING = [
    *SMALL, "model=small_cnn", "model.conv_blocks=[{channels: 4}]", "model.fc_layers=[]",
    "train.epochs=3", "tracking=off",
]  # fmt: skip
ENDED = re.compile(
    r"trial (\d)  val_accuracy 0\.\d{4}  test_accuracy 0\.\d{4}  epochs 1-2  \d+\.\d s  .*"
)


# The display is drawn four times a second: each of its states lasts longer, on whatever machine.
SLOWLY = """
import sys, time
from fmnist_sweep.cli.app import main
from fmnist_sweep.cli.live import LiveSweep

on_record = LiveSweep.on_record

def slowly(self, *arguments):
    on_record(self, *arguments)
    time.sleep(0.4)

LiveSweep.on_record = slowly
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("columns", [80, pytest.param(140, marks=pytest.mark.release)])
def test_a_sweep_in_a_terminal(tmp_path: Path, columns: int) -> None:
    run = InTerminal(tmp_path, *SWEEP, columns=columns, code=SLOWLY)
    assert run.exit_code == 0, run.lines
    assert run.screen.unknown == []
    assert run.screen.cursor_shown
    # Above, a line for each trial; of the display nothing is left.
    ended = [found[1] for line in run.lines if (found := ENDED.fullmatch(line))]
    assert ended == ["0", "1", "2"]
    assert not [
        line for line in run.lines if line.startswith(("sweep  ", "best  ")) or "━ " in line
    ]
    assert "Leaderboard by val_accuracy" in run.lines
    assert any(line.startswith("official test: trial ") for line in run.lines)
    # While it ran: budget, best, the running trial.
    assert any(re.match(r"sweep +[━─]+ +\d+ %  [012] of 3 trials", line) for line in run.seen)
    assert any(re.match(r"best +val_accuracy 0\.\d{4}  trial \d", line) for line in run.seen)
    assert any(
        re.match(r"trial \d +[━─]+ epoch \d of 1-2  loss \d+\.\d{4}  accuracy [01]\.\d", line)
        for line in run.seen
    )
    assert all(len(line) <= columns for line in run.seen)
    # Nothing before our first line, and no chatter of libraries between.
    assert run.lines[0].startswith("sweep synthetic-")
    chatter = ("W0000", "E0000", "I0000", "WARNING", "Warning", "oneDNN", "INFO", "ms/step")
    assert not [line for line in run.lines if any(word in line for word in chatter)]


def test_a_training_in_a_terminal(tmp_path: Path) -> None:
    run = InTerminal(tmp_path, *TRAINING)
    assert run.exit_code == 0, run.lines
    assert run.screen.cursor_shown
    epochs = [line for line in run.lines if re.match(r"  epoch  \d  loss ", line)]
    assert [line.split()[1] for line in epochs] == ["1", "2", "3"]
    assert any(re.match(r"training  [━─]+ +\d+ %  [012] of 3 epochs", line) for line in run.seen)
    assert not [line for line in run.lines if line.startswith("training  ")]


@pytest.mark.parametrize(
    ("number", "exit_code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGQUIT, 131, "quit")],
)
def test_an_interrupt_leaves_the_terminal_in_order(
    tmp_path: Path, number: signal.Signals, exit_code: int, word: str
) -> None:
    sent: list[bool] = []

    def interrupt(process: Forked, screen: Screen) -> None:
        trains = any(re.match(r"trial \d +[━─]+ epoch", line) for line in screen.lines)
        if trains and not sent:
            sent.append(True)
            process.send_signal(number)

    run = InTerminal(tmp_path, *LONG, act=interrupt)
    assert sent
    assert run.exit_code == exit_code
    assert run.screen.cursor_shown
    assert run.lines[-1] == f"error: {word}"
    last = max(n for n, line in enumerate(run.lines) if line.startswith("To resume: python -m "))
    assert not [line for line in run.lines if re.match(r"(sweep|best|trial \d) +[━─]", line)]
    assert last < len(run.lines) - 1


def test_a_terminal_that_is_gone_ends_no_sweep(tmp_path: Path) -> None:
    owner, terminal = pty.openpty()
    errors = tmp_path / "errors"
    # In a session of its own it is sent no SIGHUP, which would end it: as under nohup.
    with errors.open("wb") as stderr, subprocess.Popen(
        [sys.executable, "-m", "fmnist_sweep", *SWEEP, "display=live"], cwd=tmp_path,
        env=environment() | {"TERM": "xterm"}, stdin=terminal, stdout=terminal, stderr=stderr,
        start_new_session=True,
    ) as running:  # fmt: skip
        os.close(terminal)
        while b"loss" not in os.read(owner, 65536):
            pass
        os.close(owner)
        assert running.wait(400) == 0
    reason = "standard output: Input/output error"
    assert errors.read_text() == f"{reason}: nothing more is printed, the run continues\n"
    (folder,) = (tmp_path / "mlruns" / "sweeps").iterdir()
    assert '"kind":"ended"' in (folder / "journal.jsonl").read_text().splitlines()[-1]


def test_an_error_leaves_the_terminal_in_order(tmp_path: Path) -> None:
    failing = [
        *SWEEP,
        "sweep.max_trials=8",
        "space.train.optimizer.learning_rate.float=[1e30,1e35]",
    ]
    run = InTerminal(tmp_path, *failing)
    assert run.exit_code == 1
    assert run.screen.cursor_shown
    assert any(re.match(r"trial \d  failed: TrialFailed: the loss is not", s) for s in run.lines)
    end = "\n".join(run.lines[-5:]).replace("\n", "")  # wrapped at the terminal's width
    assert "error: 5 of 5 trials failed, more than sweep.max_failure_rate=0.5 allows" in end
    assert not [line for line in run.lines if re.match(r"(sweep|best|trial \d) +[━─]", line)]


NOISY = """
import logging, os, sys, warnings
from fmnist_sweep.cli import launch
from fmnist_sweep.cli.app import main

def noisy(function):
    def told(self, *arguments):
        print("to standard output")
        sys.stderr.write("to standard error\\n")
        os.write(2, b"from C++ \\xff\\n")
        logging.getLogger("anybody").warning("a warning of logging")
        warnings.warn("a warning of Python", stacklevel=1)
        return function(self, *arguments)
    return told

from fmnist_sweep.cli.live import LiveSweep
LiveSweep.on_record = noisy(LiveSweep.on_record)
sys.exit(main(sys.argv[1:]))
"""


def test_what_others_print_stands_above_the_display(tmp_path: Path) -> None:
    run = InTerminal(tmp_path, *SWEEP, code=NOISY)
    assert run.exit_code == 0, run.lines
    for said in ("to standard output", "to standard error", "from C++ \ufffd",
                 "a warning of logging"):  # fmt: skip
        # Whole lines, never one beside a part of the display.
        assert said in run.lines
        assert all(line == said for line in run.lines if said in line)
    assert any("a warning of Python" in line for line in run.lines)
    assert not [line for line in run.lines if "━ " in line]


@pytest.mark.release
def test_lines_where_there_is_no_terminal_and_where_they_are_asked_for(tmp_path: Path) -> None:
    piped = program(tmp_path, *SWEEP, "sweep.name=piped")
    asked = InTerminal(tmp_path, *SWEEP, "sweep.name=asked", "display=lines", columns=200)
    dumb = InTerminal(tmp_path, *SWEEP, "sweep.name=dumb", columns=200, term="dumb")
    assert (piped.returncode, asked.exit_code, dumb.exit_code) == (0, 0, 0)
    for lines in (piped.stdout.splitlines(), asked.lines, dumb.lines):
        assert sum(bool(re.match(r"  epoch  [12]  loss ", line)) for line in lines) == 6
        assert sum(bool(re.match(r"trial \d \(epochs 1-2; so far ", line)) for line in lines) == 3
    assert "\x1b" not in piped.stdout
    assert "━ " not in asked.written
    assert "\x1b[2K" not in asked.written


@pytest.mark.release
def test_quiet_says_nothing_before_the_end(tmp_path: Path) -> None:
    done = program(tmp_path, *SWEEP, "display=quiet")
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.startswith("Leaderboard by val_accuracy ")
    assert "\nwinner: trial " in done.stdout
    single = program(
        tmp_path, *TRAINING, "display=quiet", "train.monitor={metric: val_loss, direction: min}"
    )
    assert single.returncode == 0
    number = r"\d+\.\d{4}"
    said = rf"best epoch \d: val_loss {number}, val_accuracy {number}, test_accuracy {number}, "
    assert re.match(said, single.stdout)


@pytest.mark.release
def test_another_display_is_no_other_sweep(tmp_path: Path) -> None:
    assert program(tmp_path, *SWEEP, "display=lines").returncode == 0
    (folder,) = (tmp_path / "mlruns" / "sweeps").iterdir()
    journal = (folder / "journal.jsonl").read_bytes()
    again = InTerminal(tmp_path, *SWEEP, "display=live")
    assert again.exit_code == 0
    assert (folder / "journal.jsonl").read_bytes() == journal
    assert any(line == "already done: 3 trials, 6 epochs" for line in again.lines)


def test_a_config_that_was_kept_before_there_was_a_choice(tmp_path: Path) -> None:
    config = base_config()
    kept = {**config.model_dump(), **config.as_given()}
    del kept["display"]
    assert load_config(OmegaConf.create(kept)).display == "auto"


def test_a_display_that_there_is_not(tmp_path: Path) -> None:
    done = program(tmp_path, "display=fancy")
    assert done.returncode == 2
    assert done.stderr == ("error: display=fancy: must be one of auto, live, lines, quiet\n")
    assert list(tmp_path.iterdir()) == []
