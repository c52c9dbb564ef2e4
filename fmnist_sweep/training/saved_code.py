"""Whether a saved model can be loaded where only Keras is installed."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def foreign_code(path: Path) -> str | None:
    """Return what a `.keras` file needs that is not Keras's own: the name of a layer's class or of
    a function, such as `mine.Attention`; None where it needs nothing, or is damaged, as loading it
    will tell."""
    try:
        with zipfile.ZipFile(path) as archive:
            network = json.loads(archive.read("config.json"))
    except (EOFError, KeyError, OSError, ValueError, zipfile.BadZipFile, zlib.error):
        return None
    network.pop("compile_config", None)  # of the training; nobody loads it
    return next(_foreign(network), None)


def _foreign(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        name, module = value.get("class_name"), value.get("module")
        if name == "__lambda__":
            yield "a lambda"
        elif name == "function":  # Keras's own functions are written by their names alone
            yield str(value.get("config"))
        elif isinstance(module, str) and module.partition(".")[0] not in ("keras", "builtins"):
            yield f"{module}.{name}"
        elif name is not None and value.get("registered_name") not in (None, name):
            yield str(value["registered_name"])
        yield from (found for part in value.values() for found in _foreign(part))
    elif isinstance(value, list):
        yield from (found for part in value for found in _foreign(part))
