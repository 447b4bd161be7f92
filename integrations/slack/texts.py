"""People's words on their way to Slack: cleaned, escaped and cut, so that none of them means anything to Slack."""

import re
from collections.abc import Iterator
from typing import Any, Final

from integrations.slack.clients import escape

Json = dict[str, Any]

SECTION: Final = 3_000
_FENCE: Final = "```"
# One sign becomes at most five by escaping.
_LONGEST_ENTITY: Final = 5
# Controls, signs that turn the reading direction, and halves of surrogate pairs: they hide or forge what a card says.
_HIDDEN: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def cleaned(text: str) -> str:
    """The text with every sign that hides or forges replaced by a visible one."""
    if text.isprintable():  # none of them is, and most texts are short lines without any
        return text
    return _HIDDEN.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def inert(text: str, longest: int) -> str:
    """The text cleaned and escaped, cut to `longest` characters after escaping and never inside an entity."""
    escaped = escape(cleaned(text))
    if len(escaped) <= longest:
        return escaped
    cut = escaped[: longest - 1]
    opened = cut.rfind("&")
    return (cut[:opened] if opened >= 0 and ";" not in cut[opened:] else cut) + "…"


def plain(text: str, longest: int, *, instead: str = "–") -> Json:
    """A plain_text object, in which Slack reads no markup; `instead` is said where there is nothing to say."""
    return {"type": "plain_text", "text": inert(text.strip(), longest) or instead, "emoji": False}


def pieces(text: str, *, longest: int = SECTION) -> Iterator[str]:
    """The text in parts that are at most `longest` characters long once they are escaped, broken at line ends where there are any."""
    text = cleaned(text)
    if len(text) <= longest // _LONGEST_ENTITY:
        yield from (text,) if text.strip() else ()
        return
    part = ""
    for line in _lines(text, longest):
        if part and len(escape(part)) + 1 + len(escape(line)) > longest:
            yield part
            part = line
        else:
            part = f"{part}\n{line}" if part else line
    if part.strip():
        yield part


def code(part: str) -> Json:
    """One of the `pieces` as preformatted text; three backticks in it do not end it."""
    body = re.sub(r"`(?=``)", "`\u200b", escape(part))
    return {"type": "mrkdwn", "text": f"{_FENCE}\n{body}\n{_FENCE}", "verbatim": True}


def code_pieces(text: str) -> list[str]:
    """Pieces that still fit when they are fenced."""
    fitting = []
    for part in pieces(text.strip("\n"), longest=SECTION - 2 * len(_FENCE) - 2):
        # Only a text full of backticks grows by more than a fence when they are taken apart.
        fitting += [part] if len(code(part)["text"]) <= SECTION else list(pieces(part, longest=SECTION // 3))
    return fitting


def _lines(text: str, longest: int) -> Iterator[str]:
    sure = longest // _LONGEST_ENTITY
    for line in text.split("\n"):
        if len(escape(line)) <= longest:
            yield line
        else:
            yield from (line[start : start + sure] for start in range(0, len(line), sure))
