"""Request bodies, read strictly: one exact content type, no duplicate keys, no NaN, at most 32 levels, then the model."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request

from .problems import Problem

DEEPEST: Final = 32
M = TypeVar("M", bound=BaseModel)


class Body(BaseModel):
    """What every request body is: keys that are not known are refused, and a number is not a text."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


def body_of(model: type[M]) -> Callable[[Request], Awaitable[M]]:
    """A dependency that reads the body as this model; raises Problem 415, 400 or 422 naming what is wrong."""

    async def read(request: Request) -> M:
        _check_type(request)
        data = strict_json(await request.body())
        try:
            return model.model_validate(data)
        except ValidationError as error:
            raise _unprocessable(error) from None

    return read


def documented(model: type[BaseModel]) -> dict[str, Any]:
    """What OpenAPI says about the body that `body_of(model)` reads."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}}


def strict_json(raw: bytes) -> Any:
    """The one JSON value in these bytes; raises Problem 400 for anything that two parsers could read differently."""
    try:
        data = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
        json.dumps(data, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise _bad(f"The body is nested more than {DEEPEST} levels deep.") from None
    except UnicodeError:
        raise _bad("The body is not valid UTF-8 text.") from None
    except json.JSONDecodeError as error:
        raise _bad(f"The body is not JSON: {error.msg.lower()} at line {error.lineno}, column {error.colno}.") from None
    except ValueError as error:
        raise _bad(f"The body is not usable JSON: {error}.") from None
    _check_depth(data)
    return data


def _check_type(request: Request) -> None:
    kind, _, parameters = request.headers.get("content-type", "").partition(";")
    wanted = parameters.strip().lower() in ("", "charset=utf-8", 'charset="utf-8"')
    if kind.strip().lower() != "application/json" or not wanted:
        raise Problem(415, "wrong_content_type", "Send the body as application/json in UTF-8.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(415, "wrong_content_type", "Send the body without compression.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:40]!r} is there twice")
        found[key] = value
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number is too large")
    return number


def _check_depth(data: Any) -> None:
    layer = [data]
    for _ in range(DEEPEST + 1):
        if any(isinstance(one, str) and "\0" in one for one in layer):
            raise _bad("The body contains a NUL character.")
        layer = [one for one in layer if isinstance(one, dict | list)]
        if not layer:
            return
        layer = [inner for one in layer for inner in ((*one.keys(), *one.values()) if isinstance(one, dict) else one)]
    raise _bad(f"The body is nested more than {DEEPEST} levels deep.")


def _bad(sentence: str) -> Problem:
    return Problem(400, "bad_input", sentence)


def _unprocessable(error: ValidationError) -> Problem:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(one)[:40] for one in first["loc"])
    if first["type"] == "extra_forbidden":
        return Problem(422, "wrong_body", f"{place}: is not a key that is known here.", {"field": place})
    said = first["msg"].removeprefix("Value error, ").replace("Input should", "should")
    return Problem(422, "wrong_body", f"{place}: {said}." if place else f"The body {said}.", {"field": place})
