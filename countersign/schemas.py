"""A function's signature, read once, is its schema: text, forms, command line, REST and help derive from it."""

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any, Final, Self, get_origin

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, ValidationError, create_model
from pydantic_core import ErrorDetails

from .annotations import SEVERAL, choices_of, enum_by_name, hints_of, holds_secret, plain
from .arguments import Choices, Parsed, Secret, alternatives
from .errors import BadArgument, MissingArguments
from .replies import Input
from .values import SECRET_KEY as SECRET_KEY
from .values import problem_of
from .values import written as written
from .values import written_json as written_json

# A prefix of our own lets an argument be called `copy`, `json` or `schema` without hiding a method of the model.
_PREFIX: Final = "argument_"


@dataclass(frozen=True)
class Parameter:
    """One argument of a command or step."""

    name: str
    kind: type[Any]
    required: bool
    default: Any
    secret: bool
    boolean: bool
    choices: tuple[str, ...]
    source: Choices | None
    hint: str

    @property
    def many(self) -> bool:
        """Whether it takes several values; as text they are separated by commas."""
        return self.kind in SEVERAL or get_origin(self.kind) in SEVERAL

    @property
    def usage(self) -> str:
        """`<name>` when required, `[name=default]` otherwise."""
        return f"<{self.name}>" if self.required else f"[{self.name}={written(self.default)}]"


