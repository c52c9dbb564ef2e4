"""A training as a config file in `experiments/`, with what was recorded of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from fmnist_sweep.config.record_schema import Environment, Expected
from fmnist_sweep.config.schema import SCHEMA_VERSION, RunConfig
from fmnist_sweep.config.yaml_text import to_yaml
from fmnist_sweep.files import digest_of, write_text_whole

_RECORD = "expected"


def write_config_file(
    folder: Path,
    name: str,
    config: RunConfig,
    expected: Expected | None,
    header: Callable[[str], list[str]],
) -> Path:
    """Write a config into `folder`, and return its file.

    That is `<name>.yaml`; where this holds another config already, which is never overwritten, it
    is `<name>-<digits of the config>.yaml`. A file with this very config is left as it is.

    Args:
        folder: `experiments/best` or the like.
        name: what the file is to be called.
        config: what it says.
        expected: the record that a rerun is held to, None where there is none.
        header: gives the lines of the comment on top, from the file's name.
    """
    values: dict[str, Any] = {
        "defaults": [
            {"override /data": config.data.source},
            {"override /split": config.split.scheme},
        ],
        "schema_version": SCHEMA_VERSION,
        **config.as_given(),
    }
    path = folder / f"{name}.yaml"
    if path.exists() and _without_record(path) != values:
        path = folder / f"{name}-{digest_of(values)[:6]}.yaml"
    if not path.exists():
        write_text_whole(path, _text(header(path.stem), values, expected))
    return path


def environment_lines(environment: Environment) -> list[str]:
    """Return hardware and versions, as a header has them."""
    numerics = environment.numerics
    versions = {**numerics.versions, **environment.packages}
    return [
        f"Hardware:  {', '.join([numerics.cpu, *numerics.accelerators])}, "
        f"{numerics.threads} {'thread' if numerics.threads == 1 else 'threads'}",
        f"Versions:  {', '.join(f'{name} {version}' for name, version in versions.items())}",
    ]


def record_yaml(expected: Expected) -> str:
    """Return the record as the YAML that ends a config file."""
    comment = (
        "# What a rerun is held to, compared with nothing else than a rerun: not for editing.\n"
    )
    return comment + to_yaml({_RECORD: expected.model_dump()})


def _text(header: list[str], values: dict[str, Any], expected: Expected | None) -> str:
    lines = "\n".join(f"# {line}".rstrip() for line in header)
    record = "" if expected is None else record_yaml(expected)
    return f"# @package _global_\n{lines}\n{to_yaml(values)}{record}"


def _without_record(path: Path) -> Any:
    values = OmegaConf.to_container(OmegaConf.load(path))
    if isinstance(values, dict):
        values.pop(_RECORD, None)
    return values
