"""The journal: a kill at any byte leaves a prefix; all else is refused, naming file and line."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from each_record import EACH, OBJECTIVE
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from search_fakes import config_with, journal_of, run, to_lines

from fmnist_sweep.errors import JournalError
from fmnist_sweep.journal.file import JOURNAL_FILE, Journal, to_line
from fmnist_sweep.journal.records import (
    SCHEMA,
    Ended,
    EpochEnded,
    FoundInfeasible,
    Record,
    from_json,
    to_json,
)
from fmnist_sweep.journal.state import SweepState


def reopened(path: Path) -> list[Record]:
    return Journal(path).records


def test_there_is_a_record_of_each_kind() -> None:
    kinds: Any = Record
    assert {type(record) for record in EACH} == set(kinds.__args__)


def test_what_was_appended_is_read_again_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "deeper" / JOURNAL_FILE
    for number, record in enumerate(EACH, start=1):
        journal = Journal(path)  # as after a kill between any two
        journal.append(record)
        assert journal.records == EACH[:number]
    assert reopened(path) == EACH
    keys = [list(r.values) for r in reopened(path) if isinstance(r, FoundInfeasible)]
    assert keys == [["b", "a"]]
    assert [path.name for path in path.parent.iterdir()] == [JOURNAL_FILE]


def test_a_journal_that_is_not_there_is_empty_and_opening_leaves_nothing(tmp_path: Path) -> None:
    assert reopened(tmp_path / "no" / JOURNAL_FILE) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("record", EACH, ids=[record.kind for record in EACH])
def test_a_record_is_one_line_of_json(record: Record) -> None:
    line, _ = to_line(record)
    assert line.count(b"\n") == 1
    fields = json.loads(line)
    assert fields["kind"] == record.kind
    del fields["crc32"]
    assert from_json(fields) == record


def test_a_number_that_json_lacks_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = journal_of(EACH[:3], tmp_path)
    before = path.read_bytes()
    journal = Journal(path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        journal.append(EpochEnded(0, 1, {"loss": math.nan}, 3.0))
    assert path.read_bytes() == before
    assert journal.records == EACH[:3]


@pytest.mark.slow
def test_cut_at_every_byte_it_is_a_prefix_and_can_be_appended_to(tmp_path: Path) -> None:
    whole = journal_of(EACH, tmp_path).read_bytes()
    ends = [index + 1 for index, byte in enumerate(whole) if byte == ord("\n")]
    path = tmp_path / "cut.jsonl"
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        assert reopened(path) == EACH[: sum(end <= size for end in ends)]


def test_appending_to_a_torn_journal_replaces_the_torn_line(tmp_path: Path) -> None:
    whole = journal_of(EACH, tmp_path).read_bytes()
    start = len(to_lines(EACH[:-1]))
    path = tmp_path / "torn.jsonl"
    for size in range(start, len(whole), 7):
        path.write_bytes(whole[:size])
        Journal(path).append(EACH[-1])
        assert path.read_bytes() == whole


def test_nothing_is_left_of_a_torn_line_that_is_longer_than_the_next(tmp_path: Path) -> None:
    path = journal_of(EACH[:4], tmp_path)
    with path.open("ab") as file:
        file.write(to_line(EACH[4])[0][:-1])
    Journal(path).append(EACH[-1])
    assert path.read_bytes() == to_lines([*EACH[:4], EACH[-1]])


@examples(300)
@given(data=st.data())
def test_altered_anywhere_it_is_a_prefix_or_an_error_with_file_and_line(
    data: st.DataObject, tmp_path: Path
) -> None:
    whole = to_lines(EACH)
    start = data.draw(st.integers(0, len(whole) - 1))
    stop = data.draw(st.integers(start, min(start + 40, len(whole))))
    garbage = data.draw(st.binary(max_size=5) | st.just(b"[" * 100_000))
    path = tmp_path / "altered.jsonl"
    path.write_bytes(whole[:start] + garbage + whole[stop:])
    try:
        journal = Journal(path)
        SweepState.after(journal, OBJECTIVE)
    except JournalError as error:
        said = str(error)
        line = int(said.removeprefix(f"{path}, line ").split(" ")[0].rstrip(":"))
        assert said.startswith(f"{path}, line {line}")
        assert line >= whole[:start].count(b"\n") + 1
    else:
        untouched = whole[:start].count(b"\n")
        assert journal.records == EACH[: len(journal.records)]
        assert len(journal.records) >= untouched


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{}", "cannot be read"),
        (b"", "cannot be read"),
        (b"null", "cannot be read"),
        (b"[1]", "cannot be read"),
        (b'"text"', "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b'{"kind":"unheard-of"}', "cannot be read"),
        (b'{"kind":["ended"]}', "cannot be read"),
        (b'{"kind":"ended","reason":"x"}', "cannot be read"),
        (b'{"kind":"ended","reason":"x","at":1,"more":2}', "cannot be read"),
        (b'{"kind":"told","ask":0,"trial":0,"status":"odd","score":1,"result":null,"reason":"",'
         b'"seconds":1,"at":1}', "cannot be read"),
    ],
)  # fmt: skip
def test_garbage_in_the_middle_is_an_error(line: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / JOURNAL_FILE
    path.write_bytes(to_lines(EACH[:1]) + line + b"\n" + to_lines(EACH[-1:]))
    with pytest.raises(JournalError) as raised:
        Journal(path)
    assert str(raised.value).startswith(f"{path}, line 2 {said}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("lost", range(len(EACH)))
def test_a_record_that_is_missing_in_the_middle_is_noticed_by_what_needs_it(
    lost: int, tmp_path: Path
) -> None:
    path = journal_of(EACH[:lost] + EACH[lost + 1 :], tmp_path)
    # An ask, an epoch or a pause, by what follows it: an answer, a stop, an epoch, going on.
    needed = {2: 3, 3: 10, 5: 6, 11: 12, 13: 14}
    if lost in needed:
        with pytest.raises(JournalError, match=rf"^{path}, line {needed[lost]}: "):
            SweepState.after(Journal(path), OBJECTIVE)
    else:
        SweepState.after(Journal(path), OBJECTIVE)


@pytest.mark.parametrize("twice", [0, 2, 3, 4, 5, 6])
def test_a_record_that_stands_twice_is_noticed(twice: int, tmp_path: Path) -> None:
    path = journal_of(EACH[: twice + 1] + EACH[twice:], tmp_path)
    with pytest.raises(JournalError, match=rf"^{path}, line {twice + 2}: "):
        SweepState.after(Journal(path), OBJECTIVE)


@pytest.mark.parametrize(
    ("line", "change"),
    [
        (3, {"trial": "0"}), (3, {"ask": None}), (4, {"epoch": "1"}), (4, {"trial": [0]}),
        (5, {"seconds": "1"}), (5, {"result": None}), (5, {"score": None}), (7, {"trial": 0}),
        (8, {"trial": 7}), (9, {"trial": 7}),
    ],
)  # fmt: skip
def test_a_record_that_makes_no_sense_is_refused(
    line: int, change: dict[str, Any], tmp_path: Path
) -> None:
    odd = from_json({**to_json(EACH[line - 1]), **change})
    path = journal_of([*EACH[: line - 1], odd, *EACH[line:]], tmp_path)
    with pytest.raises(JournalError, match=rf"^{path}, line {line}: "):
        SweepState.after(Journal(path), OBJECTIVE)


def test_another_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL_FILE
    path.write_text(json.dumps({**to_json(EACH[0]), "schema": SCHEMA - 1}) + "\n")
    with pytest.raises(JournalError, match=rf"line 1 .*: journal schema {SCHEMA - 1}; this vers"):
        Journal(path)


DISK_FULL = """
import resource, signal, sys
from pathlib import Path
from fmnist_sweep.journal.file import Journal
from fmnist_sweep.journal.records import Ended

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path, room = Path(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
journal = Journal(path)
try:
    for number in range(100):
        journal.append(Ended(f"reason {number}", 1.0))
except OSError as error:
    print(len(journal.records), error.errno)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.append(Ended("there is room again", 2.0))
print(len(journal.records))
"""


@pytest.mark.parametrize("room", [1000, 1001, 1017, 1040])
def test_a_full_disk_leaves_a_journal_that_opens_and_goes_on(room: int, tmp_path: Path) -> None:
    path = tmp_path / JOURNAL_FILE
    done = subprocess.run(
        [sys.executable, "-c", DISK_FULL, str(path), str(room)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    written, errno, in_all = map(int, done.stdout.split())
    assert errno == 27  # EFBIG
    assert 0 < written < 100
    records = reopened(path)
    assert len(records) == in_all == written + 1
    assert [r.reason for r in records if isinstance(r, Ended)] == [
        *(f"reason {number}" for number in range(written)),
        "there is room again",
    ]


@pytest.mark.slow
def test_a_full_disk_in_mid_line_and_then_a_kill_leave_a_journal_that_opens(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL_FILE
    script = DISK_FULL.split("resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INF")[0]
    for room in range(1000, 1050, 7):
        path.unlink(missing_ok=True)
        done = subprocess.run(
            [sys.executable, "-c", script, str(path), str(room)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert path.stat().st_size == room
        assert len(reopened(path)) == int(done.stdout.split()[0])


def test_a_sweep_s_own_journal_reads_back_as_what_was_observed(tmp_path: Path) -> None:
    space = {"train": {"batch_size": {"choice": [8, 16]}, "label_smoothing": {"float": [0, 0.5]}}}
    seen: list[Record] = []
    config = config_with(space, sweep__max_trials=5)
    run(config, tmp_path, observer=lambda record, state: seen.append(record))
    assert reopened(tmp_path / JOURNAL_FILE) == seen
    assert [repr(record) for record in reopened(tmp_path / JOURNAL_FILE)] == list(map(repr, seen))


@pytest.mark.parametrize("lost", range(len(EACH) - 1))
def test_a_line_that_is_lost_or_stands_elsewhere_is_noticed(lost: int, tmp_path: Path) -> None:
    lines = to_lines(EACH).splitlines(keepends=True)
    path = tmp_path / JOURNAL_FILE
    path.write_bytes(b"".join(lines[:lost] + lines[lost + 1 :]))
    with pytest.raises(
        JournalError, match=rf"^{path}, line {lost + 1} cannot be read: its checksum"
    ):
        Journal(path)
    path.write_bytes(b"".join([*lines[:lost], lines[lost + 1], lines[lost], *lines[lost + 2 :]]))
    with pytest.raises(
        JournalError, match=rf"^{path}, line {lost + 1} cannot be read: its checksum"
    ):
        Journal(path)


def test_a_journal_from_before_check_sums_is_read_and_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL_FILE
    old = [json.dumps(to_json(record)).encode() + b"\n" for record in EACH[:4]]
    path.write_bytes(b"".join(old))
    for record in EACH[4:]:
        Journal(path).append(record)
    assert reopened(path) == EACH
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"ask": 0', b'"ask": 1', 1))  # of the part without sums
    with pytest.raises(JournalError, match=rf"^{path}, line 5 cannot be read: its checksum"):
        Journal(path)
    path.write_bytes(whole + old[0])
    with pytest.raises(JournalError, match=rf"line {len(EACH) + 1} cannot be read: its checksum"):
        Journal(path)
