"""Columns of text into which nobody can write what they like, and why: by the column's name, or by table and column."""

from collections.abc import Mapping
from typing import Final

_OURS: Final = "one of our own words"
_MADE: Final = "made by us: a hash, a mark, a number or an address of our own"
_NAME: Final = "the name of a person, a command or a schedule, which has letters, digits and hyphens and is checked"
CHOSEN_BY_NOBODY: Final[Mapping[str, str]] = {
    **dict.fromkeys(("kind", "status", "state", "door", "phase", "platform", "visibility", "verdict", "via", "choice"), _OURS),
    **dict.fromkeys(("digest", "policy", "code_version", "trace", "sha256", "key_id", "mark", "lane"), _MADE),
    **dict.fromkeys(("person", "asker", "owner", "command", "account", "by"), _NAME),
}
