"""Logging in again with a token: some decisions are only taken from somebody who has just done so."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import Field

from countersign.invocations import Door
from store.audits import AuditEvent, record
from store.databases import WriteSession
from store.tokens import FRESH_SECONDS, freshen, spend_token

from .bodies import Body, body_of, documented
from .callers import DECIDE, Caller, caller_with
from .problems import Problem

router = APIRouter(prefix="/login", tags=["login"])
Decider = Annotated[Caller, Depends(caller_with(DECIDE))]


class NewLogin(Body):
    """`link` is a one-time link of your own, whole or its last part."""

    link: Annotated[str, Field(min_length=1, max_length=500)]


@router.post("", openapi_extra=documented(NewLogin))
async def log_in(caller: Decider, wanted: Annotated[NewLogin, Depends(body_of(NewLogin))]) -> dict[str, Any]:
    """Spend a one-time link, which makes this token's login fresh for five minutes."""
    value, name = wanted.link.rpartition("/")[2], caller.person.name

    async def spend(session: WriteSession) -> bool:
        link = await spend_token(session, value, kind="link")
        fits = link is not None and link.person == name
        detail = {"door": Door.api.value, "trace": caller.trace} | ({} if fits else {"reason": "wrong_link"})
        await record(session, [AuditEvent("session:freshened" if fits else "request:refused", name, None, detail)])
        if fits:
            await freshen(session, caller.token)
        return fits

    if not (value.isascii() and await caller.hub.committed(spend)):
        raise Problem(403, "wrong_link", "This link is not yours, has expired or was used; make a new one: countersign token issue --link.")
    return {"fresh_for": int(FRESH_SECONDS)}
