"""Summarises an exception of any library in one line."""

from __future__ import annotations

import re
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from fmnist_sweep.errors import FmnistSweepError

_LONGEST = 400
_FEWEST_WORDS = 2
_OURS = str(Path(__file__).parent)
_LIBRARIES = tuple(
    dict.fromkeys(
        [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
        + [_OURS, sys.prefix + "/lib", sys.base_prefix + "/lib"]
    )
)

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# Keras 3: "Exception encountered when calling Name.call().", the cause, the arguments.
_LAYER_CALL = re.compile(
    r"Exception encountered when calling (?P<call>[^\n]+?)\.?\n(?P<cause>.*?)"
    r"(?:\nArguments received by .*)?$",
    re.DOTALL,
)
_INNER = ("Error encountered:", "Exception encountered:")
# TensorFlow: the node of the graph, and its location.
_GRAPH = "Graph execution error:"
_NODE = re.compile(
    r"(Detected at node |Detected unsupported operations|<stack traces unavailable>|Stack trace for"
    r"|\d+ root error\(s\) found|File \"|\[Previous line repeated|\[\[|Graph execution error:)"
)
_ROOT_ERROR = re.compile(r"^\(\d+\) [A-Z_]+:\s*")
_FUNCTION_NODE = re.compile(r"\{\{function_node [^}]*\}\}\s*")
_TAIL = re.compile(r"\s*(\[Op:[^\]]*\](\s*name:\s*\S*)?\s*$|Full object config: .*)")


def reason_of(error: BaseException) -> str:
    """Return `ExceptionType: message`, one line of at most 400 characters, and a location.

    The informative part is extracted: from below the headers of TensorFlow's and Keras's long
    messages, and from the cause of an exception without a message. If it has at most one word, the
    line ends with the file and line of the innermost function that does not belong to a library.
    """
    told, words = error, _telling(error)
    for inner in _causes(error):
        if words:
            break
        told, words = inner, _telling(inner)
    name = type(told).__name__
    line = f"{name}: {words}" if words else name
    if len(line) > _LONGEST:
        line = f"{line[: _LONGEST - 3]}..."
    if len(words.split()) < _FEWEST_WORDS:
        place = _place(error)
        return line if place is None else f"{line} ({place})"
    return line


def message_of(error: BaseException) -> str:
    """Return the message of an error of this package, and `reason_of` any other error."""
    return str(error) if isinstance(error, FmnistSweepError) else reason_of(error)


def _telling(error: BaseException) -> str:
    """Return the informative part of an exception's message, on one line; may be empty."""
    # The text of a KeyError is the repr of its key, which may be a message from Keras.
    is_wrapped = isinstance(error, KeyError) and len(error.args) == 1
    text = str(error.args[0] if is_wrapped and "\n" in str(error.args[0]) else error)
    return " ".join(_unfolded(_COLOUR.sub("", text).strip()).split())


def _unfolded(text: str) -> str:
    call = _LAYER_CALL.match(text)
    if call is not None:
        cause = _unfolded(call["cause"].strip())
        return f"in {call['call']}: {cause}" if cause else ""
    for header in _INNER:
        if header in text:
            return _unfolded(text.rpartition(header)[2].strip())
    if text.startswith(_GRAPH):
        return _of_graph(text)
    return _TAIL.sub("", _FUNCTION_NODE.sub("", text.partition("\n")[0]))


def _of_graph(text: str) -> str:
    for line in text.splitlines():
        stripped = line.strip()
        is_source = line.startswith("    ")  # source code of the frame above
        if stripped and not is_source and not _NODE.match(stripped):
            return _TAIL.sub("", _FUNCTION_NODE.sub("", _ROOT_ERROR.sub("", stripped)))
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the cause of an exception, then the cause's cause, and so on."""
    seen = {id(error)}
    cause: BaseException | None = error
    while cause is not None:
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
        if cause is None or id(cause) in seen:
            return
        seen.add(id(cause))
        yield cause


def _place(error: BaseException) -> str | None:
    """Return `file.py:12` of the innermost frame outside of libraries and this package, or else of
    the innermost frame."""
    innermost = None
    for each in reversed([error, *_causes(error)]):
        for frame in reversed(_frames(each.__traceback__)):
            place = f"{Path(frame.filename).name}:{frame.lineno}"
            innermost = innermost or place
            if not frame.filename.startswith((*_LIBRARIES, "<frozen ")):
                return place
    return innermost


def _frames(where: TracebackType | None) -> list[traceback.FrameSummary]:
    return list(traceback.StackSummary.extract(traceback.walk_tb(where), lookup_lines=False))
