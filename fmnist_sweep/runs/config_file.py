"""Config files of trainings in `experiments/`, with their records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fmnist_sweep.config.messages import counted
from fmnist_sweep.config.record_schema import Environment, Expected
from fmnist_sweep.config.schema import SCHEMA_VERSION, RunConfig
from fmnist_sweep.config.yaml_text import read_yaml, to_yaml
from fmnist_sweep.files import digest_of, write_text_whole

_RECORD = "expected"
RECORD_COMMENT = "# A rerun is compared with this record; do not edit."


@dataclass(frozen=True)
class ConfigFile:
    """A config file; `is_new` is False if it existed already with the same content."""

    path: Path
    is_new: bool


def write_config_file(
    folder: Path,
    name: str,
    config: RunConfig,
    expected: Expected | None,
    header: Callable[[str], list[str]],
) -> ConfigFile:
    """Write a config and its record into `folder`.

    The file is `<name>.yaml`, or, if that exists with other content (it is never overwritten),
    `<name>-<digits of the content>.yaml`. A file with the same content is left as it is.

    Args:
        folder: `experiments/best` or the like.
        name: the file's name.
        config: the config to write.
        expected: the record that a rerun is compared with; None for none.
        header: returns the lines of the header comment, given the file's name.
    """
    values: dict[str, Any] = {
        "defaults": [
            {"override /data": config.data.source},
            {"override /split": config.split.scheme},
        ],
        "schema_version": SCHEMA_VERSION,
        **config.as_given(),
    }
    record = {} if expected is None else {_RECORD: expected.model_dump()}
    path = folder / f"{name}.yaml"
    if path.exists() and _content(path) != {**values, **record}:
        path = folder / f"{name}-{digest_of({**values, **record})[:6]}.yaml"
    if path.exists():
        return ConfigFile(path, is_new=False)
    text = f"# @package _global_\n{comment(header(path.stem))}{to_yaml(values)}"
    write_text_whole(path, text + ("" if expected is None else record_yaml(expected)))
    return ConfigFile(path, is_new=True)


def comment(lines: Sequence[str]) -> str:
    """Return lines as YAML comments; line breaks in them are escaped."""
    return "".join(f"# {' '.join(line.splitlines())}".rstrip() + "\n" for line in lines)


def environment_lines(environment: Environment) -> list[str]:
    """Return hardware and versions as lines of a header."""
    numerics = environment.numerics
    versions = {**numerics.versions, **environment.packages}
    return [
        f"Hardware:  {', '.join([numerics.cpu, *numerics.accelerators])}, "
        f"{counted(numerics.threads, 'thread')}",
        f"Versions:  {', '.join(f'{name} {version}' for name, version in versions.items())}",
    ]


def record_yaml(expected: Expected) -> str:
    """Return the record as YAML, for the end of a config file."""
    return f"{RECORD_COMMENT}\n{to_yaml({_RECORD: expected.model_dump()})}"


def _content(path: Path) -> Any:
    try:
        return read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # not one of our files
