"""Cards, replies and runs as lines of text. What people typed is inert: no control character of it reaches the terminal."""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

# Controls, signs that turn the reading direction, and halves of surrogate pairs could forge what a terminal shows.
_HIDDEN: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_TONES: Final = {"waiting": "33", "busy": "36", "good": "32", "bad": "31"}
_BOLD: Final = "1"
_FAINT: Final = "2"


def is_coloured() -> bool:
    """Whether standard output is a terminal that wants colours (see no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def inert(text: object) -> str:
    """The text with tabs as spaces and everything that a terminal would obey replaced."""
    return _HIDDEN.sub("\N{REPLACEMENT CHARACTER}", str(text).replace("\r\n", "\n").replace("\t", "    "))


def card_lines(card: Mapping[str, Any], *, numbers: Sequence[int] = (), colour: bool = False) -> list[str]:
    """A card: its title, what it says, its fields, code and buttons; `numbers` are those that press the buttons."""
    title = _painted(inert(card["title"]).replace("\n", " "), f"{_BOLD};{_TONES.get(card.get('tone', ''), '39')}", colour)
    lines = [title, *_indented(card.get("text", ""))]
    fields = [(inert(one["label"]).replace("\n", " "), inert(one["value"])) for one in card.get("fields", ())]
    width = max((len(label) for label, _ in fields), default=0)
    for label, value in fields:
        first, *more = value.splitlines() or [""]
        lines += [f"  {label.ljust(width)}  {first}", *(f"  {' ' * width}  {line}" for line in more)]
    lines += [f"  │ {line}".rstrip() for line in inert(card.get("code", "")).splitlines()]
    if card.get("footer"):
        lines.append(_painted(f"  {inert(card['footer'])}", _FAINT, colour))
    lines += [f"  {inert(one['label'])}: {inert(one['link'])}" for one in card.get("buttons", ()) if one.get("link")]
    if buttons := [f"[{n}] {inert(one['label'])}" for n, one in zip(numbers, pressable(card), strict=False)]:
        lines.append(_painted("  " + "  ".join(buttons), _BOLD, colour))
    return lines


def pressable(card: Mapping[str, Any]) -> list[Any]:
    """The buttons that can be pressed in a terminal."""
    return [one for one in card.get("buttons", ()) if not one.get("only") and not one.get("link")]


def reply_lines(reply: Mapping[str, Any], *, numbers: Sequence[int] = (), colour: bool = False) -> list[str]:
    """A reply: its sentence, its preformatted lines and its card."""
    lines = inert(reply.get("text", "")).splitlines()
    lines += [f"  {line}".rstrip() for line in inert(reply.get("code", "")).splitlines()]
    card = reply.get("card")
    return lines + (card_lines(card, numbers=numbers, colour=colour) if card else [])


def run_line(run: Mapping[str, Any]) -> str:
    """One line of a list of runs."""
    arguments = " ".join(f"{name}={value}" for name, value in run.get("arguments", {}).items() if value not in (None, ""))
    status = str(run["status"]).replace("_", " ")
    asked = f"{run['command']} {arguments}{' (dry run)' if run.get('dry_run') else ''}"
    return inert(f"#{run['number']:<6}{status:<19}{run['asker']:<12}{asked}").replace("\n", " ").rstrip()


def _indented(text: object) -> list[str]:
    return [f"  {line}".rstrip() for line in inert(text).splitlines()]


def _painted(text: str, code: str, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour else text
