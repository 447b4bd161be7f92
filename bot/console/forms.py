"""Posted forms, read strictly, and the checks that a form came from our own page."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request

from bot.api.problems import Problem

MOST_FIELDS: Final = 120
_PAGE: Final = re.compile(r"/[a-z][a-z0-9/-]{0,100}\Z")


async def read_form(request: Request) -> dict[str, str]:
    """The fields by name; raises Problem 415 or 400 for anything a browser would not send."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Problem(415, "wrong_content_type", "This form can only be sent from its own page; go back and try again.")
    body = await request.body()
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(body), errors="strict", max_num_fields=MOST_FIELDS
        )
    except ValueError:
        raise Problem(400, "bad_input", "The form could not be read; go back, reload the page and try again.") from None
    fields = dict(pairs)
    if len(fields) != len(pairs) or any("\0" in one for pair in pairs for one in pair):
        raise Problem(400, "bad_input", "The form could not be read: a field is there twice or holds a NUL character.")
    return fields


def back_of(fields: Mapping[str, str]) -> str:
    """The page of ours that a form was sent from, where its answer belongs; empty for the room, and for anything that is not our path."""
    back = fields.get("back", "")
    return back if _PAGE.match(back) else ""


def page_of(path: str) -> str:
    """The page of ours that a path names, to go on to; the room for anything else."""
    return path if _PAGE.match(path) else "/"


def json_of(fields: Mapping[str, str], name: str) -> dict[str, Any] | None:
    """The JSON object that a script put into a field; None when the field is empty. Raises Problem 400."""
    if not fields.get(name):
        return None
    try:
        found = json.loads(fields[name])
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Problem(400, "bad_input", "The form could not be read; go back, reload the page and try again.")
    return found


def check_origin(request: Request, *, own: str) -> None:
    """Refuses what another site made the browser send; `own` is our address. Raises Problem 403."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        raise _foreign()
    if origin is not None and origin != own and urlsplit(origin).netloc != request.headers.get("host", ""):
        raise _foreign()
    if origin is None and site is None:
        raise _foreign()


def _foreign() -> Problem:
    return Problem(403, "foreign_origin", "This was sent from another site, so nothing was done. Open Countersign itself and do it there.")
