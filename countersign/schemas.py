"""A function's signature, read once, is its schema: text, forms, command line, REST and help derive from it."""

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError, create_model

from .arguments import Choices, Parsed, Secret
from .errors import BadArgument, MissingArguments
from .replies import Input

SECRET_KEY = "$secret"


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
        hints = typing.get_type_hints(function, include_extras=True)
        parameters = list(inspect.signature(function).parameters.values())
        if not parameters:
            raise TypeError(f"{name}: the first parameter should be the context, for instance 'ctx: Context'")
        fields = {one.name: _field(one, hints, name=name) for one in parameters[1:]}
        try:
            model = create_model(f"{name}-arguments", __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=False), **fields)
        except PydanticSchemaGenerationError as error:
            raise TypeError(f"{name}: {str(error).splitlines()[0]}") from None
        return cls(tuple(_parameter(one, hints[one.name]) for one in parameters[1:]), model)

    def validate(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Typed values by name, defaults filled in; raises MissingArguments or BadArgument with one clear sentence."""
        missing = tuple(one.name for one in self.parameters if one.required and given.get(one.name) in (None, ""))
        if missing:
            raise MissingArguments(missing)
        try:
            model = self.model.model_validate(dict(given))
        except ValidationError as error:
            raise self._explained(error) from None
        return {one.name: getattr(model, one.name) for one in self.parameters}

    def written(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Canonical JSON values of typed arguments; a Secret stays a Secret, to be sealed by whoever stores it."""
        return {one.name: written_json(values[one.name]) for one in self.parameters}

    @property
    def usage(self) -> str:
        return " ".join(one.usage for one in self.parameters)

    @property
    def secrets(self) -> frozenset[str]:
        return frozenset(one.name for one in self.parameters if one.secret)

    def json_schema(self) -> dict[str, Any]:
        """JSON Schema of the arguments, for REST and forms."""
        return self.model.model_json_schema()

    def inputs(self, initial: Mapping[str, str], *, choices: Mapping[str, tuple[str, ...]] | None = None) -> tuple[Input, ...]:
        """Form questions in order; `choices` holds refreshed values by source name."""
        return tuple(_input(one, initial.get(one.name, ""), choices or {}) for one in self.parameters)

    def _explained(self, error: ValidationError) -> BadArgument:
        first = error.errors(include_url=False, include_input=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "arguments"
        if first["type"] == "extra_forbidden":
            known = ", ".join(one.name for one in self.parameters) or "none"
            return BadArgument(name[:40], f"is not an argument of this command (it takes {known})")
        parameter = next((one for one in self.parameters if one.name == name), None)
        if parameter and parameter.choices:
            return BadArgument(name, f"should be {_alternatives(parameter.choices)}")
        return BadArgument(name, first["msg"].removeprefix("Value error, ").replace("Input should", "should"))


def written_json(value: Any) -> Any:
    """A typed value as JSON data; a Secret is left as it is, an Enum becomes its name."""
    if isinstance(value, Secret) or value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, Parsed):
        return str(value)
    if isinstance(value, str | float):
        return value
    if isinstance(value, list | tuple):
        return [written_json(one) for one in value]
    if isinstance(value, Mapping):
        return {str(key): written_json(one) for key, one in value.items()}
    return TypeAdapter(type(value)).dump_python(value, mode="json")


def written(value: Any) -> str:
    """A typed value as the text a person would type."""
    data = written_json(value)
    if isinstance(data, bool):
        return "yes" if data else "no"
    return "" if data is None else str(data)


def _field(parameter: inspect.Parameter, hints: Mapping[str, Any], *, name: str) -> Any:
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        raise TypeError(f"{name}: *{parameter.name} has no place in a schema; name each argument")
    if parameter.name not in hints:
        raise TypeError(f"{name}: argument {parameter.name!r} needs a type, for instance '{parameter.name}: str'")
    annotation = _enum_by_name(hints[parameter.name])
    return (annotation, ... if parameter.default is parameter.empty else parameter.default)


def _enum_by_name(annotation: Any) -> Any:
    """People type an enum's name or its value; pydantic alone takes only the value."""
    kind = _plain(annotation)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return Annotated[annotation, _Named(kind)]
    if choices := _choices(annotation):
        return Annotated[annotation, _OneOf(choices.values)] if choices.values else annotation
    return annotation


@dataclass(frozen=True)
class _Named:
    kind: type[Enum]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return _before(lambda value: self.kind.__members__.get(str(value), value), handler(source))


@dataclass(frozen=True)
class _OneOf:
    values: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        def check(value: Any) -> Any:
            if value not in self.values:
                raise ValueError(f"should be {_alternatives(self.values)}")
            return value

        return _before(check, handler(source))


def _before(function: Callable[[Any], Any], inner: Any) -> dict[str, Any]:
    return {"type": "function-before", "function": {"type": "no-info", "function": function}, "schema": inner}


def _parameter(parameter: inspect.Parameter, annotation: Any) -> Parameter:
    kind, choices = _plain(annotation), _choices(annotation)
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


def _plain(annotation: Any) -> Any:
    """The type itself, without Annotated and without `| None`."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (typing.Union, types.UnionType):
        inner = [one for one in get_args(annotation) if one is not type(None)]
        return _plain(inner[0]) if len(inner) == 1 else str
    return annotation


def _choices(annotation: Any) -> Choices | None:
    marks = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    return next((one for one in marks if isinstance(one, Choices)), None)


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


def _alternatives(values: tuple[str, ...]) -> str:
    shown = [f"'{one}'" for one in values[:12]]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"
