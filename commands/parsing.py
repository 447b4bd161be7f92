"""A line of text as a command and its arguments, forgiving what phones and word processors do to quotes and dashes."""

import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Self

from countersign.arguments import Parsed
from countersign.calendars import zone_of
from countersign.commands import Command
from countersign.errors import CountersignError
from countersign.moments import EXAMPLES
from countersign.records import value

LONGEST_TEXT: Final = 8_000
_CURLY: Final = str.maketrans(
    {"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "\u00a0": " ", "\u202f": " ", "\u2007": " "}
)
_NEEDS_LEXER = re.compile(r"[\"'\\]|[^\S \t\n\r]")
_LONG_DASH = re.compile(r"(^|\s)[—–]-?(?=\w)")
_NAMED = re.compile(r"([A-Za-z_][\w-]*)=(.*)\Z", re.DOTALL)


class NotUnderstood(CountersignError):
    """The text is not a command line; the message says where it breaks."""


@value
class Line:
    """A command line taken apart: words before any value is given a meaning."""

    words: tuple[str, ...]


class Words(Parsed):
    """All the words that are left, each as it was typed: `name=value …` about another command. As text only the names are left of them."""

    __slots__ = ("all",)
    hint = "name=value …"

    def __init__(self, words: Sequence[str] = ()) -> None:
        self.all = tuple(words)

    @classmethod
    def parse(cls, value: Any) -> Self:
        if isinstance(value, cls):
            return value
        try:
            words = split(value).words if isinstance(value, str) and value.strip() else [] if isinstance(value, str) else value or []
        except NotUnderstood as error:
            raise ValueError(str(error)) from None
        if not isinstance(words, list | tuple) or not all(isinstance(one, str) for one in words):
            raise ValueError("should be written as name=value …")
        return cls(words)

    def __str__(self) -> str:
        return " ".join(f"{one.partition('=')[0][:40]}=…" for one in self.all)


@value
class Call:
    """Arguments as typed for one command, and the options that every command understands."""

    arguments: Mapping[str, Any]
    dry_run: bool = False
    reason: str = ""
    at: str = ""
    help: bool = False


def split(text: str) -> Line:
    """The words of a command line; raises NotUnderstood for an open quote, an oversized or an empty text."""
    if len(text) > LONGEST_TEXT:
        raise NotUnderstood(f"The command is longer than {LONGEST_TEXT} characters.")
    if "\0" in text:
        raise NotUnderstood("The command contains a NUL character.")
    plain = (text if text.isascii() else _LONG_DASH.sub(r"\1--", text.translate(_CURLY))).strip()
    if not _NEEDS_LEXER.search(plain):
        return _line(tuple(plain.split()))
    lexer = shlex.shlex(plain, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters = True, ""
    lexer.quotes = '"' if plain.count("'") % 2 else "\"'"
    try:
        words = tuple(lexer)
    except ValueError:
        raise NotUnderstood('A quote is opened but not closed; write "…" around values with spaces.') from None
    return _line(words)


def _line(words: tuple[str, ...]) -> Line:
    if words:
        words = (words[0].removeprefix("/"), *words[1:])
    if not words or not words[0]:
        raise NotUnderstood("Say what to do, for instance: help")
    return Line(words)


def find_command(line: Line, names: Mapping[str, Command]) -> tuple[Command | None, Sequence[str]]:
    """The command that the first one or two words name, and the words after them."""
    first = line.words[0].lower()
    pair = " ".join(line.words[:2]).lower()
    if pair in names:
        return names[pair], line.words[2:]
    if first in names:
        return names[first], line.words[1:]
    return None, line.words[1:]


@dataclass
class _Reading:
    named: dict[str, Any] = field(default_factory=dict)
    positional: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)


def read_arguments(command: Command, words: Sequence[str]) -> Call:
    """Arguments as `name=value`, `--name value`, `--name=value` or by position; raises NotUnderstood with the usage.

    A word `--` ends options; `--dry-run`, `--reason "…"` and `--help` belong to every command, `--at "…"` to those that are planned.
    """
    reading = _Reading()
    rest = list(words)
    known = command.schema.names
    while rest:
        if _are_words(command, reading) and rest[0] != "--help":
            reading.named[command.schema.parameters[-1].name] = rest
            break
        word = rest.pop(0)
        if word == "--":
            reading.positional.extend(rest)
            break
        if word.startswith("--") and len(word) > 2:
            _read_option(command, reading, word[2:], rest)
        elif "=" in word and (match := _NAMED.match(word)) and match[1].replace("-", "_").lower() in known:
            _give(command, reading, match[1], _whole(command, match[1], match[2], rest))
        else:
            reading.positional.append(word)
    _place(command, reading)
    return Call(
        arguments=reading.named,
        dry_run="dry_run" in reading.options,
        reason=reading.options.get("reason", ""),
        at=reading.options.get("at", ""),
        help="help" in reading.options,
    )


def read_changes(command: Command, words: Sequence[str]) -> dict[str, str]:
    """Values for arguments of this command, each by its name; raises NotUnderstood for anything else."""
    reading = _Reading()
    rest = list(words)
    known = {one.name: one for one in command.schema.parameters}
    while rest:
        word = rest.pop(0)
        name, given, value = word.removeprefix("--").partition("=")
        key = name.replace("-", "_").lower()
        if key not in known or not (given or word.startswith("--")):
            names = ", ".join(known) or "none"
            raise NotUnderstood(f"'{word[:40]}' changes nothing: write name=value for arguments of {command.name} ({names}).")
        if not given and not known[key].boolean and not rest:
            raise NotUnderstood(f"{word} needs a value.")
        _give(command, reading, key, value if given else "yes" if known[key].boolean else rest.pop(0))
    return reading.named


def _are_words(command: Command, reading: _Reading) -> bool:
    """Whether what comes now is all for the last argument."""
    parameters = command.schema.parameters
    if not parameters or parameters[-1].kind is not Words or parameters[-1].name in reading.named:
        return False
    return len(reading.named) + len(reading.positional) >= len(parameters) - 1


def _read_option(command: Command, reading: _Reading, option: str, rest: list[str]) -> None:
    name, given, value = option.partition("=")
    key = name.replace("-", "_").lower()
    parameter = next((one for one in command.schema.parameters if one.name == key), None)
    valued = ("reason", "at") if command.kind == "command" else ("reason",)
    if parameter is None and key in ("dry_run", "help"):
        reading.options[key] = "yes"
    elif parameter is None and key not in valued:
        raise NotUnderstood(f"--{name[:40]} is not an option of {command.name}. Usage: {command.usage}")
    elif parameter is not None and parameter.boolean and not given:
        _give(command, reading, key, "yes")
    elif not given and not rest:
        raise NotUnderstood(f"--{name} needs a value. Usage: {command.usage}")
    elif parameter is None:
        _set(reading, command, key, value if given else rest.pop(0), rest)
    else:
        _give(command, reading, key, _whole(command, key, value if given else rest.pop(0), rest))


def _set(reading: _Reading, command: Command, key: str, value: str, rest: list[str]) -> None:
    if key in reading.options:
        raise NotUnderstood(f"--{key} is given twice. Usage: {command.usage}")
    reading.options[key] = _moment(value, rest) if key == "at" else value
    if key == "at" and not reading.options[key]:
        raise NotUnderstood(f"--at needs a time such as {EXAMPLES}.")


def _whole(command: Command, name: str, value: str, rest: list[str]) -> str:
    """A control that takes a moment takes it as the option does; what an author calls `at` is theirs."""
    return _moment(value, rest) if name.lower() == "at" and command.kind == "control" else value


def _moment(value: str, rest: list[str]) -> str:
    """A moment may be typed without quotes: a day or `in` takes the next word along, a time its zone."""
    words = [value.strip()]
    if rest and re.fullmatch(r"[A-Za-z]+|[0-9-]+", words[0]):
        words.append(rest.pop(0))
    if rest and _is_zone(rest[0]):
        words.append(rest.pop(0))
    return " ".join(words)


def _is_zone(word: str) -> bool:
    """Only names that can hardly be anything else: there are also time zones called Japan and GB."""
    with suppress(ValueError):
        return bool(zone_of(word)) and ("/" in word or word == "UTC")
    return False


def _give(command: Command, reading: _Reading, name: str, value: str) -> None:
    key = name.replace("-", "_").lower()
    if key in reading.named:
        raise NotUnderstood(f"{key} is given twice. Usage: {command.usage}")
    reading.named[key] = value


def _place(command: Command, reading: _Reading) -> None:
    free = [one.name for one in command.schema.parameters if one.name not in reading.named]
    if len(reading.positional) > len(free) and free and command.schema.parameters[-1].name == free[-1] and _takes_the_rest(command):
        split_at = len(free) - 1
        reading.positional[split_at:] = [" ".join(reading.positional[split_at:])]
    if len(reading.positional) > len(free):
        extra = reading.positional[len(free)][:40]
        raise NotUnderstood(f"'{extra}' is one value too many. Usage: {command.usage}")
    reading.named.update(zip(free, reading.positional, strict=False))


def _takes_the_rest(command: Command) -> bool:
    """A last free-text argument takes all remaining words, so that nobody has to quote a sentence."""
    last = command.schema.parameters[-1]
    return last.kind is str and not last.choices and last.source is None
