"""Reads the user's files, `experiments/<group>/<name>.yaml`, and rejects everything but plain data.

Such files are shared between users, and Hydra would act on more than their values: a `hydra` key
can name code to run before the program's first line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fmnist_sweep.config.bounds import MOST_BYTES, REFERENCE, check_references, check_yaml
from fmnist_sweep.config.load import first_line
from fmnist_sweep.config.schema import SCHEMA_VERSION, check_schema_version
from fmnist_sweep.config.shipped import shipped_conf_dir
from fmnist_sweep.config.upgrade import missing_data_keys
from fmnist_sweep.errors import ConfigError

DATA_GROUPS = ("sweep", "best", "baseline")
OVERRIDABLE = ("data", "split", "model", "train", "tuner", "scheduler", "executor", "tracking")
_PLAIN = (dict, list, str, int, float, bool, type(None))
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,149}")
_LONGEST, _LONGEST_SWEEP_FILE = 150, 100
"""Maximum length of a name. A sweep's file names the sweep, which names its winner's file, each
longer by some digits."""
_PACKAGE = re.compile(r"^\s*#\s*@package\s+(.*?)\s*$", re.MULTILINE)


def find_data_file(folder: Path, choice: str) -> Path | None:
    """Return the file of a choice such as `sweep/mine`, or None if there is none.

    Choices of other groups return None too.

    Raises:
        ConfigError: the name is a path, leads out of its folder, or is used by a shipped file.
    """
    if ".." in Path(choice).parts:
        raise ConfigError(f"{_as_typed(choice)}: must be a name, not a path")
    group, _, name = choice.removesuffix(".yaml").partition("/")
    if group not in DATA_GROUPS or not name:
        return None
    most = _LONGEST_SWEEP_FILE if group == "sweep" else _LONGEST
    check_file_name(name, _as_typed(choice), most)
    path = folder / group / f"{name}.yaml"
    if not path.is_file():
        return None
    if not path.resolve().is_relative_to((folder / group).resolve()):
        raise ConfigError(f"{_told(path)}: is a link to a file outside its folder")
    if (shipped_conf_dir() / group / path.name).is_file():
        raise ConfigError(f"{_told(path)}: a shipped {group} has the same name; rename the file")
    return path


def check_file_name(name: str, told: str, most: int = _LONGEST) -> None:
    """Reject an invalid file name, or one of more than `most` characters; `told` is how the message
    calls it.

    Raises:
        ConfigError: the name is invalid.
    """
    if len(name) > most or not _NAME.fullmatch(name):
        raise ConfigError(
            f"{told}: must be a name of at most {most} letters, digits, '.', '_' and '-', "
            "not a path"
        )


def data_file_names(folder: Path, group: str) -> list[str]:
    """Return the names that can be chosen in a group, sorted."""
    return sorted(
        path.stem for path in (folder / group).glob("*.yaml") if _NAME.fullmatch(path.stem)
    )


def read_data_file(path: Path) -> DictConfig:
    """Read a file, and reject it unless it is plain data.

    Raises:
        ConfigError: invalid YAML; a key `hydra`, or one such as `_target_`, at any depth; a
            `defaults` entry that does more than choose from a shipped group; a `# @package` other
            than `_global_`; an interpolation other than a reference to another key; an address for
            results; a value that is not plain, or too many values; a `schema_version` other than
            this package's.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(f"{_told(path)}: must have at most {MOST_BYTES:,} bytes")
        text = path.read_text(encoding="utf-8")
        check_yaml(text)
        config = OmegaConf.create(text)
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{_told(path)}{line}: {error.problem}") from error
    except (ConfigError, OSError, ValueError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"{_told(path)}: {first_line(error)}") from error
    if not isinstance(config, DictConfig):
        raise ConfigError(f"{_told(path)}: must contain keys and values, not a list")
    for package in _PACKAGE.findall(text):
        if package != "_global_":
            raise ConfigError(
                f"{_told(path)}: '# @package {package}' is not allowed; only _global_ is"
            )
    content = OmegaConf.to_container(config, resolve=False)
    assert isinstance(content, dict)
    try:
        check_schema_version(content.get("schema_version", SCHEMA_VERSION))
    except ValueError as error:
        raise ConfigError(f"{_told(path)}: {error}") from error
    _check_defaults(content.pop("defaults", []), path)
    for key, value in _walk(content):
        _check_key(key, path)
        _check_value(key, value, path)
    try:
        check_references(content)  # Hydra's `--resolve` follows them before the config is validated
    except ConfigError as error:
        raise ConfigError(f"{_told(path)}: {error}") from error
    data = content.get("data")
    if "expected" in content and isinstance(data, dict) and {"class_names", "limit"} <= {*data}:
        # An exported config is whole: keys that it lacks came later, and mean what was before.
        config.data.update(missing_data_keys(data))
    return config


def _check_defaults(defaults: Any, path: Path) -> None:
    if not isinstance(defaults, list):
        raise ConfigError(f"{_told(path)}: defaults must be a list")
    for entry in defaults:
        if entry == "_self_":
            continue
        if isinstance(entry, dict) and len(entry) == 1:
            [(key, name)] = entry.items()
            is_ours = str(key) in [f"override /{group}" for group in OVERRIDABLE]
            if is_ours and isinstance(name, str) and _NAME.fullmatch(name):
                continue
            if is_ours and isinstance(name, bool):
                raise ConfigError(f"{_told(path)}: defaults: {key}: quote the name")
        raise ConfigError(
            f"{_told(path)}: defaults: {entry} is not allowed; only _self_ and "
            f"'override /GROUP: NAME' are, GROUP one of {', '.join(OVERRIDABLE)}"
        )


def _walk(node: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted path and the value of every key, at every depth."""
    if isinstance(node, dict | list):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            below = f"{at}.{key}" if at else str(key)
            yield below, value
            yield from _walk(value, below)


def _check_key(key: str, path: Path) -> None:
    for part in key.split("."):
        if part == "hydra" or re.fullmatch(r"_.*_", part) or "${" in part:
            raise ConfigError(f"{_told(path)}: {key}: a key '{part}' is not allowed in this file")


def _check_value(key: str, value: Any, path: Path) -> None:
    if not isinstance(value, _PLAIN):
        raise ConfigError(f"{_told(path)}: {key}: a {type(value).__name__} is not allowed")
    if key in ("tracking", "tracking.uri") and isinstance(value, str):
        raise ConfigError(
            f"{_told(path)}: {key}: not allowed in this file, because results could go anywhere; "
            "write it on the command line, or set MLFLOW_TRACKING_URI"
        )
    # Any braces are rejected: a resolver's name may itself be composed of references.
    if isinstance(value, str) and "${" in REFERENCE.sub("", value):
        raise ConfigError(
            f"{_told(path)}: {key}: '{value}' is not allowed; "
            "only a reference such as ${train.epochs} is"
        )


def _as_typed(choice: str) -> str:
    group, _, name = choice.partition("/")
    return f"{group}={name}"


def _told(path: Path) -> str:
    """Return the path relative to the working directory, if it is inside it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
