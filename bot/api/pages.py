"""Cursor pagination: an opaque cursor says where the next page begins."""

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import Query

from .problems import Problem

MOST: Final = 200
Limit = Annotated[int, Query(ge=1, le=MOST, description="At most this many on one page.")]
After = Annotated[str | None, Query(alias="cursor", max_length=120, description="`next` of the page before.")]


def page(items: Sequence[Any], following: tuple[int, ...] | None) -> dict[str, Any]:
    """A page: its items, and the cursor of the next one or null."""
    return {"items": list(items), "next": cursor_of(*following) if following else None}


def cursor_of(*numbers: int) -> str:
    return base64.urlsafe_b64encode(".".join(map(str, numbers)).encode()).decode().rstrip("=")


def numbers_in(cursor: str | None, *, count: int) -> tuple[int, ...] | None:
    """The numbers in a cursor of ours, None without one; raises Problem 400 for anything else."""
    if cursor is None:
        return None
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        numbers = tuple(int(one) for one in base64.urlsafe_b64decode(padded).decode("ascii").split("."))
    except (ValueError, binascii.Error):
        numbers = ()
    if len(numbers) != count or any(not 0 <= one < 2**63 for one in numbers):
        raise Problem(400, "bad_input", "cursor: is not one that this API gave out; leave it out to begin at the newest.")
    return numbers
