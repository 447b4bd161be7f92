"""Ready-made argument types. Each reads what a person types and has one canonical text."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

_UNITS: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([dhms])\s*")
_DURATION = re.compile(rf"(?:{_PART.pattern})+\Z")
_MICROSECOND: Final = timedelta(microseconds=1)


class Parsed:
    """Base of types that read one text: pydantic validates with `parse` and writes with `str()`."""

    __slots__ = ()
    hint: ClassVar[str] = "text"

    @classmethod
    def parse(cls, value: Any) -> Self:
        raise NotImplementedError

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse, serialization=core_schema.plain_serializer_function_ser_schema(str))

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "description": cls.hint}


class Duration(Parsed, timedelta):
    """A length of time typed as `90s`, `5m`, `1h30m` or `2d`; a plain number is refused because its unit is not clear."""

    hint = "a duration such as 90s, 5m, 1h30m or 2d"

    @classmethod
    def parse(cls, value: Any) -> Self:
        seconds = value.total_seconds() if isinstance(value, timedelta) else cls._read(value)
        if not 0 <= seconds <= 3_650 * _UNITS["d"]:
            raise ValueError("should be from 0s to ten years")
        return cls(microseconds=value // _MICROSECOND) if isinstance(value, timedelta) else cls(seconds=seconds)

    @classmethod
    def _read(cls, value: Any) -> float:
        text = value.strip().lower() if isinstance(value, str) else ""
        if not _DURATION.match(text):
            raise ValueError("should be a duration such as 90s, 5m, 1h30m or 2d")
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))

    def __str__(self) -> str:
        left, micros = divmod(self // _MICROSECOND, 1_000_000)
        parts = []
        for unit, size in _UNITS.items():
            count, left = divmod(left, size)
            fraction = f".{micros:06d}".rstrip("0") if unit == "s" and micros else ""
            if count or fraction:
                parts.append(f"{count}{fraction}{unit}")
        return "".join(parts) or "0s"


class Percent(Parsed, float):
    """A share typed as `25%` or `25`; 0 to 100, kept as typed (25.0), not as a fraction."""

    hint = "a percentage from 0 to 100"
    _number = re.compile(r"[0-9]{1,3}(?:\.[0-9]+)?(?:e-[0-9]+)?%?\Z")

    @classmethod
    def parse(cls, value: Any) -> Self:
        text = str(value) if isinstance(value, int | float) else _text(value)
        number = float(text.removesuffix("%")) if cls._number.match(text) else -1
        if not 0 <= number <= 100:
            raise ValueError("should be a percentage from 0% to 100%")
        return cls(number)

    def __str__(self) -> str:
        return f"{float(self)!r}".removesuffix(".0") + "%"


class Person(Parsed, str):
    """The name of a person known to Countersign, typed as `ada` or `@ada`; doors resolve mentions to names first."""

    __slots__ = ()
    hint = "a person, such as @ada"
    _name = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")

    @classmethod
    def parse(cls, value: Any) -> Self:
        text = _text(value).removeprefix("@").lower()
        if not cls._name.match(text):
            raise ValueError("should be a person, such as @ada")
        return cls(text)


class Channel(Parsed, str):
    """A channel typed as `#ops`, or its platform's id."""

    __slots__ = ()
    hint = "a channel, such as #ops"
    _name = re.compile(r"[\w-]{1,80}\Z")

    @classmethod
    def parse(cls, value: Any) -> Self:
        text = _text(value).removeprefix("#")
        if not cls._name.match(text):
            raise ValueError("should be a channel, such as #ops")
        return cls(text)


class Secret(Parsed):
    """A value that cannot print: `str`, `repr` and JSON show dots; only `reveal()` gives it."""

    hint = "a secret; it is never shown or logged"
    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    @classmethod
    def parse(cls, value: Any) -> Self:
        if isinstance(value, cls):
            return value
        if not isinstance(value, str) or not value:
            raise ValueError("should be a secret text")
        return cls(value)

    def reveal(self) -> str:
        """The value itself; call it only where the value is handed to the system it belongs to."""
        return self._value

    def __str__(self) -> str:
        return "••••••"

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("a secret cannot be pickled")


