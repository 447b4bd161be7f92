"""Reading a signature's annotations: which type an argument has, whether it is optional, secret or one of a list."""

import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Final, get_args, get_origin

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from .arguments import Choices, Secret

SEVERAL: Final = (list, tuple, set, frozenset)


def hints_of(function: Callable[..., Any], *, name: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise TypeError(f"{name}: a type should be importable when the module is loaded, not only for type checkers: {error}") from None


def enum_by_name(annotation: Any) -> Any:
    """People type an enum's name or its value; pydantic alone takes only the value. Enums inside lists and options too."""
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return Annotated[annotation, _Named(annotation)]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return Annotated[enum_by_name(inner[0]), *inner[1:]]
    if origin in (typing.Union, types.UnionType):
        return typing.Union[tuple(map(enum_by_name, inner))]  # noqa: UP007  built from a tuple
    if origin in (*SEVERAL, dict):
        return origin[tuple(map(enum_by_name, inner))]
    return annotation


def plain(annotation: Any) -> Any:
    """The type itself, without Annotated and without `| None`."""
    if get_origin(annotation) is Annotated:
        return plain(get_args(annotation)[0])
    if get_origin(annotation) in (typing.Union, types.UnionType):
        inner = [one for one in get_args(annotation) if one is not type(None)]
        return plain(inner[0]) if len(inner) == 1 else str
    return annotation


def choices_of(annotation: Any) -> Choices | None:
    """The mark on the argument itself, also where `| None` stands around it; not one on the items of a list."""
    if get_origin(annotation) in (typing.Union, types.UnionType):
        return next((found for one in get_args(annotation) if (found := choices_of(one))), None)
    marks = get_args(annotation) if get_origin(annotation) is Annotated else ()
    return next((one for one in marks[1:] if isinstance(one, Choices)), None) or (choices_of(marks[0]) if marks else None)


def holds_secret(annotation: Any) -> bool:
    return annotation is Secret or any(map(holds_secret, get_args(annotation)))


@dataclass(frozen=True)
class _Named:
    kind: type[Enum]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._found, handler(source))

    def _found(self, value: Any) -> Any:
        return self.kind.__members__.get(value, value) if isinstance(value, str) and not isinstance(value, Enum) else value
