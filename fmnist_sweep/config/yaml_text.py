"""Writes configs as YAML that OmegaConf reads back with the same values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from fmnist_sweep.config.load import first_line
from fmnist_sweep.config.messages import one_line
from fmnist_sweep.config.schema import SCHEMA_VERSION, RunConfig, check_schema_version
from fmnist_sweep.config.upgrade import upgraded
from fmnist_sweep.errors import ConfigError

_ON_ONE_LINE = 5
"""Maximum number of keys of a mapping written on one line."""


def config_yaml(config: RunConfig) -> str:
    """Return data, split, model and train; blocks contain only keys that differ from the
    defaults."""
    return to_yaml({"schema_version": SCHEMA_VERSION, **config.as_given()})


def read_config_yaml(text: str, *, of_sweep: bool = False) -> RunConfig:
    """Read the output of `config_yaml`; `of_sweep`: a sweep's whole config, whose data, split,
    model and train are returned.

    Raises:
        ConfigError: another version, or not a config.
    """
    try:
        values = OmegaConf.to_container(OmegaConf.create(text))
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(first_line(error)) from error
    if not isinstance(values, dict):
        raise ConfigError("must contain keys and values, not a list")
    try:
        check_schema_version(values.pop("schema_version", SCHEMA_VERSION))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    given = {
        str(key): value
        for key, value in values.items()
        if not of_sweep or key in RunConfig.model_fields
    }
    try:
        return RunConfig.model_validate(upgraded(given))
    except ValidationError as error:
        raise ConfigError(one_line(error, given)) from error


def read_yaml(text: str) -> Any:
    """Return the values of YAML text, resolved by OmegaConf; None if it is not YAML."""
    try:
        return OmegaConf.to_container(OmegaConf.create(text))
    except (ValueError, yaml.YAMLError, OmegaConfBaseException):
        return None


def to_yaml(values: dict[str, Any]) -> str:
    """Return YAML in the order of the keys; short lists and mappings are on one line.

    Numbers are written so that YAML 1.1 parsers read them as numbers too (`1.0e-05`).
    """
    text: str = yaml.dump(values, Dumper=_Dumper, sort_keys=False, width=100)
    return text


class _Dumper(yaml.SafeDumper):
    """Writes short lists and mappings of plain values on one line, as in conf/."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> Any:
        return super().represent_sequence(tag, sequence, flow_style=_is_flat(sequence))

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> Any:
        pairs = mapping.items() if isinstance(mapping, dict) else mapping
        one_line = len(pairs) <= _ON_ONE_LINE and _is_flat(value for _, value in pairs)
        return super().represent_mapping(tag, mapping, flow_style=one_line)

    def represent_str(self, data: str) -> Any:
        """Quote strings that OmegaConf would read as numbers; in YAML 1.1 `1e-4` is a string."""
        style = "'" if _reads_as_number(data) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indent the items of a list below its key."""
        super().increase_indent(flow, indentless=False)


_Dumper.add_representer(str, _Dumper.represent_str)


def _reads_as_number(text: str) -> bool:
    try:
        float(text.replace("_", ""))
    except ValueError:
        return False
    return True


def _is_flat(values: Iterable[Any]) -> bool:
    return not any(isinstance(value, dict | list) for value in values)
