"""Mappings: which part of a payload becomes which argument, as expressions; one that cannot work is refused when it is written."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from countersign.commands import Command
from countersign.errors import BadArgument, CountersignError, MissingArguments
from countersign.schemas import Parameter

from .expressions import ExpressionError, Unreadable, Value, compile_value

PAYLOAD: Final[Mapping[str, str]] = {"payload": "dyn", "event": "string"}
"""What a mapping of a delivery looks at: its body, and what its sender calls it."""
LABELS: Final[Mapping[str, str]] = {"labels": "dyn", "annotations": "dyn"}
"""What a mapping of an alert looks at."""
LONGEST: Final = 4_000


class MappingError(CountersignError):
    """The mapping can never work; the message says where and why."""


class Unmapped(CountersignError):
    """This payload does not fit the mapping; the message says why."""


@dataclass(frozen=True)
class Mapped:
    """One argument and the expression that gives it; `at` is where that begins in the mapping's text, counted from 1."""

    name: str
    value: Value
    at: int


@dataclass(frozen=True)
class ArgumentMapping:
    """For one command: `arguments` are what it takes from a payload."""

    command: Command
    arguments: tuple[Mapped, ...]

    def read(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments for this payload, checked like typed ones; raises Unmapped. What is null counts as not given."""
        found = {}
        for one in self.arguments:
            try:
                found[one.name] = one.value.read(data)
            except Unreadable as error:
                raise Unmapped(f"{one.name}: {error}.") from None
        given = {name: value for name, value in found.items() if value not in (None, "")}
        try:
            self.command.schema.validate(given)
        except MissingArguments as error:
            raise Unmapped(f"{', '.join(error.names)}: the payload has nothing there, and {self.command.name} needs it.") from None
        except BadArgument as error:
            raise Unmapped(f"{error}.") from None
        return given


@lru_cache(maxsize=500)
def compile_filter(text: str, *, what: str = "only") -> Value | None:
    """The condition under which a delivery counts; None where there is none. Raises MappingError."""
    if not text.strip():
        return None
    try:
        return compile_value(text, PAYLOAD, condition=True)
    except ExpressionError as error:
        raise MappingError(f"{what}: {error}.") from None


def compile_mapping(text: str, command: Command, roots: Mapping[str, str] = PAYLOAD) -> ArgumentMapping:
    """Reads `name=EXPRESSION; name=EXPRESSION`; raises MappingError naming the character at which it cannot work."""
    if len(text) > LONGEST:
        raise MappingError(f"The mapping has {len(text)} characters; {LONGEST} are allowed.")
    known = {one.name: one for one in command.schema.parameters}
    found: dict[str, Mapped] = {}
    for name, source, at in _entries(text):
        if name in found:
            raise MappingError(f"At character {at}: {name} is given twice.")
        found[name] = Mapped(name, _value(command, known, name, source, at, roots), at)
    if missing := [one.name for one in command.schema.parameters if one.required and one.name not in found]:
        raise MappingError(f"{command.name} needs {', '.join(missing)}; say where each comes from, for instance {missing[0]}=payload.name")
    return ArgumentMapping(command, tuple(found.values()))


def _value(command: Command, known: Mapping[str, Parameter], name: str, source: str, at: int, roots: Mapping[str, str]) -> Value:
    parameter = known.get(name)
    if parameter is None:
        raise MappingError(f"At character {at}: {command.name} has no argument {name[:40]!r}; it takes {', '.join(known) or 'none'}.")
    if parameter.secret:
        raise MappingError(f"At character {at}: {name} is a secret, and what is delivered is kept as it came; leave it out.")
    try:
        value = compile_value(source, roots)
    except ExpressionError as error:
        raise MappingError(f"{name}, from character {at} on: {error}.") from None
    _check_kind(command, parameter, value, at)
    return value


def _check_kind(command: Command, parameter: Parameter, value: Value, at: int) -> None:
    """What is known without a payload: constants, and types that the argument can never have."""
    if value.kind == "bool" and not parameter.boolean:
        raise MappingError(f"{parameter.name}, from character {at} on: is true or false, which {parameter.name} cannot be.")
    if value.kind.startswith("list") and not parameter.many:
        raise MappingError(f"{parameter.name}, from character {at} on: is a list, and {parameter.name} takes one value.")
    if value.names:
        return
    try:
        command.schema.wanted(parameter.name, value.read({}))
    except (Unreadable, BadArgument) as error:
        raise MappingError(f"{parameter.name}, from character {at} on: {str(error).removeprefix(f'{parameter.name}: ')}.") from None


def _entries(text: str) -> Iterator[tuple[str, str, int]]:
    """Name, expression and where the expression begins, for each entry."""
    start = 0
    for part in _split(text):
        name, sign, source = part.partition("=")
        if part.strip():
            if not sign or not name.strip().isidentifier():
                raise MappingError(f"At character {start + 1}: write NAME=EXPRESSION, for instance service=payload.repository.name")
            begins = start + len(name) + 1 + len(source) - len(source.lstrip())
            yield name.strip(), source.strip(), begins + 1
        start += len(part) + 1


def _split(text: str) -> Iterator[str]:
    """Entries stand on lines of their own or between semicolons; inside quotes a semicolon is one."""
    quote, part = "", ""
    for one in text:
        if not quote and one in ";\n":
            yield part
            part = ""
            continue
        quote = "" if one == quote and not part.endswith("\\") else quote or (one if one in "\"'" else "")
        part += one
    yield part
