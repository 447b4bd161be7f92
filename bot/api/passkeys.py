"""Enrolling passkeys: a browser's key becomes a request like any other. What signs a decision is never decided by this process."""

from typing import Annotated, Any, Final
from uuid import uuid4

from fastapi import APIRouter, Depends, Response
from pydantic import Field, JsonValue

from bot.enrolments import begin_enrolment, finish_enrolment
from commands.passkeys import fingerprint
from countersign.invocations import Door
from store.databases import ReadSession
from store.passkeys import Passkey, find_passkeys

from .bodies import Body, body_of, documented
from .callers import READ, SUBMIT, Caller, caller_with
from .problems import Problem
from .runs import PLACE, looked, raise_refusal

router = APIRouter(prefix="/passkeys", tags=["passkeys"])
Reader = Annotated[Caller, Depends(caller_with(READ))]
Asker = Annotated[Caller, Depends(caller_with(SUBMIT))]
_WAIT: Final = "You have begun many enrolments and finished none; wait ten minutes."


def too_many() -> Problem:
    """Somebody began many enrolments and finished none."""
    return Problem(429, "too_many", _WAIT, headers={"retry-after": "600"})


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
    made = await begin_enrolment(caller.hub, caller.person)
    if made is None:
        raise too_many()
    return made


@router.post("", status_code=201, openapi_extra=documented(NewEnrolment))
async def enrol(caller: Asker, wanted: Annotated[NewEnrolment, Depends(body_of(NewEnrolment))], response: Response) -> dict[str, Any]:
    """Ask for the enrolment of a key. 201 with the run of `passkey add`, which an admin signs; the key counts when it has succeeded."""
    own = f"api:{caller.person.name}:{uuid4()}"
    key, answer = await finish_enrolment(
        caller.hub, caller.person, wanted.credential, label=wanted.label, key=own, door=Door.api, place=PLACE, trace=caller.trace
    )
    raise_refusal(answer)
    response.headers["location"] = f"/api/v1/runs/{answer.run_id}"
    return {"fingerprint": key.fingerprint, "run": await looked(caller, str(answer.run_id))}


def _as_json(one: Passkey) -> dict[str, Any]:
    return {"fingerprint": fingerprint(one.data), "label": one.label, "added_at": one.added_at.isoformat(), "rp_id": one.rp_id}
