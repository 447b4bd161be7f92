"""Labels: where a run may be carried out: `runs_on="dc2"` leaves it to workers that were started with that label."""

import re
from typing import Final

LABEL: Final = r"[a-z0-9][a-z0-9_.-]{0,39}"
_LABEL = re.compile(LABEL)


def checked_label(text: str, *, of: str) -> str:
    """The label as it is, empty for none; raises TypeError for what can be none."""
    if text and not _LABEL.fullmatch(text):
        raise TypeError(f"{of}: runs_on {text!r} should be one label of lower-case letters, digits, '.', '_' and '-', for instance 'dc2'")
    return text


def labels_in(text: str) -> tuple[str, ...]:
    """The labels in a list such as `dc2, gpu`, each once; raises ValueError."""
    found = tuple(dict.fromkeys(text.replace(",", " ").split()))
    if wrong := [one for one in found if not _LABEL.fullmatch(one)]:
        raise ValueError(f"{wrong[0]!r} should be a label of lower-case letters, digits, '.', '_' and '-'")
    return found
