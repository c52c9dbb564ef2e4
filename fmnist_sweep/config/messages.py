"""Formats a validation error as one line: the key, the given value, what is allowed."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from fmnist_sweep.config.fields import allowed_keys, allowed_values, paths_to, tags_with

Path = tuple[str | int, ...]

ALIASES = {
    "filters": "channels", "out_channels": "channels",
    "kernel": "filter", "kernel_size": "filter", "filter_size": "filter",
    "strides": "stride",
    "padding": "pad",
    "pool_size": "pool", "pooling": "pool", "pool_strides": "pool_stride",
    "pool_padding": "pool_pad",
    "units": "neurons", "nodes": "neurons",
    "rate": "dropout", "drop": "dropout", "dropout_rate": "dropout",
    "batch_normalization": "batch_norm", "batchnorm": "batch_norm", "bn": "batch_norm",
    "weight_initializer": "weight_init", "kernel_initializer": "weight_init",
    "bias_initializer": "bias_init", "use_bias": "bias",
    "blocks": "conv_blocks", "conv_layers": "conv_blocks",
    "dense_layers": "fc_layers", "fc": "fc_layers",
    "lr": "learning_rate", "decay": "weight_decay", "clipnorm": "clip_norm",
    "batchsize": "batch_size", "batch": "batch_size",
    "epoch": "epochs", "n_epochs": "epochs", "num_epochs": "epochs",
    "random_state": "seed", "random_seed": "seed",
    "n_trials": "max_trials", "trials": "max_trials",
}  # fmt: skip
"""Other libraries' names for our keys."""

_PATTERNS = {
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$": (
        "a name of at most 100 letters, digits, '.', '_' and '-', the first a letter or a digit"
    )
}
_DEFAULTS_OF = {"conv_blocks": "conv_defaults", "fc_layers": "fc_defaults"}


