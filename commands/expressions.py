"""Expressions of rules (`if:`): a checked part of CEL, compiled once with declared types, evaluated without side effects and bounded.

Only this module knows the library. What an expression may say is decided by `lexing`, what it may look at by `vocabularies`; the library
checks types and evaluates. Its own budget ends a loop over more than 10,000 items, and its regular expressions take linear time.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from functools import cache, lru_cache
from itertools import product
from typing import Any, Final

from cel_expr_python import cel

from countersign.arguments import alternatives
from countersign.commands import Command

from .lexing import ExpressionError as ExpressionError
from .lexing import Reading, read
from .vocabularies import Name, Scene, vocabulary_of
from .vocabularies import Unreadable as Unreadable

MOST_TRIED: Final = 5_000
_NOTHING: Final[Mapping[str, str]] = {}


class MissingName(ExpressionError):
    """The expression looks at an argument that this command does not have."""

    def __init__(self, name: str, command: str) -> None:
        super().__init__(f"looks at the argument {name!r}, which {command} does not have")


@dataclass(frozen=True)
class Expression:
    """A condition for one command. `names` are read from a request when it is asked; a personal one looks at who asks."""

    source: str
    names: Mapping[str, Name]
    program: Any
    is_personal: bool

    def holds(self, scene: Scene) -> bool:
        """Whether it is true here and now. Raises Unreadable when it cannot be evaluated; what then happens is the rule's to say."""
        values, missing = _values(self.names, scene)
        return _answer(self.program, values, missing=missing)

    def can_hold(self, allowed: Mapping[str, tuple[Any, ...]]) -> bool:
        """Whether any values make it true, tried where a name has few; `allowed` narrows them to what the rule's other conditions leave.

        False is certain. True may also mean that there were too many values to try.
        """
        few = {name: allowed.get(name) or one.values for name, one in self.names.items()}
        few = {name: values for name, values in few.items() if values}
        size = 1
        for values in few.values():
            size *= len(values)
        if size > MOST_TRIED:
            return True
        return any(_might(self.program, dict(zip(few, values, strict=True))) for values in product(*few.values()))


def compile_expression(source: str, command: Command, *, zone: tzinfo) -> Expression:
    """The expression for one command; raises ExpressionError, or MissingName for an argument that the command does not have."""
    reading = read(source)
    known = vocabulary_of(command, zone)
    names = {name: known[name] for name in _known(reading, known, command)}
    _check_choices(reading, names)
    for function, literal in reading.literals():
        _check_literal(function, literal)
    program = _program(source, tuple(sorted((name, one.kind) for name, one in names.items())))
    return Expression(source, names, program, any(name.startswith("person.") for name in names))


@dataclass(frozen=True)
class Value:
    """An expression over data of any shape, such as a delivery's payload; `kind` is its type in CEL's words, `dyn` where it depends."""

    source: str
    names: frozenset[str]
    kind: str
    program: Any

    def read(self, data: Mapping[str, Any]) -> Any:
        """Its value, as JSON has it; raises Unreadable where the data has no such thing, or of another type."""
        try:
            found = self.program.eval(data=data)
            value = found.value()
        except RuntimeError as error:
            raise Unreadable(_plain(str(error))) from None
        if found.type() == cel.Type.ERROR:
            raise Unreadable(_missing_key(_plain(str(value))))
        return _as_json(value)


def compile_value(source: str, roots: Mapping[str, str], *, condition: bool = False) -> Value:
    """An expression over these `roots`, whose types are `string` or `dyn`; raises ExpressionError. A `condition` is true or false."""
    reading = read(source, has=True)
    for name in sorted(reading.names):
        if name.partition(".")[0] not in roots:
            raise ExpressionError(f"knows no {name.partition('.')[0]}; there is {', '.join(sorted(roots))}")
    for function, literal in reading.literals():
        _check_literal(function, literal)
    program = _compiled(source, tuple(sorted(roots.items())))
    kind = program.return_type().name().lower()
    if condition and kind not in ("bool", "dyn"):
        raise ExpressionError(f"is {_words(kind)}, not a condition; compare it with something")
    return Value(source, reading.names, kind, program)


def contains(pattern: str, text: str) -> bool:
    """Whether the text has something in it that the pattern describes, in time linear in the text; raises ValueError for no pattern."""
    try:
        return _answer(_program("text.matches(pattern)", (("pattern", "string"), ("text", "string"))), {"pattern": pattern, "text": text})
    except Unreadable as error:
        raise ValueError(f"{pattern!r} is not a pattern: {error}") from None


def _known(reading: Reading, known: Mapping[str, Name], command: Command) -> Iterator[str]:
    parameters = {one.name: one for one in command.schema.parameters}
    roots = {name.partition(".")[0] for name in known}
    if clash := reading.made & roots:
        raise ExpressionError(f"{min(clash)} is what rules look at; name the items of the list otherwise")
    for name in sorted(reading.names):
        root, _, rest = name.partition(".")
        if name in known:
            yield name
        elif root in ("args", "given") and rest:
            if rest.partition(".")[0] not in parameters:
                raise MissingName(rest, command.name)
            secret = parameters[rest.partition(".")[0]].secret
            raise ExpressionError(f"{name}: a rule cannot look at {'a secret' if secret else 'this argument'}; given.{rest} is known")
        else:
            inside = sorted(one for one in known if one.startswith(f"{root}.")) if root in roots else sorted(roots)
            raise ExpressionError(f"knows no {name}; there is {', '.join(inside)}")


