"""A field of the config that names something out of a registry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticKnownError, core_schema


@dataclass(frozen=True)
class OneOf:
    """Annotates a text that must be one of `names()`, a list that may grow; the error is that of a
    `Literal`."""

    names: Callable[[], Sequence[str]]

    def __get_pydantic_core_schema__(self, of: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._check, handler(of))

    def _check(self, value: Any) -> Any:
        if value not in (names := self.names()):
            expected = ", ".join(f"'{name}'" for name in names)
            raise PydanticKnownError("literal_error", {"expected": expected})
        return value
