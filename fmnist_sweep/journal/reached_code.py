"""The names that code uses, and whether code belongs to the user or to a library."""

from __future__ import annotations

import dis
import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

_HAS_DOCSTRING = (
    0x4000000  # Python 3.13's flag; before, a function's first constant is the docstring
)


def full_name(value: Any) -> str:
    """Return a function's or class's module and name."""
    return f"{value.__module__}.{value.__qualname__}"


def is_found_by_name(value: Any) -> bool:
    """Whether a function or class can be looked up by its full name."""
    found: Any = sys.modules.get(value.__module__ or "")
    for name in value.__qualname__.split("."):
        found = inspect.getattr_static(found, name, None)
    return found is value


def names_in(code: CodeType) -> set[str]:
    """Return what code may use of a module: global names, attributes, and strings, with which
    `getattr` may be called."""
    texts = {text for text in code.co_consts if isinstance(text, str) and text.isidentifier()}
    return {*code.co_names, *texts, *(name for inner in _inner(code) for name in names_in(inner))}


def globals_in(code: CodeType) -> set[str]:
    """Return the names that code looks up in its module."""
    found = {
        str(instruction.argval)
        for instruction in dis.get_instructions(code)
        if instruction.opname.startswith("LOAD_")
        and instruction.opname.endswith(("GLOBAL", "GLOBALS", "NAME"))
    }
    return found.union(*map(globals_in, _inner(code)))


def imported_in(code: CodeType, namespace: Mapping[str, Any]) -> Iterator[ModuleType]:
    """Yield the user's modules that code imports when it runs; libraries and modules that cannot be
    imported are skipped."""
    instructions = list(dis.get_instructions(code))
    for at, instruction in enumerate(instructions):
        if instruction.opname != "IMPORT_NAME":
            continue
        level, wanted = instructions[at - 2].argval, instructions[at - 1].argval or ()
        try:
            package = str(namespace.get("__package__") or "")
            name = importlib.util.resolve_name("." * level + instruction.argval, package)
            if is_library_module(name):
                continue
            module = importlib.import_module(name)
            for below in wanted:
                if below != "*" and not hasattr(module, below):
                    importlib.import_module(f"{name}.{below}")
        except Exception:  # noqa: BLE001 - raised again when the builder is called
            continue
        yield module
    for inner in _inner(code):
        yield from imported_in(inner, namespace)


def constants_of(code: CodeType) -> tuple[Any, ...]:
    """Return code's constants, without its docstring."""
    constants = code.co_consts
    if not constants or not isinstance(constants[0], str) or code.co_name.startswith("<"):
        return constants
    if sys.version_info >= (3, 13):
        has_docstring = bool(code.co_flags & _HAS_DOCSTRING)
    else:
        has_docstring = bool(code.co_flags & inspect.CO_NEWLOCALS)
    return (None, *constants[1:]) if has_docstring else constants


def is_library(value: Any) -> bool:
    """Whether a function or class belongs to an installed library or to Python."""
    if isinstance(value, FunctionType):
        file = value.__code__.co_filename
        if not file.startswith("<") or file.startswith("<frozen"):
            return _is_library_file(file)  # a wrapper has the `__module__` of the wrapped function
    return is_library_module(value.__module__ or "builtins")


@functools.cache
def is_library_module(name: str) -> bool:
    """Whether a module belongs to an installed library or to Python."""
    top = name.partition(".")[0]
    if top in ("__main__", "__mp_main__"):  # a notebook's is started by a library
        return False
    try:
        spec = getattr(sys.modules.get(top), "__spec__", None) or importlib.util.find_spec(top)
    except (ImportError, ValueError):  # created dynamically
        return False
    if spec is None:
        return False
    places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
    return all(map(_is_library_file, places))


@functools.cache
def version_of(module: str) -> str | None:
    """Return the version of a module's library, if it is installed under the module's name; None
    for Python's own modules."""
    try:
        return importlib.metadata.version(module)
    except importlib.metadata.PackageNotFoundError:
        return None


def _inner(code: CodeType) -> Iterator[CodeType]:
    return (constant for constant in code.co_consts if isinstance(constant, CodeType))


_OURS = str(Path(__file__).parents[1]) + os.sep
_PYTHONS = tuple(
    os.path.realpath(sysconfig.get_path(name)) + os.sep for name in ("stdlib", "platstdlib")
)


@functools.cache
def _is_library_file(file: str) -> bool:
    if file in ("built-in", "frozen") or file.startswith("<frozen"):
        return True
    installed = {"site-packages", "dist-packages"} & set(Path(file).parts)
    return bool(installed) or file.startswith(_OURS) or os.path.realpath(file).startswith(_PYTHONS)
