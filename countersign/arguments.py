"""Ready-made argument types. Each reads what a person types and has one canonical text."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

_UNITS: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+\Z")
_PART = re.compile(r"(\d+(?:\.\d+)?)([dhms])")


class Parsed:
    """Base of types that read one text: pydantic validates with `parse` and writes with `str()`."""

    hint: str = "text"

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
        if isinstance(value, timedelta):
            return cls(seconds=value.total_seconds())
        text = str(value).strip().lower().replace(" ", "")
        if not _DURATION.match(text):
            raise ValueError("should be a duration such as 90s, 5m, 1h30m or 2d")
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
        if seconds > 3_650 * _UNITS["d"]:
            raise ValueError("should be at most ten years")
        return cls(seconds=seconds)

    def __str__(self) -> str:
        left, parts = self.total_seconds(), []
        for unit, size in _UNITS.items():
            count, left = divmod(left, size)
            if count:
                parts.append(f"{count:g}{unit}")
        if left:
            parts = [f"{self.total_seconds():g}s"]
        return "".join(parts) or "0s"


class Percent(Parsed, float):
    """A share typed as `25%` or `25`; 0 to 100, kept as typed (25.0), not as a fraction."""

    hint = "a percentage from 0 to 100"

    @classmethod
    def parse(cls, value: Any) -> Self:
        try:
            number = cls(str(value).strip().removesuffix("%"))
        except ValueError:
            number = cls(-1)
        if not 0 <= number <= 100:
            raise ValueError("should be a percentage from 0% to 100%")
        return number

    def __str__(self) -> str:
        return f"{float(self):g}%"


class Person(Parsed, str):
    """The name of a person known to Countersign, typed as `ada` or `@ada`; doors resolve mentions to names first."""

    hint = "a person, such as @ada"
    _name = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")

    @classmethod
    def parse(cls, value: Any) -> Self:
        text = str(value).strip().removeprefix("@").lower()
        if not cls._name.match(text):
            raise ValueError("should be a person, such as @ada")
        return cls(text)


class Channel(Parsed, str):
    """A channel typed as `#ops`, or its platform's id."""

    hint = "a channel, such as #ops"
    _name = re.compile(r"[\w-]{1,80}\Z")

    @classmethod
    def parse(cls, value: Any) -> Self:
        text = str(value).strip().removeprefix("#")
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

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("a secret cannot be pickled")


class ZonedTime(Parsed, datetime):
    """A moment typed as `2026-11-24 22:00 Europe/Berlin` or ISO 8601 with an offset; a moment without a zone is refused."""

    hint = "a moment with its zone, such as 2026-11-24 22:00 Europe/Berlin"

    @classmethod
    def parse(cls, value: Any) -> Self:
        moment = value if isinstance(value, datetime) else cls._read(str(value).strip())
        if moment.tzinfo is None:
            raise ValueError("should name a zone, such as 2026-11-24 22:00 Europe/Berlin")
        return cls.combine(moment.date(), moment.timetz())

    @classmethod
    def _read(cls, text: str) -> datetime:
        head, _, zone = text.rpartition(" ")
        try:
            if head and "/" in zone or zone == "UTC":
                return datetime.fromisoformat(head).replace(tzinfo=ZoneInfo(zone))
            return datetime.fromisoformat(text)
        except (ValueError, ZoneInfoNotFoundError):
            raise ValueError("should be a moment with its zone, such as 2026-11-24 22:00 Europe/Berlin") from None

    def __str__(self) -> str:
        zone = getattr(self.tzinfo, "key", None)
        return f"{self.replace(tzinfo=None).isoformat(sep=' ')} {zone}" if zone else self.isoformat(sep=" ")


Source = Callable[[], Sequence[str] | Awaitable[Sequence[str]]]


@dataclass(frozen=True)
class Choices:
    """Marks an argument as one of a list: `Annotated[str, Choices("a", "b")]`, or `Choices(source=function)`.

    A source is called by workers only, who keep its values in rows for autocomplete; it is checked again while planning.
    """

    values: tuple[str, ...] = ()
    source: Source | None = None

    def __init__(self, *values: str, source: Source | None = None) -> None:
        if bool(values) == bool(source):
            raise TypeError("Choices takes either values or source=, not both and not neither")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "source", source)

    @property
    def name(self) -> str:
        """The source's importable name, under which its values are kept; empty for fixed values."""
        return f"{self.source.__module__}.{getattr(self.source, '__qualname__', 'source')}" if self.source else ""