def one_line(error: ValidationError, given: Mapping[str, Any]) -> str:
    """Return one line that describes what is wrong with a config.

    `given` is the config as passed to pydantic. Of several errors, the first is described and the
    others are counted.
    """
    by_path: dict[Path, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        path = _without_union_tags(detail, given)
        if path is not None:
            by_path.setdefault(path, []).append(detail)
    # A union reports an error for each member; the one deepest inside the value is the relevant
    # one.
    told = [path for path in by_path if not any(_is_inside(other, path) for other in by_path)]
    line = _sentence(told[0], by_path[told[0]], given)
    return line if len(told) == 1 else f"{line} (and {len(told) - 1} more)"


def unknown_key(path: Sequence[str | int], shown: str | None, given: Any = None) -> str:
    """Return one line that rejects a key and suggests the one probably meant.

    `path` ends in the key, `shown` is its value, if known; if an earlier part of the path is
    already unknown, that part is reported.
    """
    known = 0
    while known < len(path) - 1 and str(path[known]) in allowed_keys(path[:known], given):
        known += 1
        if not allowed_keys(path[:known], given):  # a list or a mapping: its content is reported
            known = len(path) - 1
    key, block = str(path[known]), path[:known]
    said = dotted(path) if shown is None else f"{dotted(path)}={shown}"
    if tags := tags_with((*block, key)):
        group = dotted(block)
        return f"{said}: that key belongs to {' and '.join(tags)}; choose {group}={tags[0]}"
    which = "" if known == len(path) - 1 else f" {key}"
    return f"{said}: unknown key{which}{_advice(key, block, given)}"


def did_you_mean(name: str, known: Iterable[str], of: str = "allowed") -> str:
    """Return `; did you mean x?`, or the whole list of names if nothing is similar."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; {of}: {', '.join(names)}" if names else ""


def counted(count: int, word: str) -> str:
    """Return `1 thread`, `2 threads`."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def dotted(path: Sequence[str | int]) -> str:
    """Return a path as written on the command line."""
    return ".".join(map(str, path))


def show(value: Any, limit: int = 60) -> str:
    """Return a value as YAML, on one line, truncated if long."""
    match value:
        case str():
            text = f"'{value}'" if not value or _reads_as_another_type(value) else value
        case float():
            text = str(value)
        case _:
            text = json.dumps(value, default=str)
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _advice(key: str, block: Sequence[str | int], given: Any) -> str:
    allowed = allowed_keys(block, given)
    if not allowed:
        return f"; {dotted(block)} is {allowed_values(block, given)}"
    ours = ALIASES.get(key.lower(), key)
    if ours in allowed:
        return f"; did you mean {ours}?"
    elsewhere = paths_to(ours, block, given) or paths_to(ours, (), given)
    if elsewhere:
        return f"; did you mean {' or '.join(elsewhere[:3])}?"
    return did_you_mean(key, allowed)


def _without_union_tags(detail: ErrorDetails, given: Any) -> Path | None:
    """Return the path of the error within the given config.

    pydantic's path contains the names of union members. None for an error in a block's key that is
    inherited from the block's defaults, where it is reported.
    """
    path: list[str | int] = []
    node: Any = given
    at = list(detail["loc"])
    for position, key in enumerate(at):
        inner = _inside(node, key)
        if inner is ...:
            is_last = position == len(at) - 1
            is_block = len(path) == 3 and path[1] in _DEFAULTS_OF and isinstance(node, dict)
            if is_block and key in _defaults_of(path, given):
                return None
            if not (is_last and isinstance(node, dict) and detail["type"] == "missing"):
                continue
        path.append(key)
        node = inner
    if detail["type"].startswith("union_tag"):
        path.append(detail["ctx"]["discriminator"].strip("'"))
    return tuple(path)


def _defaults_of(path: list[str | int], given: Any) -> Mapping[str, Any]:
    defaults = given[path[0]].get(_DEFAULTS_OF[str(path[1])])
    return defaults if isinstance(defaults, dict) else {}


def _is_inside(path: Path, other: Path) -> bool:
    return len(path) > len(other) and path[: len(other)] == other


def _sentence(path: Path, details: list[ErrorDetails], given: Mapping[str, Any]) -> str:
    kind = details[0]["type"]
    value = _value_at(path, given)
    if kind == "extra_forbidden":
        return unknown_key(path, show(value), given)
    if value is ...:
        is_block = bool(allowed_keys(path, given))
        return f"{dotted(path)}: missing" + ("" if is_block else f"; {_must_be(path, given)}")
    if kind == "value_error":
        reason = str(details[0]["ctx"]["error"])
        names_a_key = re.match(r"[a-z0-9_.]+=", reason) is not None
        return dotted([*path, reason]) if names_a_key else f"{dotted(path)}: {reason}"
    said = f"{dotted(path)}={show(value)}".removeprefix("=")
    if len(details) > 1:
        return f"{said}: {_must_be(path, given)}{_close_literal(details, value)}"
    return f"{said}: {_demand(details[0], path, given)}{_close_literal(details, value)}"


def _demand(detail: ErrorDetails, path: Path, given: Mapping[str, Any]) -> str:
    limits = detail.get("ctx", {})
    match detail["type"]:
        case "greater_than_equal":
            return f"must be at least {limits['ge']}"
        case "greater_than":
            return f"must be more than {limits['gt']}"
        case "less_than_equal":
            return f"must be at most {limits['le']}"
        case "less_than":
            return f"must be less than {limits['lt']}"
        case "finite_number":
            return "must be a finite number"
        case "literal_error" | "union_tag_invalid" if _literals(detail):  # else numbers
            return f"must be one of {', '.join(_literals(detail))}"
        case "string_pattern_mismatch":
            pattern = str(limits["pattern"])
            return f"must be {_PATTERNS.get(pattern, f'text that matches {pattern}')}"
        case _:
            return _must_be(path, given)


def _must_be(path: Path, given: Mapping[str, Any]) -> str:
    keys = allowed_keys(path, given)
    values = allowed_values(path, given)
    return f"must be {values} ({', '.join(keys)})" if keys else f"must be {values}"


def _close_literal(details: list[ErrorDetails], value: Any) -> str:
    names = [name for detail in details for name in _literals(detail)]
    close = difflib.get_close_matches(str(value), names, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _literals(detail: ErrorDetails) -> list[str]:
    limits = detail.get("ctx", {})
    return re.findall(r"'([^']*)'", str(limits.get("expected", limits.get("expected_tags", ""))))


def _value_at(path: Path, given: Any) -> Any:
    """Return the value at a path, or `...` if it is missing."""
    node = given
    for key in path:
        node = _inside(node, key)
    return node


def _inside(node: Any, key: str | int) -> Any:
    """Return the value at a key of a mapping or list, or `...`."""
    if isinstance(node, dict):
        return node.get(key, ...)
    is_item = isinstance(node, list) and isinstance(key, int) and key < len(node)
    return node[key] if is_item else ...


def _reads_as_another_type(text: str) -> bool:
    try:
        json.loads(text.lower())
    except ValueError:
        return False
    return True
