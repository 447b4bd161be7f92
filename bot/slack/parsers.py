"""One strict reading of what Slack sends: what could be read in two ways is not read at all."""

import json
import math
import re
from typing import Any, Final
from urllib.parse import unquote

Json = dict[str, Any]

DEEPEST: Final = 32
_MOST_FIELDS: Final = 64
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
# What an escape of one ASCII character means; NUL is not among them.
_ESCAPES: Final = {written: chr(code) for code in range(1, 128) for one in (f"{code:02x}",) for written in (one, one.upper(), one.title())}


class BadInput(Exception):
    """The body is not what its content type says, or it has two meanings."""


def read_form(body: bytes) -> dict[str, str]:
    """A form's fields; raises BadInput for a repeated name, a broken escape, bytes that are not UTF-8, and NUL."""
    if b"\0" in body:
        raise BadInput
    fields = {}
    try:
        pairs = body.decode("ascii").replace("+", " ").split("&", _MOST_FIELDS)
        for pair in pairs:
            name, sign, value = pair.partition("=")
            if sign:
                fields[_decoded(name) if "%" in name else name] = _decoded(value) if "%" in value else value
    except ValueError:
        raise BadInput from None
    if len(fields) != len(pairs) or len(pairs) > _MOST_FIELDS:
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


def _decoded(text: str) -> str:
    """One name or value with escapes. urllib's own reader takes several times as long and lets broken ones pass."""
    first, *rest = text.split("%")
    try:
        return first + "".join([_ESCAPES[one[:2]] + one[2:] for one in rest])
    except KeyError:  # not ASCII, or not right
        return _decoded_slowly(text)


def _decoded_slowly(text: str) -> str:
    if _BROKEN_ESCAPE.search(text):
        raise BadInput
    decoded = unquote(text, errors="strict")
    if "\0" in decoded:
        raise BadInput
    return decoded


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
