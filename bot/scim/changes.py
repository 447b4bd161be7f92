"""What a directory may do to its users and groups; each change is one more row of the feed, which a worker makes so."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from uuid6 import uuid7

from store.audits import AuditEvent, record
from store.databases import ReadSession, WriteSession
from store.directories import USER, Resource, add_word, find_resource, find_resources, find_users_among, lock_feed, next_version

from .callers import Directory
from .patches import patched
from .problems import ScimProblem, wrong_value
from .resources import Json, etag, plain, read_group, read_user

NOT_THERE = "There is no such {kind}."


@dataclass(frozen=True)
class Wanted:
    """A resource that is to be changed; `match` is the version that the caller has seen, if it says one (If-Match)."""

    kind: str
    reference: str
    match: str = ""


async def make(session: WriteSession, directory: Directory, kind: str, given: Mapping[str, Any]) -> Resource:
    """Adds a resource; raises ScimProblem 409 for a user name that somebody has."""
    await lock_feed(session)
    body = await _read(session, kind, given)
    if kind == USER:
        await _check_unique(session, body, but=None)
    resource = UUID(bytes=uuid7().bytes)
    return await _write(session, directory, kind, resource, body, how="made")


async def replace(session: WriteSession, directory: Directory, wanted: Wanted, given: Mapping[str, Any]) -> Resource:
    """Replaces a resource whole."""
    await lock_feed(session)
    return await _changed(session, directory, await find(session, wanted), given)


async def patch(session: WriteSession, directory: Directory, wanted: Wanted, request: Mapping[str, Any]) -> Resource:
    """Changes a resource by the operations of a PatchOp."""
    await lock_feed(session)
    found = await find(session, wanted)
    return await _changed(session, directory, found, patched(plain(found), request))


async def remove(session: WriteSession, directory: Directory, wanted: Wanted) -> None:
    """Deletes a resource: a user is let go, a group has nobody any more."""
    await lock_feed(session)
    found = await find(session, wanted)
    await add_word(session, found.kind, found.id, None, version=await next_version(session, found.id), token=directory.proof)
    await record(session, [_event(directory, found.kind, found.id, found.body, how="deleted")])


async def find(session: ReadSession, wanted: Wanted) -> Resource:
    """The resource as it is; raises ScimProblem 404, or 412 when it is not the version that was seen."""
    try:
        found = await find_resource(session, wanted.kind, UUID(wanted.reference))
    except ValueError:
        found = None
    if found is None:
        raise ScimProblem(404, NOT_THERE.format(kind=wanted.kind.lower()))
    if wanted.match not in ("", "*", etag(found)):
        raise ScimProblem(412, "The resource has changed since that version.")
    return found


async def _changed(session: WriteSession, directory: Directory, found: Resource, given: Mapping[str, Any]) -> Resource:
    body = await _read(session, found.kind, given)
    if body == found.body:
        return found
    if found.kind == USER:
        await _check_unique(session, body, but=found.id)
    return await _write(session, directory, found.kind, found.id, body, how="changed")


async def _read(session: ReadSession, kind: str, given: Mapping[str, Any]) -> Json:
    if kind == USER:
        return read_user(given)
    body = read_group(given)
    known = await find_users_among(session, body["members"])
    if unknown := next((one for one in body["members"] if one not in known), None):
        raise wrong_value(f"members: there is no user {unknown}")
    return body


async def _check_unique(session: ReadSession, body: Json, *, but: UUID | None) -> None:
    found, _ = await find_resources(session, USER, [("username", body["userName"])], offset=0, limit=2)
    if any(one.id != but for one in found):
        raise ScimProblem(409, f"userName: there is a user {body['userName'][:80]!r} already", "uniqueness")


async def _write(session: WriteSession, directory: Directory, kind: str, resource: UUID, body: Json, *, how: str) -> Resource:
    await add_word(session, kind, resource, body, version=await next_version(session, resource), token=directory.proof)
    await record(session, [_event(directory, kind, resource, body, how=how)])
    written = await find_resource(session, kind, resource)
    assert written is not None  # noqa: S101  written in this transaction
    return written


def _event(directory: Directory, kind: str, resource: UUID, body: Json, *, how: str) -> AuditEvent:
    detail: dict[str, Any] = {"resource": str(resource), "name": body.get("userName") or body.get("displayName"), "trace": directory.trace}
    if kind == USER:
        detail["active"] = body.get("active")
    else:
        detail["members"] = len(body.get("members", ()))
    return AuditEvent(f"directory:{kind.lower()}_{how}", "scim", None, detail)
