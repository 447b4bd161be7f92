"""What a check of `countersign doctor` finds."""

from dataclasses import dataclass


class Wrong(Exception):
    """The check failed; the message says what is wrong and what to do."""


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    part: str
    ok: bool
    said: str
