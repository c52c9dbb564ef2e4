"""Limits the size of a config, because a few lines of YAML can expand to billions of values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from fmnist_sweep.errors import ConfigError

REFERENCE = re.compile(r"\$\{(\w+(?:\.\w+)*)\}")
"""A reference to another key, such as `${train.epochs}`, from the root."""
MOST_BYTES = 256 * 1024
"""Of a config file."""
_DEEPEST, _MOST_VALUES, _LONGEST_NUMBER = 50, 100_000, 100
_MOST_REFERRED_TO = 1_000_000
_NUMBER = re.compile(r"[-+]?[0-9][0-9A-Fa-fx_:.]*")


def check_yaml(text: str) -> None:
    """Reject YAML that would take long to load; only its events are read, no values are built.

    Raises:
        ConfigError: nested too deeply, an alias that refers to itself, too many values with aliases
            expanded, or a number that is too long.
        YAMLError: invalid YAML.
    """
    sizes: dict[str, int] = {}
    open_sizes, anchors = [0], [""]
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            open_sizes.append(1)
            anchors.append(event.anchor or "")
            if len(open_sizes) > _DEEPEST:
                raise ConfigError(f"values are nested more than {_DEEPEST} levels deep")
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            size, anchor = open_sizes.pop(), anchors.pop()
        elif isinstance(event, yaml.ScalarEvent):
            size, anchor = 1, event.anchor or ""
            if len(event.value) > _LONGEST_NUMBER and _NUMBER.fullmatch(event.value):
                raise ConfigError(f"a number has {len(event.value):,} characters")
        elif isinstance(event, yaml.AliasEvent):
            alias = event.anchor or ""
            if alias in anchors:
                raise ConfigError(f"*{alias} is an alias that refers to itself")
            size, anchor = sizes.get(alias, 1), ""
        else:
            continue
        sizes[anchor] = size
        open_sizes[-1] += size
        if open_sizes[-1] > _MOST_VALUES:
            raise ConfigError(f"expands to more than {_MOST_VALUES:,} values")


def check_references(config: Mapping[Any, Any]) -> None:
    """Reject references that would multiply: the target of a reference must not contain references,
    and the total size is limited.

    Raises:
        ConfigError: names the key.
    """
    total = 0
    for key, text in texts(config):
        for path in REFERENCE.findall(text):
            target = _at(config, path)
            if any("${" in below for _, below in texts(target, path)):
                raise ConfigError(
                    f"{key}: ${{{path}}} leads to references; a reference must lead to a value"
                )
            total += _size(target)
            if total > _MOST_REFERRED_TO:
                raise ConfigError(f"{key}: the references expand to too many values")


def texts(node: Any, at: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted path and the text of every string, at every depth."""
    if isinstance(node, str):
        yield at, node
    elif isinstance(node, dict | list):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from texts(value, f"{at}.{key}" if at else str(key))


def _at(node: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(node, dict):
            node = node.get(part, node.get(int(part)) if part.isdecimal() else None)
        elif isinstance(node, list) and part.isdecimal() and int(part) < len(node):
            node = node[int(part)]
        else:
            return None
    return node


def _size(node: Any) -> int:
    if isinstance(node, dict | list):
        return 1 + sum(map(_size, node.values() if isinstance(node, dict) else node))
    return len(node) if isinstance(node, str) else 1
