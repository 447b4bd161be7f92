"""What an expression may look at: each name with its type, the texts it can have, and how it is read from a request."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from enum import Enum
from typing import Any, Final, Literal, get_args, get_origin

from countersign.annotations import plain
from countersign.arguments import Duration, Parsed, Percent, ZonedTime
from countersign.calendars import DAYS
from countersign.commands import Command
from countersign.invocations import Door
from countersign.permissions import Risk
from countersign.schemas import Parameter
from store.people import Person

from .requests import Request

LONGEST_TEXT: Final = 2_000
MOST_ITEMS: Final = 100


class Unreadable(Exception):
    """A rule's expression could not be evaluated for a request; the message says why."""


@dataclass(frozen=True)
class Scene:
    """Who asks for what, as expressions look at it; `groups` and `roles` include what is inherited.

    `on_call` are the schedules by which they are on call now, None where the moment is not known. `known` is shared by the scenes of one
    request with other people: it keeps the answers of expressions that do not look at the person.
    """

    person: Person
    request: Request
    groups: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    on_call: frozenset[str] | None = frozenset()
    known: dict[int, Any] | None = None


@dataclass(frozen=True)
class Name:
    """`kind` is the type in CEL's words; `read` gives the value, or None where there is none. `choices` are all texts it can have."""

    kind: str
    read: Callable[[Scene], Any]
    choices: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()


def vocabulary_of(command: Command, zone: tzinfo) -> dict[str, Name]:
    """Everything that an expression about this command may look at; `time.…` is by the clocks of `zone`."""
    names = dict(_EVERYWHERE) | _times(zone)
    for one in command.schema.parameters:
        names[f"given.{one.name}"] = Name("bool", _given(one.name), values=(True, False))
        if (name := _argument(one)) is not None:
            names[f"args.{one.name}"] = name
    return names


def _argument(parameter: Parameter) -> Name | None:
    """None for a secret, and for what is neither a text, a number, a moment nor a list of those."""
    many = parameter.many
    found = None if parameter.secret else _kind_of(_item_of(parameter.kind) if many else parameter.kind)
    if found is None:
        return None
    name, convert, choices = found
    choices = choices or (parameter.choices if name == "string" else ())
    if many:
        return Name(f"list({name})", _each(parameter.name, convert), choices)
    values = (True, False) if name == "bool" else choices
    return Name(name, _one(parameter.name, convert), choices, values)


def _item_of(several: Any) -> Any:
    """The one type of a list's items; None when they may be of several."""
    inner = {plain(one) for one in get_args(several) if one is not Ellipsis}
    return inner.pop() if len(inner) == 1 else None if inner else str


def _kind_of(kind: Any) -> tuple[str, Callable[[Any], Any], tuple[str, ...]] | None:
    if get_origin(kind) is Literal and all(isinstance(one, str) for one in get_args(kind)):
        return "string", _text, get_args(kind)
    if not isinstance(kind, type):
        return None
    if issubclass(kind, Enum):
        return "string", _text, tuple(kind.__members__)
    return next(((name, convert, ()) for types, name, convert in _KINDS if issubclass(kind, types)), None)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("is not a text")
    if len(value) > LONGEST_TEXT:
        raise ValueError(f"has more than {LONGEST_TEXT:,} characters")
    return value


def _true_or_false(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is neither true nor false")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int):
        raise ValueError("is not a whole number")
    return value


# The first that fits: a bool is an int, and a percentage is a float and a parsed text.
_KINDS: Final[tuple[tuple[type | tuple[type, ...], str, Callable[[Any], Any]], ...]] = (
    (bool, "bool", _true_or_false),
    (int, "int", _whole),
    (Percent, "double", lambda value: float(Percent.parse(value))),
    (float, "double", float),
    (Duration, "duration", Duration.parse),
    (datetime, "timestamp", ZonedTime.parse),
    ((str, Parsed), "string", _text),
)


def _one(name: str, convert: Callable[[Any], Any]) -> Callable[[Scene], Any]:
    def read(scene: Scene) -> Any:
        value = scene.request.arguments.get(name)
        return None if value is None else _converted(name, value, convert)

    return read


def _each(name: str, convert: Callable[[Any], Any]) -> Callable[[Scene], Any]:
    def read(scene: Scene) -> Any:
        value = scene.request.arguments.get(name)
        if value is None:
            return None
        if not isinstance(value, list | tuple) or len(value) > MOST_ITEMS:
            raise Unreadable(f"args.{name} has more than {MOST_ITEMS} values")
        return [_converted(name, one, convert) for one in value]

    return read


def _converted(name: str, value: Any, convert: Callable[[Any], Any]) -> Any:
    try:
        return convert(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise Unreadable(f"args.{name} {error}") from None


def _given(name: str) -> Callable[[Scene], bool | None]:
    return lambda scene: None if scene.request.offered else scene.request.arguments.get(name) is not None


def _times(zone: tzinfo) -> dict[str, Name]:
    def local(scene: Scene) -> datetime | None:
        return scene.request.now.astimezone(zone) if scene.request.now else None

    def of(part: Callable[[datetime], Any]) -> Callable[[Scene], Any]:
        return lambda scene: part(now) if (now := local(scene)) else None

    return {
        "time.hour": Name("int", of(lambda now: now.hour), values=tuple(range(24))),
        "time.minute": Name("int", of(lambda now: now.minute), values=tuple(range(60))),
        "time.weekday": Name("string", of(lambda now: DAYS[now.weekday()]), DAYS, DAYS),
        "time.date": Name("string", of(lambda now: now.date().isoformat())),
        "time.now": Name("timestamp", local),
    }


_RISKS: Final = tuple(Risk.__members__)
_DOORS: Final = tuple(one.value for one in Door)
_EVERYWHERE: Final[Mapping[str, Name]] = {
    "person.name": Name("string", lambda scene: scene.person.name),
    "person.groups": Name("list(string)", lambda scene: sorted(scene.groups)),
    "person.roles": Name("list(string)", lambda scene: sorted(scene.roles)),
    "person.on_call": Name("list(string)", lambda scene: None if scene.on_call is None else sorted(scene.on_call)),
    "person.service": Name("bool", lambda scene: scene.person.service, values=(True, False)),
    "command": Name("string", lambda scene: scene.request.command.name if scene.request.command else None),
    "risk": Name("string", lambda scene: scene.request.command.risk.name if scene.request.command else None, _RISKS, _RISKS),
    "door": Name("string", lambda scene: scene.request.door.value, _DOORS, _DOORS),
    "channel": Name("string", lambda scene: scene.request.place.channel.removeprefix("#")),
    "reason": Name("string", lambda scene: None if scene.request.reason is None else scene.request.reason[:LONGEST_TEXT]),
}
