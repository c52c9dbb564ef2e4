"""A user's code that a saved model needs, when loading it and in worker processes."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import keras


def foreign_code(path: Path) -> str | None:
    """Return what a `.keras` file needs beyond Keras: the name of a layer's class or of a function,
    such as `mine.Attention`; None if nothing, or if the file is damaged, which loading it
    reports."""
    try:
        with zipfile.ZipFile(path) as archive:
            network = json.loads(archive.read("config.json"))
    except (EOFError, KeyError, OSError, ValueError, zipfile.BadZipFile, zlib.error):
        return None
    network.pop("compile_config", None)  # used in training only; not loaded
    return next(_foreign(network), None)


def registered_here() -> dict[str, Any]:
    """Return what the user has registered with Keras and other processes cannot import: classes and
    functions of a notebook, a script or inside a function, by their registered names. What cannot
    be pickled is omitted."""
    import cloudpickle

    found = {}
    for name, thing in keras.saving.get_custom_objects().items():
        is_local = "<locals>" in getattr(thing, "__qualname__", "")
        if is_local or getattr(thing, "__module__", None) == "__main__":
            with suppress(Exception):  # their attributes may raise any error
                cloudpickle.dumps(thing)
                found[name] = thing
    return found


def register(found: Mapping[str, Any]) -> None:
    """Register these in this process, so that a saved model refers to them by the same names."""
    for registered, thing in found.items():
        package, separator, name = registered.rpartition(">")
        if separator:
            keras.saving.register_keras_serializable(package, name)(thing)
        else:
            keras.saving.get_custom_objects()[name] = thing


def _foreign(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        name, module = value.get("class_name"), value.get("module")
        if name == "__lambda__":
            yield "a lambda"
        elif name == "function":  # Keras's own functions are saved by name only
            yield str(value.get("config"))
        elif isinstance(module, str) and module.partition(".")[0] not in ("keras", "builtins"):
            yield f"{module}.{name}"
        elif name is not None and value.get("registered_name") not in (None, name):
            yield str(value["registered_name"])
        yield from (found for part in value.values() for found in _foreign(part))
    elif isinstance(value, list):
        yield from (found for part in value for found in _foreign(part))
