"""What the schema allows at a path, in words: the keys of a block, the values of a leaf."""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fmnist_sweep.config.one_of import OneOf
from fmnist_sweep.config.schema import Config

Path = Sequence[str | int]


def allowed_keys(path: Path, given: Any = None) -> list[str]:
    """Return the keys of the block at a path, in the schema's order.

    Empty if there is no such block, or its keys are free. `given` is the whole config as it was
    given, which determines the member of a union (such as `data`).
    """
    keys: dict[str, None] = {}
    for kind in _kinds_at(path, given):
        if _is_block(kind):
            keys |= dict.fromkeys(kind.model_fields)
    return list(keys)


def allowed_values(path: Path, given: Any = None) -> str:
    """Return in words what is allowed at a path, such as `a whole number of at least 1`."""
    return " or ".join(dict.fromkeys(_in_words(kind) for kind in _kinds_at(path, given)))


def is_free_block(path: Path) -> bool:
    """Return whether the path leads to, or into, a block with free keys."""
    return any(
        get_origin(_bare(kind)) is dict
        for length in range(1, len(path) + 1)
        for kind in _kinds_at(path[:length], None)
    )


def tags_with(path: Path) -> list[str]:
    """Return the tags, such as `hyperband`, of the members of a union that have that key."""
    return [
        get_args(field.annotation)[0]
        for kind in _kinds_at(path[:-1], None)
        if _is_block(kind) and path[-1] in kind.model_fields
        for field in kind.model_fields.values()
        if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1
    ]


def paths_to(key: str, below: Path = (), given: Any = None) -> list[str]:
    """Return the dotted paths, in the block at `below` and nested ones, that end in a key."""
    found: list[str] = []
    for name in allowed_keys(below, given):
        path = (*below, name)
        if name == key:
            found.append(".".join(map(str, path)))
        found += paths_to(key, path, given)
    return found


def _kinds_at(path: Path, given: Any) -> list[Any]:
    """Return the possible types of the value at a path, with unions expanded."""
    kinds: list[Any] = [Config]
    for key in path:
        kinds = [inner for kind in kinds for inner in _step(kind, key)]
        given = _value_in(given, key)
        kinds = _as_tagged(kinds, given)
    return kinds


def _step(kind: Any, key: str | int) -> Iterator[Any]:
    bare = _bare(kind)
    if _is_block(bare):
        field = bare.model_fields.get(str(key))
        if field is not None:
            yield from _members(_with_bounds(field))
    elif get_origin(bare) is list and str(key).isdigit():
        yield from _members(get_args(bare)[0])
    elif get_origin(bare) is dict:
        yield from _members(get_args(bare)[1])


def _members(kind: Any) -> Iterator[Any]:
    """Expand unions, including those in Annotated."""
    bare = _bare(kind)
    if get_origin(bare) in (Union, types.UnionType):
        for member in get_args(bare):
            yield from _members(member)
    else:
        yield kind


def _as_tagged(kinds: list[Any], given: Any) -> list[Any]:
    """Keep only the blocks whose tag (a literal with one value) equals the given one, if any do."""
    if not isinstance(given, dict):
        return kinds
    tagged = [
        kind
        for kind in kinds
        if _is_block(kind)
        and any(
            get_args(field.annotation) == (given.get(name),)
            for name, field in kind.model_fields.items()
        )
    ]
    return tagged or kinds


def _value_in(given: Any, key: str | int) -> Any:
    if isinstance(given, dict):
        return given.get(key)
    if isinstance(given, list) and str(key).isdigit() and int(key) < len(given):
        return given[int(key)]
    return None


def _with_bounds(field: FieldInfo) -> Any:
    return Annotated[field.annotation, field] if field.metadata else field.annotation


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _bounds(kind: Any) -> dict[type, Any]:
    """Return the limits of an annotated type: Ge, Gt, Le, Lt, MinLen, MaxLen, OneOf."""
    if get_origin(kind) is not Annotated:
        return {}
    limits: dict[type, Any] = {}
    for mark in get_args(kind)[1:]:
        for limit in mark.metadata if isinstance(mark, FieldInfo) else [mark]:
            limits[type(limit)] = limit
    return limits


def _is_block(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _in_words(kind: Any) -> str:
    bare, limits = _bare(kind), _bounds(kind)
    if get_origin(bare) is Literal or OneOf in limits:
        names = list(map(str, limits[OneOf].names() if OneOf in limits else get_args(bare)))
        return names[0] if len(names) == 1 else f"one of {', '.join(names)}"
    if get_origin(bare) is list:
        least, most = limits.get(MinLen), limits.get(MaxLen)
        return "a list" + _length(least and least.min_length, most and most.max_length)
    plain = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "text",
        types.NoneType: "null",
    }
    return plain.get(bare, "a block of keys") + _range(limits)


def _length(least: int | None, most: int | None) -> str:
    if least is None and most is None:
        return ""
    if least == most:
        return f" of {least}"
    return f" of {least or 0} to {most}" if most is not None else f" of at least {least}"


def _range(limits: dict[type, Any]) -> str:
    words = []
    if Ge in limits:
        words.append(f"at least {limits[Ge].ge:.15g}")
    if Gt in limits:
        words.append(f"more than {limits[Gt].gt:.15g}")
    if Le in limits:
        words.append(f"at most {limits[Le].le:.15g}")
    if Lt in limits:
        words.append(f"less than {limits[Lt].lt:.15g}")
    return f" of {' and '.join(words)}" if words else ""
