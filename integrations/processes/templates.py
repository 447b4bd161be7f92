"""The words of a command line with `{argument}` in them. Each word stays one word whatever is put into it; no shell reads it."""

import re
from collections.abc import Mapping, Sequence

_PART = re.compile(r"\{\{|\}\}|\{([a-z][a-z0-9_]*)\}|[{}]")


def names_in(word: str) -> set[str]:
    """The arguments a word names; raises ValueError with a sentence for a brace that is neither `{name}` nor doubled."""
    names = set()
    for match in _PART.finditer(word):
        if match[0] in "{}":
            raise ValueError(f"has a brace that is not '{{argument}}'; write '{match[0] * 2}' for a plain '{match[0]}'")
        if match[1]:
            names.add(match[1])
    return names


def filled(words: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """The command line with values in place, as many words as declared; what a value contains is never read again."""
    return [_PART.sub(lambda match: values[match[1]] if match[1] else match[0][0], word) for word in words]
