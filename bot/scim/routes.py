"""`/scim/v2`: Users, Groups and what the service says about itself, in `application/scim+json`."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import JSONResponse, Response

from bot.api.bodies import strict_json
from bot.api.problems import Problem
from store.databases import ReadSession, WriteSession
from store.directories import FILTERED, GROUP, USER, Resource, find_resources

from . import changes, schemas
from .callers import Directory, find_directory
from .changes import Wanted
from .filters import read_filter
from .problems import MEDIA_TYPE, ScimProblem, response_of
from .resources import etag, narrowed, shown

PATH: Final = "/scim/v2"
_KINDS: Final = {"Users": USER, "Groups": GROUP}
_BODIES: Final = (MEDIA_TYPE, "application/json")
T = TypeVar("T")
router = APIRouter(prefix=PATH, include_in_schema=False)


def mount(app: FastAPI) -> None:
    """Adds the door's own answers to the web process."""
    app.add_exception_handler(ScimProblem, response_of)


@router.get("/ServiceProviderConfig")
async def service(request: Request) -> Response:
    """What this service can."""
    return _json(schemas.service((await find_directory(request)).base))


@router.get("/ResourceTypes")
async def types(request: Request) -> Response:
    """User and Group."""
    items = schemas.resource_types((await find_directory(request)).base)
    return _json(schemas.page(items, total=len(items), start=1))


@router.get("/ResourceTypes/{name}")
async def one_type(request: Request, name: str) -> Response:
    """One of them."""
    return _json(_named(schemas.resource_types((await find_directory(request)).base), name))


@router.get("/Schemas")
async def all_schemas(request: Request) -> Response:
    """The attributes that are kept."""
    items = schemas.schemas((await find_directory(request)).base)
    return _json(schemas.page(items, total=len(items), start=1))


@router.get("/Schemas/{name}")
async def one_schema(request: Request, name: str) -> Response:
    """One schema by its URN."""
    return _json(_named(schemas.schemas((await find_directory(request)).base), name))


@router.get("/{endpoint}")
async def look(request: Request, endpoint: str) -> Response:
    """A page of users or groups, filtered or not."""
    directory, kind = await find_directory(request), _kind(endpoint)
    start, count = _number(request, "startIndex", 1), min(schemas.MOST, _number(request, "count", 100))
    conditions = _conditions(request.query_params.get("filter", ""))

    async def read(session: ReadSession) -> tuple[list[Resource], int]:
        return await find_resources(session, kind, conditions, offset=max(0, start - 1), limit=max(0, count))

    found, total = await directory.hub.read(read)
    items = [_narrowed(request, shown(one, base=directory.base)) for one in found]
    return _json(schemas.page(items, total=total, start=max(1, start)))


@router.post("/{endpoint}")
async def make(request: Request, endpoint: str) -> Response:
    """A new user or group."""
    directory, kind, given = await find_directory(request), _kind(endpoint), await _body(request)
    made = await _done(directory, lambda session: changes.make(session, directory, kind, given))
    return _resource(request, directory, made, status=201)


@router.get("/{endpoint}/{reference}")
async def look_at(request: Request, endpoint: str, reference: str) -> Response:
    """One user or group."""
    directory, wanted = await find_directory(request), Wanted(_kind(endpoint), reference)
    return _resource(request, directory, await directory.hub.read(lambda session: changes.find(session, wanted)))


@router.put("/{endpoint}/{reference}")
async def replace(request: Request, endpoint: str, reference: str) -> Response:
    """Replaces a user or group whole."""
    directory, wanted, given = await find_directory(request), _wanted(request, endpoint, reference), await _body(request)
    changed = await _done(directory, lambda session: changes.replace(session, directory, wanted, given))
    return _resource(request, directory, changed)


@router.patch("/{endpoint}/{reference}")
async def patch(request: Request, endpoint: str, reference: str) -> Response:
    """Changes some of it."""
    directory, wanted, given = await find_directory(request), _wanted(request, endpoint, reference), await _body(request)
    changed = await _done(directory, lambda session: changes.patch(session, directory, wanted, given))
    return _resource(request, directory, changed)


@router.delete("/{endpoint}/{reference}")
async def remove(request: Request, endpoint: str, reference: str) -> Response:
    """Deletes it; who is deleted is let go."""
    directory, wanted = await find_directory(request), _wanted(request, endpoint, reference)
    await _done(directory, lambda session: changes.remove(session, directory, wanted))
    return Response(status_code=204)


async def _done(directory: Directory, work: Callable[[WriteSession], Awaitable[T]]) -> T:
    return await directory.hub.committed(work, what="Look the resource up to see whether it counted.")


async def _body(request: Request) -> Mapping[str, Any]:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in _BODIES:
        raise ScimProblem(415, f"Send the body as {MEDIA_TYPE} in UTF-8.")
    try:
        data = strict_json(await request.body())
    except Problem as problem:
        raise ScimProblem(problem.status, problem.detail, "invalidSyntax") from None
    if not isinstance(data, dict):
        raise ScimProblem(400, "The body should be a JSON object.", "invalidSyntax")
    return data


def _kind(endpoint: str) -> str:
    if endpoint == "Me":
        raise ScimProblem(501, "A directory's token belongs to no user, so there is no Me.")
    if endpoint not in _KINDS:
        raise ScimProblem(404, "There is nothing at this address; there are Users and Groups.")
    return _KINDS[endpoint]


def _wanted(request: Request, endpoint: str, reference: str) -> Wanted:
    return Wanted(_kind(endpoint), reference, request.headers.get("if-match", "").strip())


def _conditions(text: str) -> list[tuple[str, str]]:
    found = []
    for one in read_filter(text) if text.strip() else ():
        path = f"{one.path}.value" if one.path in ("emails", "members") else one.path
        if path not in FILTERED:
            raise ScimProblem(400, f"filter: {one.path[:80]} cannot be filtered by; {', '.join(sorted(FILTERED))} can", "invalidFilter")
        found.append((path, str(one.value).lower() if isinstance(one.value, bool) else one.value))
    return found


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    try:
        return max(-1, min(int(text), 10_000_000)) if text else default
    except ValueError:
        raise ScimProblem(400, f"{name}: should be a whole number", "invalidValue") from None


def _narrowed(request: Request, resource: dict[str, Any]) -> dict[str, Any]:
    only, without = (
        [part.strip() for part in request.query_params.get(name, "").split(",") if part.strip()]
        for name in ("attributes", "excludedAttributes")
    )
    return narrowed(resource, only=only, without=without)


def _resource(request: Request, directory: Directory, found: Resource, *, status: int = 200) -> Response:
    body = shown(found, base=directory.base)
    headers = {"etag": etag(found), "location": body["meta"]["location"]}
    return _json(_narrowed(request, body), status=status, headers=headers)


def _named(items: list[dict[str, Any]], name: str) -> dict[str, Any]:
    found = next((one for one in items if one["id"].lower() == name.lower()), None)
    if found is None:
        raise ScimProblem(404, "There is nothing of this name.")
    return found


def _json(body: dict[str, Any], *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(body, status, headers=headers, media_type=MEDIA_TYPE)