def _check_choices(reading: Reading, names: Mapping[str, Name]) -> None:
    """A text that a name never has would silently match nothing."""
    for name, text in reading.compared():
        one = names.get(name)
        if one is not None and one.choices and text not in one.choices:
            raise ExpressionError(f"{name} is never {text!r}; it is {alternatives(one.choices)}")


@cache
def _check_literal(function: str, literal: str) -> None:
    """A pattern or a length of time that nobody can read would only show when the rule is asked."""
    call = f'"".matches({literal})' if function == "matches" else f"{function}({literal}) == {function}({literal})"
    try:
        _answer(_program(call, ()), {})
    except Unreadable as error:
        raise ExpressionError(f"{function}({literal}) cannot be read: {error}{_FIXES.get(function, '')}") from None


@lru_cache(maxsize=2_000)
def _compiled(source: str, types: tuple[tuple[str, str], ...]) -> Any:
    """Compiled by the library; the same text over the same types is compiled once."""
    environment = cel.NewEnv(variables={name: _TYPES[kind] for name, kind in types})
    try:
        return environment.compile(source)
    except RuntimeError as error:
        raise ExpressionError(_explained(str(error))) from None


def _program(source: str, types: tuple[tuple[str, str], ...]) -> Any:
    program = _compiled(source, types)
    if program.return_type() != cel.Type.BOOL:
        raise ExpressionError(f"is {_words(program.return_type().name())}, not a condition; compare it with something")
    return program


def _values(names: Mapping[str, Name], scene: Scene) -> tuple[dict[str, Any], dict[str, str]]:
    """The values there are, and why there is none for the others; whether that matters shows when the expression is evaluated."""
    values, missing = {}, {}
    for name, one in names.items():
        try:
            value = one.read(scene)
        except Unreadable as error:
            missing[name] = str(error)
            continue
        if value is None:
            missing[name] = f"{name} was not given" if name.startswith("args.") else f"{name} is not known here"
        else:
            values[name] = value
    return values, missing


def _answer(program: Any, values: Mapping[str, Any], *, missing: Mapping[str, str] = _NOTHING) -> bool:
    try:
        found = program.eval(data=values)
        answer = found.value()
    except RuntimeError as error:
        raise Unreadable(_plain(str(error), missing)) from None
    if found.type() != cel.Type.BOOL:
        raise Unreadable(_plain(str(answer), missing))
    return bool(answer)


def _as_json(value: Any) -> Any:
    """The library wraps what is inside lists and maps."""
    value = value.value() if hasattr(value, "value") else value
    if isinstance(value, dict):
        return {str(key): _as_json(one) for key, one in value.items()}
    return [_as_json(one) for one in value] if isinstance(value, list) else value


def _missing_key(told: str) -> str:
    found = re.search(r'Key not found in map : "(.*)"', told)
    return f"there is no {found[1][:60]}" if found else told


def _might(program: Any, values: Mapping[str, Any]) -> bool:
    """Names without a value make it unknown, except where the others decide it alone."""
    try:
        return _answer(program, values)
    except Unreadable:
        return True


def _plain(message: str, missing: Mapping[str, str] = _NOTHING) -> str:
    """The library's message without its codes, or why a name that it wanted has no value."""
    if found := re.search(r'No value with name "([\w.]+)" found', message):
        return missing.get(found[1], f"{found[1]} is not known here")
    told = re.sub(r"^[A-Z_]+: ", "", message.splitlines()[0] if message else "")
    return re.sub(r" \[[A-Z_]+\]$", "", told)[:120]


def _explained(message: str) -> str:
    """One sentence about the first thing that the library found wrong."""
    found = re.search(r"<input>:(\d+):(-?\d+): (.*)", message)
    if found is None:
        return "nests too deeply; make two rules of it" if "recursion" in message else f"cannot be compiled: {_plain(message)}"
    where, told = f"at character {found[2]}: ", found[3].removesuffix(" [INVALID_ARGUMENT]")
    if overload := re.match(r"found no matching overload for '(\S+)' applied to '\((.*)\)'", told):
        sign = overload[1].strip("_").replace("_", " ")
        types = " and ".join(_words(one) for one in overload[2].split(", "))
        hint = "; write a number with a fraction as 1.0" if {"int", "double"} <= set(overload[2].split(", ")) else ""
        return f"{where}{sign} does not go with {types}{hint}"
    return "nests too deeply; make two rules of it" if "recursion" in told else where + told.removeprefix("Syntax error: ")


def _words(kind: str) -> str:
    return _NAMES.get(kind.lower(), kind)


_FIXES: Final = {
    "duration": " (hours, minutes and seconds, for instance 36h or 1h30m)",
    "timestamp": " (for instance 2026-12-24T00:00:00Z)",
}
_NAMES: Final = {
    "string": "a text",
    "int": "a whole number",
    "double": "a number",
    "bool": "true or false",
    "duration": "a length of time",
    "timestamp": "a moment",
    "list": "a list",
    "list(string)": "a list of texts",
    "dyn": "a value of any type",
}
_ITEMS: Final[Mapping[str, Any]] = {
    one.lower(): getattr(cel.Type, one) for one in ("STRING", "INT", "DOUBLE", "BOOL", "DURATION", "TIMESTAMP")
}
_TYPES: Final[Mapping[str, Any]] = {"dyn": cel.Type.DYN, **_ITEMS, **{f"list({name})": cel.Type.List(one) for name, one in _ITEMS.items()}}
