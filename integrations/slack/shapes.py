"""Small checks over plain JSON values, combined into the Block Kit tables of `elements` and `validation`.

A Check looks at one value found at one JSON pointer and yields a sentence per problem, each starting with that pointer.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

Check = Callable[[object, str], Iterator[str]]


@dataclass(frozen=True)
class Shape:
    """The keys of one Block Kit object. `type` is always allowed; `also` looks at the whole object for rules across keys."""

    required: Mapping[str, Check] = field(default_factory=dict)
    optional: Mapping[str, Check] = field(default_factory=dict)
    also: Check | None = None

    def __call__(self, value: object, at: str) -> Iterator[str]:
        """Yield a problem for each missing, unknown or wrong key."""
        if not isinstance(value, dict):
            yield f"{at}: must be an object, not {kind(value)}"
            return
        for key in self.required:
            if key not in value:
                yield f"{at}: needs {key!r}"
        for key, item in value.items():
            check = self.required.get(key) or self.optional.get(key)
            if check is not None:
                yield from check(item, f"{at}/{key}")
            elif key != "type":
                yield f"{at}: does not know the key {key!r}"
        if self.also is not None:
            yield from self.also(value, at)


def union(shapes: Mapping[str, Check], noun: str) -> Check:
    """Check an object by the shape that its `type` names; `noun` is what a person calls such an object."""

    def check(value: object, at: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{at}: must be {noun}, not {kind(value)}"
            return
        name = value.get("type")
        shape = shapes.get(name) if isinstance(name, str) else None
        if shape is None:
            yield f"{at}: type {name!r} is not allowed here; allowed: {', '.join(sorted(shapes))}"
        else:
            yield from shape(value, at)

    return check


def string(longest: int, *, shortest: int = 1) -> Check:
    """Check a string's length in characters."""

    def check(value: object, at: str) -> Iterator[str]:
        if not isinstance(value, str):
            yield f"{at}: must be a string, not {kind(value)}"
        elif len(value) < shortest:
            yield f"{at}: must not be empty"
        elif len(value) > longest:
            yield f"{at}: must be at most {longest} characters, is {len(value)}"

    return check


def listing(item: Check, *, most: int, least: int = 1) -> Check:
    """Check an array's length and each of its items."""

    def check(value: object, at: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield f"{at}: must be a list, not {kind(value)}"
            return
        if not least <= len(value) <= most:
            yield f"{at}: must have {least} to {most} items, has {len(value)}"
        for index, entry in enumerate(value):
            yield from item(entry, f"{at}/{index}")

    return check


def one_of(*words: str) -> Check:
    """Check that a value is one of a few words."""

    def check(value: object, at: str) -> Iterator[str]:
        if value not in words:
            yield f"{at}: must be one of {', '.join(words)}, not {value!r}"

    return check


def number(least: int, most: int) -> Check:
    """Check a whole number's range."""

    def check(value: object, at: str) -> Iterator[str]:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            yield f"{at}: must be a whole number from {least} to {most}, not {value!r}"

    return check


def flag(value: object, at: str) -> Iterator[str]:
    """Check that a value is true or false."""
    if not isinstance(value, bool):
        yield f"{at}: must be true or false, not {kind(value)}"


def address(value: object, at: str) -> Iterator[str]:
    """Check an absolute web address of at most 3,000 characters."""
    yield from string(3000)(value, at)
    if isinstance(value, str) and value and not _is_absolute(value):
        yield f"{at}: must be an absolute URL"


def anything(_value: object, _at: str) -> Iterator[str]:
    """Accept every value: for objects whose inside Countersign never writes."""
    return iter(())


def kind(value: object) -> str:
    """Return what a person calls the JSON type of a value."""
    names = {str: "a string", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), "nothing" if value is None else type(value).__name__)


def _is_absolute(value: str) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return bool(parts.scheme) and bool(parts.netloc or parts.scheme in {"mailto", "tel"})
