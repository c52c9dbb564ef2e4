"""Digests of what a builder refers to: its code, and the helpers, constants, arguments and
attributes that the code uses, in the user's own modules.

Digests are of bytecode and values, not of source text: comments, docstrings, line numbers and
locations do not matter, and an edited file whose old code is still in memory is not mistaken for
what is trained. Installed libraries count by name and version. Values without a digest (a lock, an
open file) count by type; names that are computed or read from a file are not detected.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePath
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MethodType,
    ModuleType,
)
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np

from fmnist_sweep.journal.reached_code import (
    constants_of,
    full_name,
    globals_in,
    imported_in,
    is_found_by_name,
    is_library,
    is_library_module,
    names_in,
    version_of,
)
from fmnist_sweep.journal.reached_network import content_of_network

ROOT = "build_model"
_DEEPEST = 100  # levels of nesting; Python's own limit is a thousand calls
_DIGITS = 16
_PLAIN = (type(None), bool, int, float, complex, bytes, type(...), type(NotImplemented))
_RECORDED_ELSEWHERE = {
    "fmnist_sweep",
    "keras",
    "numpy",
    "tensorflow",
}  # recorded in each run's environment
_NOT_OF_A_CLASS = {
    "__annotations__", "__dict__", "__doc__", "__firstlineno__", "__module__", "__qualname__",
    "__static_attributes__", "__weakref__", "_abc_impl",
}  # fmt: skip
_VARIADIC = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
_KIND_OF_FUNCTION = _VARIADIC | inspect.CO_GENERATOR | inspect.CO_COROUTINE


def reached_by(build_model: Callable[..., Any]) -> dict[str, str]:
    """Return a digest per part: the builder itself under `build_model`; what it refers to under its
    full name, such as `mine.WIDTH`; installed libraries with their versions.

    The same code and values give the same digests in any process with the same Python version.
    """
    walk = _Walk()
    walk.due[ROOT] = build_model
    while walk.due:
        name, value = walk.due.popitem()
        walk.parts[name] = ""  # marks it, in case of recursion
        walk.parts[name] = walk.part(name, value).hex()[:_DIGITS]
    return dict(sorted((walk.parts | walk.libraries).items()))


def differing_parts(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Return the parts that two processes both have with different content, without those of a
    script or a notebook, which are pickled by value."""
    shared = one.keys() & other.keys() - {ROOT}
    return sorted(
        name for name in shared if one[name] != other[name] and not name.startswith("__main__.")
    )


