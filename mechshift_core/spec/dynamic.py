"""Parts of the grammar that the registered kinds decide, made when a spec is first read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import CoreSchema


def restored(make: Callable[[], Callable[..., Any]], fields: dict[str, Any]) -> Any:
    """A section of a class that is made, from what was pickled of it."""
    return make()(**fields)


def given(section: BaseModel) -> dict[str, Any]:
    """The fields of a section that were given, as :func:`restored` takes them."""
    return {name: getattr(section, name) for name in section.model_fields_set}


class Made:
    """An annotation: the type that a function makes takes the place of the one written.

    What is written is what a type checker sees.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def __get_pydantic_core_schema__(self, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The schema of what is made."""
        return handler.generate_schema(self._make())
