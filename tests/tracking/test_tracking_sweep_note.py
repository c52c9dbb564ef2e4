"""The description of a sweep in MLflow: true, whole, and never broken by what stands in it."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_tracking_sweep_log import RECORDS, RESULT

from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.config.schema import SweepConfig
from fmnist_sweep.journal.records import (
    SCHEMA,
    Asked,
    Begun,
    Ended,
    LookedAtOfficialTest,
    Told,
    TrialStatus,
)
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.space.domains import Choice, FloatRange
from fmnist_sweep.space.space import Condition, Leaf
from fmnist_sweep.tracking.sweep_note import MAX_NOTE, Described, sweep_note, trial_note

COMMAND = "python -m fmnist_sweep +sweep=mine sweep.max_trials=2"
NASTY = st.text(st.sampled_from("|`\\<>*_~#[]()!&\n\r -ascript/"), max_size=40)


@pytest.fixture(scope="module")
def sweep() -> SweepConfig:
    return compose_config(["sweep.max_trials=2"]).sweep


LEAVES = (
    Leaf("train.batch_size", Choice((25, 50))),
    Leaf(
        "train.optimizer.momentum",
        FloatRange(0.0, 0.99, None, log=False),
        (Condition("a", ("sgd", None)),),
    ),
)


IDENTITY = {"tuner": {"name": "tpe"}, "scheduler": {"name": "asha"}}


def state_of(sweep: SweepConfig, *records: object, command: str = COMMAND) -> SweepState:
    state = SweepState(sweep.objective)
    for record in (Begun(SCHEMA, "mine", IDENTITY, command, at=100.0), *records):
        state.apply(record)  # type: ignore[arg-type]
    return state


def a_trial(number: int, score: float, **overrides: object) -> tuple[Asked, Told]:
    result = replace(RESULT, test_accuracy=score - 0.01)
    return (
        Asked(number, number, 0, 0, 1, str(number), {}, overrides, at=101.0),
        Told(number, number, TrialStatus.COMPLETED, score, result, None, 60.0, at=102.0),
    )


def described(sweep: SweepConfig, note: str | None = None, exports: bool = True) -> Described:
    return Described(note, LEAVES, sweep, exports)


def tables(text: str) -> list[list[list[str]]]:
    """The tables of a text, by rows and cells; a bar counts where it is not part of a cell."""
    found: list[list[list[str]]] = [[]]
    for line in text.split("\n"):
        if line.startswith("| "):
            found[-1].append(re.split(r" \| ", line.removeprefix("| ").removesuffix(" |")))
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


def commands(text: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)\n```$", text, flags=re.DOTALL | re.MULTILINE)


def test_a_sweep_that_begins_tells_command_and_space(sweep: SweepConfig) -> None:
    text = sweep_note(described(sweep, "My **own**"), state_of(sweep))
    assert "\ntuner tpe, scheduler asha\n" in text
    assert text.startswith("My **own**\n\n**mine** (running or interrupted): 0 trials")
    assert commands(text) == [COMMAND]
    assert tables(text) == [
        [
            ["path", "values", "where"],
            ["---", "---", "---"],
            ["`train.batch_size`", "`choice 25, 50`", ""],
            ["`train.optimizer.momentum`", "`float 0 .. 0.99`", "`a is sgd or null`"],
        ]
    ]


def test_one_that_ended_tells_leaders_official_test_and_what_to_do(sweep: SweepConfig) -> None:
    trials = [record for n in range(7) for record in a_trial(n, 0.8 + n / 100, batch=n)]
    look = LookedAtOfficialTest(6, 0.8123, 0.5, 10_000, "2" * 64, at=200.0)
    state = state_of(sweep, *trials, look, Ended("sweep.max_trials=2 is reached", at=201.0))
    text = sweep_note(described(sweep), state)
    head = text.partition("###")[0]
    assert "7 trials, 0 epochs, 7.0 minutes" in head
    assert "best: trial 6, val_accuracy **0.8600**, test_accuracy 0.8500" in head
    assert "accuracy **0.8123** on 10,000 images (evaluation 1)" in head
    board = tables(text)[0][2:]
    assert [row[1] for row in board] == ["6", "5", "4", "3", "2"]
    assert board[0][2:] == ["0.8600", "0.8500", "100", "1", "`batch=6`"]
    assert "2 more in `leaderboard.csv`" in text
    going_on = "python -m fmnist_sweep +sweep=mine sweep.max_trials=4"
    assert commands(text) == [COMMAND, going_on, "python -m fmnist_sweep +best=mine"]
    of_own_code = commands(sweep_note(described(sweep, exports=False), state))
    assert of_own_code == [COMMAND, going_on]


def test_the_records_of_a_whole_sweep_make_a_note_each(sweep: SweepConfig) -> None:
    state = state_of(sweep)
    for record in RECORDS:
        state.apply(record)
        text = sweep_note(described(sweep), state)
        assert ("ended" in text) == (state.ended is not None)
    assert "0.8500 ± 0.0141" in text, "confirmed with two seeds"
    assert "failed trials: 1" in text


def test_one_begun_from_python_has_no_command_to_show(sweep: SweepConfig) -> None:
    text = sweep_note(described(sweep), state_of(sweep, command="python -m fmnist_sweep"))
    assert commands(text) == []
    assert "run_sweep(config)" in text


@pytest.mark.parametrize("length", [1, 200, 5_000])
@pytest.mark.parametrize("leaves", [1, 60, 400])
def test_it_fits_into_a_tag_and_says_what_it_leaves_out(
    sweep: SweepConfig, leaves: int, length: int
) -> None:
    many = tuple(
        Leaf(f"model.conv_blocks.{n}.{'x' * 30}", Choice(tuple(range(length))))
        for n in range(leaves)
    )
    values = {leaf.path: "v" * length for leaf in many}
    trials = [record for n in range(9) for record in a_trial(n, 0.8, **values)]
    command = shlex.join([*COMMAND.split(), "tracking.note=" + "n" * length])
    state = state_of(sweep, *trials, Ended("so", at=300.0), command=command)
    text = sweep_note(Described("n" * length, many, sweep, exports=True), state)
    assert len(text) <= MAX_NOTE
    shown = len(tables(text)[-1]) - 2
    left = re.search(r"(\d+) more of (\d+) in `config.yaml`, under `space`", text)
    assert shown + (int(left[1]) if left else 0) == leaves
    assert len(trial_note("mine", 3, values)) < 1000


@settings(max_examples=50, deadline=None)
@given(name=NASTY, value=NASTY, reason=NASTY, note=NASTY)
def test_nothing_that_stands_in_it_breaks_a_table_or_opens_a_tag(
    sweep: SweepConfig, name: str, value: str, reason: str, note: str
) -> None:
    leaves = (Leaf(f"train.{name}", Choice((value, 1)), (Condition(name, (value,)),)),)
    state = state_of(sweep, *a_trial(0, 0.8, **{f"train.{name}": value}), Ended(reason, at=1.0))
    text = sweep_note(Described(note, leaves, sweep, exports=True), state)
    board, space = tables(text)[-2:]
    assert [len(row) for row in board] == [7] * 3
    assert [len(row) for row in space] == [3] * 3
    for row in (*board[2:], *space[2:]):
        for cell in row:
            outside = re.sub(r"`[^`]*`", "", cell)
            assert not set(outside) & set("|`<>*_[]"), cell
    assert "\n" not in trial_note("mine", 0, {name: value})


@pytest.mark.parametrize(
    "note",
    [
        "```sh\nleft open",
        "~~~\nleft open",
        "<!-- left open",
        "<table><tr>",
        "<script>x",
        "````\n```",
    ],
)
def test_a_note_left_open_ends_before_what_follows(sweep: SweepConfig, note: str) -> None:
    text = sweep_note(described(sweep, note), state_of(sweep))
    own, mark, _ = text.partition("**mine**")
    assert mark
    assert not re.search(r"<[a-z!/]", own)
    fences = re.findall(r"^(`{3,}|~{3,})", own, flags=re.MULTILINE)
    assert not fences or (fences[0] == fences[-1] and len(fences) > 1)


def test_links_of_a_note_stay_links_and_code_stays_code(sweep: SweepConfig) -> None:
    note = "see <https://example.org/a>, 3 < 4\n```\n<b>\n```"
    assert sweep_note(described(sweep, note), state_of(sweep)).startswith(note)
