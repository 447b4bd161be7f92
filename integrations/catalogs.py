"""The integrations of one process: each client is made once, from the environment, when it is first used."""

import asyncio
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar, get_args, get_origin

from pydantic import BaseModel, SecretStr, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, from_json

from countersign.arguments import Duration, Secret
from countersign.errors import CountersignError, Stopped
from countersign.integrations import RATE_LIMIT, Integration, integration_kinds
from countersign.rates import Rate

I = TypeVar("I", bound=Integration)  # noqa: E741

PREFIX: Final = "COUNTERSIGN_"
HEALTH_SECONDS: Final = 5.0
_EXAMPLES: Final[dict[Any, str]] = {bool: "true", int: "10", float: "0.5", Duration: "30s", Secret: "…", SecretStr: "…", list: "one,two"}


class IntegrationSettingWrong(CountersignError):
    """A variable of an integration is missing, unknown or wrong; the sentence names it and shows a right one."""


@dataclass(frozen=True)
class Look:
    """One integration as this process finds it: what it wants to reach, the variables of its settings, and whether it answers.

    Of each variable its name, whether it is a `secret` and whether it is `set`, never its value. `problem` is why it cannot be used.
    """

    name: str
    scopes: tuple[str, ...]
    variables: tuple[Mapping[str, Any], ...]
    configured: bool
    problem: str


class Catalog:
    """Opens integrations: one instance of a kind for planning, whose `@acts` methods refuse, and one for executing."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment
        self._opened: dict[tuple[type[Integration], bool], Integration] = {}
        self._stopped: Mapping[str, str] = {}
        self.secrets: set[str] = set()
        """The values of every setting that is a secret by its type, of the clients opened so far; for redaction."""
        self._used: set[str] = set()

    def __call__(self, kind: type[I], /, *, planning: bool) -> I:
        """The process's instance of `kind`; raises IntegrationSettingWrong for unusable settings, Stopped while a switch says so."""
        if sentence := self._stopped.get(kind.name):
            raise Stopped(sentence)
        self._used.add(kind.name)
        return self._open(kind, planning=planning)

    def _open(self, kind: type[I], *, planning: bool) -> I:
        opened = self._opened.get((kind, planning))
        if opened is None:
            settings = settings_of(kind, self._environment)
            self.secrets.update(_secrets_in(settings))
            opened = kind(settings)
            opened.planning, opened.rate_in_force = planning, rate_of(kind, self._environment)
            self._opened[kind, planning] = opened
        assert isinstance(opened, kind)  # noqa: S101  for the type checker; the key is the kind
        return opened

    def stop(self, sentences: Mapping[str, str]) -> None:
        """Stops the integrations with these names, from their next call on, and lets all others work; each sentence says why."""
        if sentences == self._stopped:
            return
        self._stopped = dict(sentences)
        for (kind, _), one in self._opened.items():
            one.stopped = self._stopped.get(kind.name, "")

    async def health(self) -> dict[str, str]:
        """A sentence for each integration opened so far, by name; an empty one means it can be used."""
        kinds = {kind: one for (kind, _), one in sorted(self._opened.items(), key=lambda item: not item[0][1])}
        return dict(zip((kind.name for kind in kinds), await asyncio.gather(*map(_health, kinds.values())), strict=True))

    async def look(self) -> list[Look]:
        """Every integration that this process knows, whether anything has used it or not."""
        return list(await asyncio.gather(*(self._look(kind) for kind in integration_kinds().values())))

    def take_used(self) -> list[str]:
        """The names of those that were used since this was asked last."""
        used, self._used = sorted(self._used), set()
        return used

    async def _look(self, kind: type[Integration]) -> Look:
        variables = tuple(_variables(kind, self._environment))
        try:
            opened = self._open(kind, planning=True)
        except IntegrationSettingWrong as error:
            return Look(kind.name, kind.scopes, variables, False, str(error))
        return Look(kind.name, kind.scopes, variables, True, self._stopped.get(kind.name) or await _health(opened))

    async def close(self) -> None:
        """Closes every instance, and then raises what went wrong with any of them. Using the catalog again opens new ones."""
        opened, self._opened = list(self._opened.values()), {}
        ends = await asyncio.gather(*(one.close() for one in opened), return_exceptions=True)
        if failures := [end for end in ends if isinstance(end, BaseException)]:
            raise BaseExceptionGroup("integrations did not close", failures)


