"""One strict reading of what Slack sends: what could be read in two ways is not read at all."""

import json
import math
from typing import Any, Final
from urllib.parse import parse_qsl

Json = dict[str, Any]

DEEPEST: Final = 32
_MOST_FIELDS: Final = 64


class BadInput(Exception):
    """The body is not what its content type says, or it has two meanings."""


def read_form(body: bytes) -> dict[str, str]:
    """A form's fields; raises BadInput for a repeated name, for bytes that are not UTF-8 and for NUL."""
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError:
        raise BadInput from None
    fields = dict(pairs)
    if len(fields) != len(pairs) or "\0" in "".join(fields.values()):
        raise BadInput
    return fields


def read_json(text: str | bytes) -> Json:
    """A JSON object; raises BadInput for a repeated key, NaN and infinities, more than 32 levels, bad UTF-8, half a pair and NUL."""
    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
        data = json.loads(decoded, object_pairs_hook=_object, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        raise BadInput from None
    if not isinstance(data, dict):
        raise BadInput
    _check(data)
    return data


def _object(pairs: list[tuple[str, Any]]) -> Json:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise BadInput
    return made


def _refuse(_: str) -> None:
    raise BadInput


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise BadInput
    return number


def _check(data: Json) -> None:
    """Walks the whole value, level by level."""
    level: list[Any] = [data]
    for _ in range(DEEPEST):
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below += one
                below += one.values()
            elif isinstance(one, list):
                below += one
            elif isinstance(one, str) and not _writable(one):
                raise BadInput
        if not below:
            return
        level = below
    raise BadInput


def _writable(text: str) -> bool:
    """Whether the text can be written to UTF-8 and to Postgres."""
    if text.isascii():
        return "\0" not in text
    try:
        return "\0" not in text.encode().decode()
    except UnicodeEncodeError:
        return False
