"""views: which pages have filters that can be kept under a name, and which filters these are."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final
from urllib.parse import parse_qsl

from countersign.errors import BadArgument

LONGEST: Final = 200
LONGEST_NAME: Final = 40


class ViewPage(StrEnum):
    """A page with a list that is filtered."""

    runs = "runs"
    inbox = "inbox"
    audit = "audit"


FILTERS: Final[Mapping[ViewPage, tuple[str, ...]]] = {
    ViewPage.runs: ("q", "command", "asker", "group", "door", "status", "argument", "since", "until"),
    ViewPage.inbox: ("tab", "q"),
    ViewPage.audit: ("q", "kind", "actor", "run", "since", "until"),
}


def filters_of(page: ViewPage, written: str) -> dict[str, str]:
    """What stands in an address behind the question mark, `command=deploy&status=bad`, as filters of the page; raises BadArgument."""
    try:
        pairs = parse_qsl(written.strip().removeprefix("?"), strict_parsing=True, max_num_fields=len(FILTERS[page]))
    except ValueError:
        raise BadArgument("query", "should be what the page's address has behind the question mark: command=deploy&status=bad") from None
    if unknown := [name for name, _ in pairs if name not in FILTERS[page]]:
        raise BadArgument("query", f"{unknown[0][:20]!r} is no filter of {page}; there are {', '.join(FILTERS[page])}")
    if long := [name for name, value in pairs if len(value) > LONGEST or "\0" in value]:
        raise BadArgument("query", f"{long[0]} should have at most {LONGEST} characters")
    return dict(pairs)