class _Walk:
    """The parts found so far, and those not processed yet."""

    def __init__(self) -> None:
        self.parts: dict[str, str] = {}
        self.libraries: dict[str, str] = {}
        self.due: dict[str, Any] = {}
        self._known: dict[
            int, tuple[Any, bytes]
        ] = {}  # with the value, so that its id is not reused
        self._above: list[int] = []

    def part(self, name: str, value: Any) -> bytes:
        """Return the digest of a part."""
        if isinstance(value, FunctionType) and name == full_name(value):
            return self._function(value)
        if isinstance(value, type) and name == full_name(value):
            return self._class(value)
        return self._digest(value)

    def _digest(self, value: Any) -> bytes:
        if type(value) in _PLAIN:
            return _hash(type(value).__name__, repr(value))
        if type(value) is str:
            return _hash("str", _without_place(value))
        if isinstance(value, ModuleType):  # passed as a value: any attribute may be used
            return self._module(value, set(vars(value)))
        if id(value) in self._known:
            return self._known[id(value)][1]
        if id(value) in self._above:
            return _hash("above", str(len(self._above) - self._above.index(id(value))))
        if len(self._above) >= _DEEPEST:
            return _hash("deep", full_name(type(value)))
        self._above.append(id(value))
        try:
            found = self._of(value)
        finally:
            self._above.pop()
        self._known[id(value)] = value, found
        return found

    def _of(self, value: Any) -> bytes:
        kind = type(value).__name__
        match value:
            case FunctionType() | type():
                return self._function_or_class(value)
            case CodeType():
                return self._code(value)
            case MethodType():
                return _hash(kind, *map(self._digest, (value.__func__, value.__self__)))
            case BuiltinFunctionType():
                owner = value.__self__
                bound = [] if owner is None or isinstance(owner, ModuleType) else [owner]
                return _hash(kind, full_name(value), *map(self._digest, bound))
            case classmethod() | staticmethod():
                return _hash(kind, self._digest(value.__func__))
            case property():
                return _hash(kind, *map(self._digest, (value.fget, value.fset, value.fdel)))
            case GetSetDescriptorType():
                return _hash(kind, value.__name__)
            case PurePath():
                return _hash("path", _without_place(str(value)))
        if type(value) in (tuple, list):
            return _hash(kind, *map(self._digest, value))
        if type(value) in (set, frozenset):
            return _hash(kind, *sorted(map(self._digest, value)))
        if type(value) in (dict, MappingProxyType):
            return _hash("dict", *self._pairs(value))
        return self._object(value)

    def _pairs(self, pairs: Mapping[Any, Any]) -> Iterator[bytes]:
        return (self._digest(either) for pair in pairs.items() for either in pair)

    def _function_or_class(self, value: Any) -> bytes:
        """Digest a function or class by name, if it is a part of its own or a library's."""
        name, has_name = full_name(value), is_found_by_name(value)
        if is_library(value):
            self._note_library(value.__module__ or "")
            if isinstance(value, type) or (has_name and is_library_module(value.__module__ or "")):
                return _hash("library", name)
            return _hash("library", name, *self._carried(value))  # such as a decorator's wrapper
        if has_name:
            return self._part(name, value)
        return self._function(value) if isinstance(value, FunctionType) else self._class(value)

    def _part(self, name: str, value: Any) -> bytes:
        if name not in self.parts:
            self.due[name] = value
        return _hash("part", name)

    def _function(self, function: FunctionType) -> bytes:
        code, inside = function.__code__, function.__globals__
        names = names_in(code)
        found = [self._digest(code), *self._carried(function)]
        found += [
            _hash(name, self._global(inside, name, names)) for name in sorted(globals_in(code))
        ]
        found += [self._module(module, names) for module in imported_in(code, inside)]
        return _hash("function", *found)

    def _carried(self, function: FunctionType) -> Iterator[bytes]:
        """Yield what a function has besides code: closure, defaults, attributes."""
        code = function.__code__
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            try:
                value = cell.cell_contents
            except ValueError:  # unassigned variable
                yield _hash("empty", name)
                continue
            is_module = isinstance(value, ModuleType)
            inside = self._module(value, names_in(code)) if is_module else self._digest(value)
            yield _hash(name, inside)
        yield self._digest(function.__defaults__)
        yield self._digest(function.__kwdefaults__)
        yield _hash("attributes", *self._pairs(dict(sorted(vars(function).items()))))

    def _global(self, namespace: Mapping[str, Any], name: str, names: set[str]) -> bytes:
        if name not in namespace or (name.startswith("__") and name.endswith("__")):
            return _hash("builtin, or a place")  # `__file__`
        value = namespace[name]
        if isinstance(value, ModuleType):
            return self._module(value, names)
        is_named = isinstance(value, FunctionType | type)
        if is_named and (is_library(value) or is_found_by_name(value)):
            return self._digest(value)
        return self._part(f"{namespace.get('__name__')}.{name}", value)

    def _module(self, module: ModuleType, names: set[str]) -> bytes:
        """Digest what code that contains these names can use of a module."""
        if is_library_module(module.__name__):
            self._note_library(module.__name__)
            return _hash("library", module.__name__)
        if id(module) in self._above:
            return _hash("module", module.__name__)
        self._above.append(id(module))
        inside = vars(module)
        taken = sorted(names & inside.keys())
        found = [_hash(name, self._global(inside, name, names)) for name in taken]
        self._above.pop()
        return _hash("module", module.__name__, *found)

    def _class(self, made: type) -> bytes:
        found = [*map(self._digest, made.__bases__), self._digest(type(made))]
        for name, value in sorted(vars(made).items()):
            if name in _NOT_OF_A_CLASS:
                continue
            is_method = isinstance(value, FunctionType) and not is_library(value)
            found.append(_hash(name, (self._function if is_method else self._digest)(value)))
        return _hash("class", *found)

    def _code(self, code: CodeType) -> bytes:
        counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
        flags = code.co_flags & _KIND_OF_FUNCTION
        arguments = code.co_varnames[: counts[0] + counts[2] + (flags & _VARIADIC).bit_count()]
        names = (code.co_names, arguments, code.co_freevars, code.co_cellvars)
        inside = map(self._digest, constants_of(code))
        return _hash("code", code.co_code, code.co_exceptiontable, repr((counts, flags, names)),
                     *inside)  # fmt: skip

    def _object(self, value: Any) -> bytes:
        kind = self._digest(type(value))
        wrapped = inspect.getattr_static(value, "__wrapped__", None)
        if wrapped is not None and _remembers_calls(value):
            return _hash("wrapper", kind, self._digest(wrapped))
        if isinstance(
            value, WeakKeyDictionary | WeakValueDictionary
        ):  # the cache of `singledispatch`
            return _hash("of a kind", kind)
        if isinstance(value, np.ndarray) and not value.dtype.hasobject:
            return _hash("array", kind, repr((value.dtype.descr, value.shape)), value.tobytes())
        network = content_of_network(value)
        if network is not None:
            return _hash("network", kind, *map(self._digest, network))
        try:
            made_by = value.__reduce_ex__(4)
        except Exception:  # noqa: BLE001 - a lock, an open file, or a class that cannot be pickled
            return _hash("of a kind", kind)
        if isinstance(made_by, str):
            return _hash("global", kind, made_by)
        state, items, pairs = (*made_by[2:], None, None, None)[:3]
        if type(state) is dict:
            state = sorted(state.items(), key=lambda pair: str(pair[0]))
        rest = (*made_by[:2], state, list(items or ()), list(pairs or ()))
        return _hash("object", kind, *map(self._digest, rest))

    def _note_library(self, module: str) -> None:
        top = module.partition(".")[0]
        version = None if top in _RECORDED_ELSEWHERE else version_of(top)
        if version is not None:
            self.libraries[top] = version


def _remembers_calls(wrapper: Any) -> bool:
    """Whether it is a wrapper of `functools.cache` or `tf.function`, whose caches are not code."""
    made = type(wrapper)
    return made is type(functools.cache(len)) or made.__module__.startswith("tensorflow.")


def _without_place(text: str) -> str:
    """Return a path inside the working directory as relative, so that a copied project is equal."""
    here = str(Path.cwd())
    return os.path.relpath(text, here) if text == here or text.startswith(here + os.sep) else text


def _hash(*pieces: str | bytes) -> bytes:
    whole = hashlib.sha256()
    for piece in pieces:
        data = piece.encode("utf-8", "surrogatepass") if isinstance(piece, str) else piece
        whole.update(len(data).to_bytes(8, "big"))
        whole.update(data)
    return whole.digest()
