"""Enrolling passkeys: a browser's key becomes a request like any other. What signs a decision is never decided by this process."""

import secrets
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Depends, Response
from pydantic import Field, JsonValue

from commands.passkeys import challenge_in, creation_options, fingerprint, read_registration, written_key
from commands.sites import Site, WrongPasskey
from countersign.invocations import Door, Invocation
from store.databases import ReadSession, WriteSession
from store.passkeys import Passkey, add_challenge, find_passkeys, spend_challenge

from .bodies import Body, body_of, documented
from .callers import READ, SUBMIT, Caller, caller_with
from .problems import Problem
from .runs import PLACE, looked, raise_refusal

router = APIRouter(prefix="/passkeys", tags=["passkeys"])
Reader = Annotated[Caller, Depends(caller_with(READ))]
Asker = Annotated[Caller, Depends(caller_with(SUBMIT))]


class NewEnrolment(Body):
    """`credential` is what `navigator.credentials.create` gave, as JSON; `label` tells your keys apart."""

    label: Annotated[str, Field(min_length=1, max_length=40)]
    credential: dict[str, JsonValue]


@router.get("")
async def search(caller: Reader) -> dict[str, Any]:
    """Your passkeys in use."""

    async def find(session: ReadSession) -> list[Passkey]:
        return await find_passkeys(session, [caller.person.name])

    items = [_as_json(one) for one in await caller.hub.read(find)]
    return {"items": items, "next": None}


@router.post("/options")
async def options(caller: Asker) -> dict[str, Any]:
    """What to give `navigator.credentials.create`; good for ten minutes and one enrolment."""
    site, challenge, name = _site(caller), secrets.token_bytes(32), caller.person.name

    async def begin(session: WriteSession) -> dict[str, Any] | None:
        known = await find_passkeys(session, [name])
        made = creation_options(site, person=name, challenge=challenge, known=known)
        return made if await add_challenge(session, challenge, person=name) else None

    made = await caller.hub.committed(begin)
    if made is None:
        raise Problem(
            429, "too_many", "You have begun many enrolments and finished none; wait ten minutes.", headers={"retry-after": "600"}
        )
    return made


@router.post("", status_code=201, openapi_extra=documented(NewEnrolment))
async def enrol(caller: Asker, wanted: Annotated[NewEnrolment, Depends(body_of(NewEnrolment))], response: Response) -> dict[str, Any]:
    """Ask for the enrolment of a key. 201 with the run of `passkey add`, which an admin signs; the key counts when it has succeeded."""
    site, name = _site(caller), caller.person.name
    challenge = challenge_in(wanted.credential)
    key = read_registration(site, challenge=challenge, response=wanted.credential)

    async def spend(session: WriteSession) -> bool:
        return await spend_challenge(session, challenge, person=name)

    if not await caller.hub.committed(spend):
        raise WrongPasskey("wrong_challenge", "This enrolment was not begun here, took over ten minutes, or was sent before; begin again.")
    arguments = {"label": wanted.label, "key": written_key(key, site)}
    invocation = Invocation(
        key=f"api:{name}:{uuid4()}", door=Door.api, place=PLACE, command="passkey add", arguments=arguments, trace=caller.trace
    )
    answer = await caller.hub.submit(caller.person, invocation)
    raise_refusal(answer)
    response.headers["location"] = f"/api/v1/runs/{answer.run_id}"
    return {"fingerprint": key.fingerprint, "run": await looked(caller, str(answer.run_id))}


def _site(caller: Caller) -> Site:
    return Site.of(caller.hub.settings.url)


def _as_json(one: Passkey) -> dict[str, Any]:
    return {"fingerprint": fingerprint(one.data), "label": one.label, "added_at": one.added_at.isoformat(), "rp_id": one.rp_id}