class ZonedTime(Parsed, datetime):
    """A moment typed as `2026-11-24 22:00 Europe/Berlin` or ISO 8601 with an offset; a moment without a zone is refused."""

    hint = "a moment with its zone, such as 2026-11-24 22:00 Europe/Berlin"

    @classmethod
    def parse(cls, value: Any) -> Self:
        moment = value if isinstance(value, datetime) else cls._read(_text(value))
        if moment.tzinfo is None:
            raise ValueError("should name a zone, such as 2026-11-24 22:00 Europe/Berlin")
        return cls.combine(moment.date(), moment.timetz()).replace(fold=moment.fold)  # combine alone loses the fold of a subclass

    @classmethod
    def _read(cls, text: str) -> datetime:
        head, _, zone = text.rpartition(" ")
        try:
            if zone[:1].isalpha() and head:
                return _in_zone(datetime.fromisoformat(head), ZoneInfo(zone))
            return datetime.fromisoformat(text)
        except (ValueError, OSError, ZoneInfoNotFoundError, OverflowError):  # ZoneInfo("Europe/") is an OSError
            raise ValueError("should be a moment with its zone, such as 2026-11-24 22:00 Europe/Berlin") from None

    def __str__(self) -> str:
        zone = getattr(self.tzinfo, "key", None)
        local = self.replace(tzinfo=None) if zone and not self._second_of_two() else self
        return local.isoformat(sep=" ") + (f" {zone}" if zone else "")

    def _second_of_two(self) -> bool:
        """Whether this is the later of two moments with the same local time, as when clocks are set back."""
        return bool(self.fold) and self.utcoffset() != self.replace(fold=0).utcoffset()


Source = Callable[[], Sequence[str] | Awaitable[Sequence[str]]]


@dataclass(frozen=True)
class Choices:
    """Marks an argument as one of a list: `Annotated[str, Choices("a", "b")]`, or `Choices(source=function)`.

    A source is called by workers only, who keep its values in rows for autocomplete; it is checked again while planning.
    """

    values: tuple[str, ...]
    source: Source | None

    def __init__(self, *values: str, source: Source | None = None) -> None:
        if bool(values) == bool(source):
            raise TypeError("Choices takes either values or source=, not both and not neither")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "source", source)

    @property
    def name(self) -> str:
        """The source's importable name, under which its values are kept; empty for fixed values."""
        return f"{self.source.__module__}.{getattr(self.source, '__qualname__', 'source')}" if self.source else ""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = handler(source)
        return core_schema.no_info_before_validator_function(self._checked, inner) if self.values else inner

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        inner = handler(schema)
        return inner | {"enum": list(self.values)} if self.values and inner.get("type") == "string" else inner

    def _checked(self, value: Any) -> Any:
        if isinstance(value, str) and value not in self.values:
            raise ValueError(f"should be {alternatives(self.values)}")
        return value


def alternatives(values: Sequence[str]) -> str:
    """`'a', 'b' or 'c'`, for a sentence; past twelve only how many more there are."""
    shown = [f"'{one}'" for one in values[:12]]
    if len(values) > len(shown):
        return f"{', '.join(shown)} or one of {len(values) - len(shown)} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"


def _text(value: Any) -> str:
    """Only text is read as text: `true` or `["ops"]` is never taken for the name of a channel."""
    return value.strip() if isinstance(value, str) else ""


def _in_zone(moment: datetime, zone: ZoneInfo) -> datetime:
    """The moment in the zone; an offset written beside the zone chooses between two equal local times, and must be one the zone has."""
    choices = [moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1)]
    if moment.tzinfo is None:
        return choices[0]
    found = next((one for one in choices if one.utcoffset() == moment.utcoffset()), None)
    if found is None:
        raise ValueError("the zone never has this offset then")
    return found