@dataclass(frozen=True)
class Schema:
    """The arguments of one function, in order, and the pydantic model that validates them strictly by name."""

    parameters: tuple[Parameter, ...]
    model: type[BaseModel]

    @classmethod
    def of(cls, function: Callable[..., Any], *, name: str) -> Self:
        """Reads every parameter after the first (the context); raises TypeError naming what an author must fix."""
        parameters = list(inspect.signature(function).parameters.values())
        if not parameters or parameters[0].kind not in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD):
            raise TypeError(f"{name}: the first parameter should be the context, for instance 'ctx: Context'")
        hints = hints_of(function, name=name)
        del parameters[0]
        fields = {_PREFIX + one.name: _field(one, hints, name=name) for one in parameters}
        schema = cls(tuple(_parameter(one, hints[one.name]) for one in parameters), _model(fields, name=name))
        schema._check_defaults(name)
        return schema

    def without(self, names: Collection[str]) -> Self:
        """The schema of the other arguments."""
        if not names:
            return self
        fields = {key: (one.annotation, one) for key, one in self.model.model_fields.items() if one.alias not in names}
        return type(self)(tuple(one for one in self.parameters if one.name not in names), _model(fields, name=self.model.__name__))

    def validate(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Typed values by name, defaults filled in; raises MissingArguments or BadArgument with one clear sentence."""
        missing = tuple([name for name in self._required if given.get(name) is None])
        if missing:
            raise MissingArguments(missing)
        try:
            model = self._typed(given)
        except ValidationError as error:
            raise self._explained(_problems(error)[0]) from None
        return {one.name: getattr(model, _PREFIX + one.name) for one in self.parameters}

    def _typed(self, given: Mapping[str, Any]) -> BaseModel:
        for name, value in given.items():
            if not (name in self.names and _is_plain(value)) and (problem := problem_of({name: value})):
                raise BadArgument(_printable(name), problem)
        several = self._several
        return self.model.model_validate({name: _split(value) if name in several else value for name, value in given.items()})

    def wanted(self, name: str, value: Any) -> Any:
        """What a rule compares an argument with, as arguments are written: one value, or a list that means any of them.

        Raises BadArgument when the argument does not exist, is secret or can never have the value.
        """
        if isinstance(value, SEVERAL):
            if not value:
                raise BadArgument(name, "an empty list matches nothing")
            return [self.wanted(name, one) for one in value]
        parameter = next((one for one in self.parameters if one.name == name), None)
        if parameter is None or parameter.secret:
            raise BadArgument(name, "a rule cannot look at a secret" if parameter else "is not an argument of this command")
        alone = self.without({one.name for one in self.parameters} - {name})
        found = alone.written(alone.validate({name: [value] if parameter.many else value}))[name]
        return found[0] if parameter.many else found

    def written(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Canonical JSON values of typed arguments; a Secret stays a Secret, to be sealed by whoever stores it."""
        return {one.name: written_json(values[one.name]) for one in self.parameters}

    @property
    def usage(self) -> str:
        return " ".join(one.usage for one in self.parameters)

    @cached_property
    def secrets(self) -> frozenset[str]:
        return frozenset(one.name for one in self.parameters if one.secret)

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(one.name for one in self.parameters)

    @cached_property
    def _required(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.parameters if one.required)

    @cached_property
    def _several(self) -> frozenset[str]:
        return frozenset(one.name for one in self.parameters if one.many)

    def json_schema(self) -> dict[str, Any]:
        """JSON Schema of the arguments, for REST and forms."""
        return self.model.model_json_schema()

    def inputs(self, initial: Mapping[str, str], *, choices: Mapping[str, tuple[str, ...]] | None = None) -> tuple[Input, ...]:
        """Form questions in order; `choices` holds refreshed values by source name."""
        return tuple(_input(one, initial.get(one.name, ""), choices or {}) for one in self.parameters)

    def _check_defaults(self, name: str) -> None:
        given = {one.name: one.default for one in self.parameters if not one.required}
        if not given:
            return
        try:
            self._typed(given)
        except ValidationError as error:
            # A model of the others alone would say the same, and making one takes as long as all else here.
            wrong = next((one for one in _problems(error) if one["type"] != "missing" or len(one["loc"]) > 1), None)
            if wrong:
                raise TypeError(f"{name}: the default of {self._explained(wrong)}") from None
        except BadArgument as error:
            raise TypeError(f"{name}: the default of {error}") from None

    def _explained(self, first: ErrorDetails) -> BadArgument:
        name = _printable(str(first["loc"][0])) if first["loc"] else "arguments"
        if first["type"] == "extra_forbidden":
            known = ", ".join(one.name for one in self.parameters) or "none"
            return BadArgument(name, f"is not an argument of this command (it takes {known})")
        parameter = next((one for one in self.parameters if one.name == name), None)
        if parameter and parameter.choices:
            return BadArgument(name, f"should be {alternatives(parameter.choices)}")
        return BadArgument(name, first["msg"].removeprefix("Value error, ").replace("Input should", "should"))


def _problems(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_input=False)


def _field(parameter: inspect.Parameter, hints: Mapping[str, Any], *, name: str) -> Any:
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        raise TypeError(f"{name}: *{parameter.name} has no place in a schema; name each argument")
    if parameter.name not in hints:
        raise TypeError(f"{name}: argument {parameter.name!r} needs a type, for instance '{parameter.name}: str'")
    annotation = hints[parameter.name]
    if plain(annotation) is not Secret and holds_secret(annotation):
        raise TypeError(f"{name}: argument {parameter.name!r} holds a Secret inside another type; make each secret an argument of its own")
    default = ... if parameter.default is parameter.empty else parameter.default
    return (enum_by_name(annotation), Field(default, alias=parameter.name, title=parameter.name.replace("_", " ")))


def _model(fields: Mapping[str, Any], *, name: str) -> type[BaseModel]:
    settings = ConfigDict(extra="forbid", allow_inf_nan=False, hide_input_in_errors=True, validate_default=True)
    try:
        return create_model(name, __config__=settings, **fields)
    except PydanticUserError as error:
        raise TypeError(f"{name}: {str(error).splitlines()[0]}") from None


def _parameter(parameter: inspect.Parameter, annotation: Any) -> Parameter:
    kind, choices = plain(annotation), choices_of(annotation)
    enum = isinstance(kind, type) and issubclass(kind, Enum)
    return Parameter(
        name=parameter.name,
        kind=kind,
        required=parameter.default is parameter.empty,
        default=None if parameter.default is parameter.empty else parameter.default,
        secret=kind is Secret,
        boolean=kind is bool,
        choices=tuple(kind.__members__) if enum else choices.values if choices else ("yes", "no") if kind is bool else (),
        source=choices if choices and choices.source else None,
        hint=kind.hint if isinstance(kind, type) and issubclass(kind, Parsed) else "",
    )


def _input(parameter: Parameter, initial: str, refreshed: Mapping[str, tuple[str, ...]]) -> Input:
    choices = refreshed.get(parameter.source.name, ()) if parameter.source else parameter.choices
    return Input(
        name=parameter.name,
        label=parameter.name.replace("_", " "),
        kind="secret" if parameter.secret else "choice" if choices else "text",
        required=parameter.required,
        choices=choices,
        initial="" if parameter.secret else initial or written(parameter.default),
        hint=parameter.hint,
    )


def _is_plain(value: Any) -> bool:
    """Whether it is text that can be kept as it is; most of what people type."""
    return isinstance(value, str) and value.isascii() and "\0" not in value


def _split(value: Any) -> Any:
    return [one.strip() for one in value.split(",") if one.strip()] if isinstance(value, str) else value


def _printable(name: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in name[:40])
