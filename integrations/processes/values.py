"""The arguments of a runbook as a Python signature, from which forms, help and every door's validation follow."""

import inspect
import keyword
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import AfterValidator, FiniteFloat, TypeAdapter, ValidationError

from countersign.arguments import Channel, Choices, Duration, Percent, Person, Secret, ZonedTime
from countersign.schemas import written
from integrations.processes.declarations import ArgumentDeclaration, Source

MAX_VALUE: Final = 8_000
_TYPES: Final[dict[str, Any]] = {
    "text": str,
    "integer": int,
    "number": FiniteFloat,
    "boolean": bool,
    "choice": str,
    "duration": Duration,
    "percent": Percent,
    "person": Person,
    "channel": Channel,
    "secret": Secret,
    "time": ZonedTime,
}


def parameter(source: Source, name: str, declared: ArgumentDeclaration) -> inspect.Parameter:
    """The argument as a keyword-only parameter whose annotation refuses what could not stand safely on a command line."""
    keys = ("arguments", name)
    if keyword.iskeyword(name):
        source.refuse(keys, "is a word of Python's own; choose another name")
    if declared.type == "choice" and (not declared.choices or len(set(declared.choices)) < len(declared.choices)):
        source.refuse(
            (*keys, "choices") if declared.choices else keys, "a choice needs a list of different choices, for instance [api, web]"
        )
    if declared.type != "choice" and declared.choices:
        source.refuse((*keys, "choices"), "only an argument of type choice has choices; write 'type: choice'")
    if declared.required and declared.default is not None:
        source.refuse((*keys, "required"), "an argument with a default is never missing; remove one of the two")
    if declared.type == "secret" and declared.default is not None:
        source.refuse((*keys, "default"), "a secret cannot stand in a file; remove the default")
    fits = _Secretly() if declared.type == "secret" else _Wordly(dash=declared.dash)
    for position, choice in enumerate(declared.choices):
        _fitting(source, (*keys, "choices", position), fits, choice)
    kind = _TYPES[declared.type]
    optional = declared.required is False or declared.default is not None
    shape: Any = kind | None if optional and declared.default is None else kind
    annotation: Any = Annotated[shape, AfterValidator(fits)]
    if declared.choices:
        annotation = Annotated[annotation, Choices(*declared.choices)]
    default = _default(source, name, declared, annotation) if optional else inspect.Parameter.empty
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _default(source: Source, name: str, declared: ArgumentDeclaration, annotation: Any) -> Any:
    """The default as a typed value; pydantic would take a wrong one and let the first person meet it."""
    keys = ("arguments", name, "default")
    if not isinstance(declared.default, str | int | float | None):
        source.refuse(keys, "should be one value; write it in quotes")
    try:
        return TypeAdapter[Any](annotation).validate_python(declared.default)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]["msg"]
        source.refuse(keys, problem.removeprefix("Value error, ").replace("Input should", "should"))


def _fitting(source: Source, keys: tuple[str | int, ...], fits: Callable[[Any], Any], value: str) -> None:
    try:
        fits(value)
    except ValueError as error:
        source.refuse(keys, str(error))


@dataclass(frozen=True)
class _Wordly:
    """A value may stand on a command line: it can be no option unless the runbook says so, and nothing the system would cut short."""

    dash: bool

    def __call__(self, value: Any) -> Any:
        text = written(value)
        if text.startswith("-") and not self.dash:
            raise ValueError("should not begin with '-', which a script could read as an option")
        _plain(text)
        return value


@dataclass(frozen=True)
class _Secretly:
    """A secret may stand on one line of standard input."""

    def __call__(self, value: Secret | None) -> Secret | None:
        if value is not None:
            _plain(value.reveal())
            if "\n" in value.reveal() or "\r" in value.reveal():
                raise ValueError("should be one line")
        return value


def _plain(text: str) -> None:
    if len(text) > MAX_VALUE:
        raise ValueError(f"should be at most {MAX_VALUE:,} characters")
    if "\x00" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("should be plain text")
