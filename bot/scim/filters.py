"""Filters (RFC 7644, section 3.4.2.2): `attribute eq value`, several of them joined by `and`, which is all that directories send."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from .problems import ScimProblem

LONGEST: Final = 2_000
_CORE: Final = re.compile(r"urn:ietf:params:scim:schemas:core:2\.0:(?:user|group):", re.IGNORECASE)
_ONE: Final = re.compile(
    r"\s*(?P<path>[A-Za-z][\w$:.-]*(?:\[[^\]]*\])?(?:\.[A-Za-z][\w$-]*)?)\s+eq\s+(?P<value>\"(?:[^\"\\]|\\.)*\"|true|false)\s*(?P<rest>.*)\Z",
    re.IGNORECASE | re.DOTALL,
)
_AND: Final = re.compile(r"and\s+(.*)\Z", re.IGNORECASE | re.DOTALL)
_SELECTED: Final = re.compile(r"([A-Za-z]\w*)\[.*\]\.(\w+)\Z")


@dataclass(frozen=True)
class Equal:
    """One condition: the attribute's path in lower case, and what it should be."""

    path: str
    value: str | bool

    def holds(self, item: Mapping[str, Any]) -> bool:
        """Whether an element of a multi-valued attribute meets it; upper and lower case of a text are the same."""
        found = next((value for name, value in item.items() if name.lower() == self.path), None)
        if isinstance(found, str) and isinstance(self.value, str):
            return found.lower() == self.value.lower()
        return found is not None and found == self.value


def read_filter(text: str) -> list[Equal]:
    """The conditions, all of which have to hold; raises ScimProblem invalidFilter."""
    found, rest = [], text
    while True:
        match = _ONE.match(rest) if len(text) <= LONGEST else None
        if match is None:
            raise ScimProblem(400, 'filter: should read like userName eq "ada", several joined by and', "invalidFilter")
        found.append(Equal(_path(match["path"]), _value(match["value"])))
        if not match["rest"]:
            return found
        following = _AND.match(match["rest"])
        if following is None:
            raise ScimProblem(400, "filter: only eq and and are known here", "invalidFilter")
        rest = following[1]


def _path(written: str) -> str:
    """`emails[type eq "work"].value` means `emails.value` where something is looked for."""
    plain = _CORE.sub("", written)
    selected = _SELECTED.match(plain)
    return (f"{selected[1]}.{selected[2]}" if selected else plain).lower()


def _value(written: str) -> str | bool:
    if written.lower() in ("true", "false"):
        return written.lower() == "true"
    try:
        return str(json.loads(written))
    except ValueError:
        raise ScimProblem(400, "filter: a text is not well quoted", "invalidFilter") from None
