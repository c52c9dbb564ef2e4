"""Standard streams that fail, are closed, or cannot show a character; settings of Python's."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TextIO

import pytest
from program import REPOSITORY, environment
from rich.table import Table

from fmnist_sweep import streams
from fmnist_sweep.cli.console import console
from fmnist_sweep.cli.live import Screen
from fmnist_sweep.cli.live_view import Running, View
from fmnist_sweep.streams import SteadyStream, showable, steady_streams


def a_pipe() -> tuple[int, TextIO]:
    reader, writer = os.pipe()
    return reader, os.fdopen(writer, "w", encoding="utf-8")


def test_a_stream_without_a_reader_is_dropped_at_its_descriptor_too() -> None:
    reader, underneath = a_pipe()
    stream = SteadyStream(underneath)
    os.close(reader)
    for _ in range(2):
        assert stream.write("text\n") == 5
        stream.flush()
    assert isinstance(stream.lost, BrokenPipeError)
    assert not stream.isatty()
    os.write(underneath.fileno(), b"from C++\n")
    underneath.close()  # flushes what had not been written


def test_a_full_device_and_a_closed_stream_raise_nothing(tmp_path: Path) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        stream = SteadyStream(full)
        stream.writelines(["one\n", "two\n"])
        stream.flush()
        assert stream.why_lost() == "No space left on device"
    closed = (tmp_path / "closed").open("w", encoding="utf-8")
    stream = SteadyStream(closed)
    closed.close()
    stream.write("text")
    stream.flush()
    assert stream.why_lost() is not None


def test_a_stream_that_was_made_not_to_block_loses_nothing() -> None:
    reader, underneath = a_pipe()
    os.set_blocking(underneath.fileno(), False)
    line = "x" * 99 + "\n"
    with ThreadPoolExecutor(1) as pool, os.fdopen(reader, encoding="utf-8") as came:
        read = pool.submit(came.read)
        stream = SteadyStream(underneath)
        for _ in range(2000):  # more than a pipe holds
            stream.write(line)
        underneath.close()
        assert read.result() == line * 2000


def test_what_a_run_outlives_is_said_once_on_standard_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with steady_streams() as out:
            for _ in range(2):
                streams.outlive_standard_output()
                sys.stdout.write("a line")
                sys.stdout.flush()
            assert out.is_outlived
        assert sys.stdout is full
    reason = "standard output: No space left on device"
    assert said.getvalue() == f"{reason}: nothing more is printed, the run continues\n"


@pytest.mark.parametrize(
    ("text", "encoding", "shown"),
    [
        ("0.9 ± 0.1 ≈ cut…", "ascii", "0.9 +- 0.1 ~ cut..."),
        ("né ±", "latin-1", "né ±"),
        ("né ≈ 犬", "latin-1", "né ~ \\u72ac"),
        ("né \udcff", "utf-8", "né \\udcff"),
        ("né ±", None, "né ±"),
    ],
)
def test_a_text_is_shown_as_its_stream_can(text: str, encoding: str | None, shown: str) -> None:
    assert showable(text, encoding) == shown


def test_a_table_of_a_stream_without_a_sign_is_even(monkeypatch: pytest.MonkeyPatch) -> None:
    underneath = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(underneath, encoding="ascii"))
    table = Table()
    table.add_column("score")
    for cell in ("0.9100 ± 0.0100 ≈", "0.1"):
        table.add_row(cell)
    with steady_streams():
        console().print(table)
    lines = underneath.getvalue().decode("ascii").splitlines()
    assert "0.9100 +- 0.0100 ~" in lines[3]
    assert len(set(map(len, lines))) == 1


@pytest.mark.parametrize("width", [40, 130])
def test_the_live_display_keeps_its_width_where_signs_are_missing(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    screen = Screen(console())
    trial = Running("trial 0", "1-2", "né " * 100)
    screen.show(View("sweep", "1 of 3 trials", 0.5, None, "0.9 ± 0.1 " * 20, (trial,)))
    lines = [showable(line.plain, "ascii") for line in screen.lines(width)]
    assert any("+-" in line for line in lines)
    assert any(line.endswith("...") for line in lines)
    assert all(len(line) <= width for line in lines)


_FILES_AND_PRINTS = """
import os, sys, tempfile
from fmnist_sweep.cli.live import Screen
from fmnist_sweep.cli.live_view import Running, View
from fmnist_sweep.streams import open_closed_descriptors
open_closed_descriptors()
with tempfile.TemporaryFile() as file:
    assert file.fileno() > 2
    os.write(1, b"from C++"); os.write(2, b"from C++")
    print("text", flush=True); print("text", file=sys.stderr, flush=True)
    assert os.fstat(file.fileno()).st_size == 0