def settings_of(kind: type[Integration], environment: Mapping[str, str]) -> BaseModel:
    """The kind's Settings read from `COUNTERSIGN_<NAME>__<FIELD>`. A list is written with commas or as JSON; an empty variable is unset."""
    fields = kind.Settings.model_fields
    given = {}
    for variable, text in environment.items():
        if not variable.startswith(_prefix(kind)) or not text.strip():
            continue
        field = variable.removeprefix(_prefix(kind)).lower()
        if field == RATE_LIMIT:
            continue
        if field not in fields:
            known = ", ".join(_variable(kind, name) for name in (*fields, RATE_LIMIT))
            raise IntegrationSettingWrong(f"{variable} is not a setting of {kind.name}; there are: {known}")
        given[field] = _read(text, fields[field])
    try:
        return kind.Settings.model_validate(given)
    except ValidationError as error:
        raise _explained(kind, error) from None


def rate_of(kind: type[Integration], environment: Mapping[str, str]) -> Rate | None:
    """How often it may be called: `COUNTERSIGN_<NAME>__RATE_LIMIT`, else what its author says; None for `none` and for nothing said."""
    variable = _variable(kind, RATE_LIMIT)
    text = environment.get(variable, "").strip() or kind.rate_limit
    if text.lower() in ("", "none"):
        return None
    try:
        return Rate.parse(text)
    except ValueError as error:
        raise IntegrationSettingWrong(f"{variable} {error}, or none") from None


def _variables(kind: type[Integration], environment: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for name, field in kind.Settings.model_fields.items():
        variable = _variable(kind, name)
        secret = _shape(field.annotation) in (Secret, SecretStr)
        yield {"name": variable, "secret": secret, "set": bool(environment.get(variable, "").strip())}


def _secrets_in(settings: BaseModel) -> Iterator[str]:
    for _, value in settings:
        if isinstance(value, Secret):
            yield value.reveal()
        elif isinstance(value, SecretStr):
            yield value.get_secret_value()


def _read(text: str, field: FieldInfo) -> Any:
    shape = _shape(field.annotation)
    if shape in (list, tuple, set, frozenset) and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    if shape in (list, tuple, set, frozenset, dict) or (isinstance(shape, type) and issubclass(shape, BaseModel)):
        try:
            return from_json(text)
        except ValueError:
            return text
    return text.strip()


def _explained(kind: type[Integration], error: ValidationError) -> IntegrationSettingWrong:
    first = error.errors(include_url=False, include_input=False)[0]
    problem = first["msg"].removeprefix("Value error, ").replace("Input should", "should")
    name = str(first["loc"][0]) if first["loc"] else ""
    field = kind.Settings.model_fields.get(name)
    if field is None:
        return IntegrationSettingWrong(f"{_prefix(kind)}…: {problem}")
    problem = "is required" if first["type"] == "missing" else problem
    return IntegrationSettingWrong(f"{_variable(kind, name)} {problem}, for instance {_variable(kind, name)}={_example(field)}")


def _example(field: FieldInfo) -> str:
    if field.examples:
        return str(field.examples[0])
    shape = _shape(field.annotation)
    if field.default not in (PydanticUndefined, None) and field.default_factory is None and shape not in (Secret, SecretStr):
        written = TypeAdapter[Any](field.annotation or str).dump_python(field.default, mode="json")
        return ",".join(map(str, written)) if isinstance(written, list) and written else str(written)
    return _EXAMPLES.get(shape, "text")


def _shape(annotation: Any) -> Any:
    """`list` for `list[str]`, `int` for `int | None`, the type itself otherwise."""
    inner = [one for one in get_args(annotation) if one is not type(None)]
    if get_origin(annotation) in (list, tuple, set, frozenset, dict):
        return get_origin(annotation)
    return _shape(inner[0]) if len(inner) == 1 else annotation


def _prefix(kind: type[Integration]) -> str:
    return f"{PREFIX}{re.sub(r'[^A-Z0-9]', '_', kind.name.upper())}__"


def _variable(kind: type[Integration], field: str) -> str:
    return f"{_prefix(kind)}{field.upper()}"


async def _health(one: Integration) -> str:
    try:
        async with asyncio.timeout(HEALTH_SECONDS):
            await one.health()
    except TimeoutError:
        return f"{one.name} did not answer within {HEALTH_SECONDS:g} s"
    except CountersignError as error:
        return str(error)
    except Exception as error:  # a client's bug must not hide the health of the others; its text may hold secrets, its type does not
        return f"{one.name} failed with {type(error).__name__}"
    return ""
