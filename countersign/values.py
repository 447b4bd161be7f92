"""Values as JSON data and as text, and which given values can be kept at all."""

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Final

from pydantic import PydanticUserError, TypeAdapter

from .annotations import SEVERAL
from .arguments import Parsed, Secret
from .canonical import canonical

SECRET_KEY: Final = "$secret"  # noqa: S105  the key under which a stored argument holds a secret's mark
REF_KEY: Final = "$result"
_DEEPEST: Final = 32
_UNKEPT: Final = re.compile("[\0\ud800-\udfff]")


def written_json(value: Any) -> Any:
    """A typed value as JSON data; a Secret is left as it is, an Enum becomes its name, a set is sorted.

    Raises TypeError when JSON has no form for it.
    """
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, Secret) or value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Parsed):
        return str(value)
    if isinstance(value, str | float):
        return value
    if isinstance(value, list | tuple):
        return [written_json(one) for one in value]
    if isinstance(value, set | frozenset):
        return sorted(map(written_json, value), key=canonical)
    if isinstance(value, Mapping):
        return {written(key): written_json(one) for key, one in value.items()}
    try:
        return TypeAdapter(type(value)).dump_python(value, mode="json")
    except (PydanticUserError, ValueError):
        raise TypeError(f"a {type(value).__qualname__} cannot be written as JSON") from None


def written(value: Any) -> str:
    """A typed value as the text a person would type."""
    data = written_json(value)
    if isinstance(data, bool):
        return "yes" if data else "no"
    if isinstance(data, list):
        return ",".join(map(written, data))
    return "" if data is None else str(data)


def problem_of(given: Any) -> str:
    """Why a value cannot be kept, however its argument is typed: Postgres holds no NUL, and our own marks cannot be forged."""
    layer = [given]
    for _ in range(_DEEPEST):
        if problem := next(filter(None, map(_problem_alone, layer)), ""):
            return problem
        layer = [one for one in layer if not isinstance(one, str)]
        mappings = [one for one in layer if isinstance(one, Mapping)]
        if forged := next((key for one in mappings for key in (SECRET_KEY, REF_KEY) if key in one), None):
            return f"may not have the key {forged!r}, which Countersign uses itself"
        layer = [inner for one in layer for inner in _inside(one)]
        if not layer:
            return ""
    return f"is nested more than {_DEEPEST} deep"


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return (*value.keys(), *value.values())
    return value if isinstance(value, SEVERAL) else ()


def _problem_alone(value: Any) -> str:
    if isinstance(value, str) and _UNKEPT.search(value):
        return "should be text without NUL characters or broken Unicode"
    return "should be a number of at most 300 digits" if isinstance(value, int) and value.bit_length() > 996 else ""