assert sys.stdin.read() == ""
"""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_no_file_gets_the_number_of_a_closed_stream(closed: str) -> None:
    command = [sys.executable, "-c", _FILES_AND_PRINTS]
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *command],
        env=environment(), stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_command_that_only_prints_says_when_that_cannot_be_had(tmp_path: Path) -> None:
    script = (
        '"$0" -m fmnist_sweep --cfg job >/dev/full 2>full; echo $?\n'
        '"$0" -m fmnist_sweep --help 2>gone | head -1 >/dev/null; echo "${PIPESTATUS[0]}"\n'
    )
    done = subprocess.run(
        ["bash", "-c", script, sys.executable],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout == "1\n0\n"
    full = (tmp_path / "full").read_text(encoding="utf-8")
    assert full == "error: standard output: No space left on device\n"
    assert (tmp_path / "gone").read_text(encoding="utf-8") == ""


_COMPOSES = """
import json, sys
from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.errors import ConfigError
for line in json.load(sys.stdin):
    try:
        print(json.dumps(compose_config(line).model_dump(mode="json"), sort_keys=True))
    except ConfigError as error:
        print(error)
"""
_LINES = [
    ["+space.train.batch_size={choice: [25, 50]}", "sweep.max_trials=3"],
    ["+space.train.batch_size={choice: [25, {a: 1}]}"],
    ["model.conv_blocks=[{channels: 4, dropout: 0.5}, {channels: 8}]"],
    ["train.seed=int('3')"],
    ["train.batch_size=choice(1,2)"],
    ["train.epochs=range(1,3)"],
    ["model=[1,2]"],
    ["train={}"],
    ["train.seed={"],
    ["train.seed=sort(3,2)"],
    ["~train.seed"],
    ["+best=none"],
    ["model.fc_layers="],
    ["tracking.note='a, {b}: c'"],
]


def test_overrides_are_read_alike_without_assert_statements() -> None:
    def composed(*options: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, *options, "-c", _COMPOSES], env=environment(),
            input=json.dumps(_LINES), capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    found = composed()
    assert len(found) == len(_LINES)
    assert json.loads(found[0])["space"]["train"]["batch_size"] == {"choice": [25, 50]}
    assert composed("-OO") == found


def test_text_files_are_read_and_written_in_an_encoding_of_their_own() -> None:
    """Not in that of the locale."""
    unsaid = []
    for path in sorted((REPOSITORY / "fmnist_sweep").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _depends_on_the_locale(node):
                unsaid.append(f"{path.name}:{node.lineno}")
    assert unsaid == []


def _depends_on_the_locale(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    given = {keyword.arg for keyword in call.keywords}
    if "encoding" in given:
        return False
    if name == "open":
        module = getattr(getattr(call.func, "value", None), "id", "")  # or a zip archive's name
        words = [one.value for one in ast.walk(call) if isinstance(one, ast.Constant)]
        binary = any(str(word) in ("rb", "wb", "xb", "r+b") for word in words)
        return module not in ("os", "Image", "gzip", "archive") and not binary
    return name in ("read_text", "write_text", "fdopen") or "text" in given
