"""What a browser needs to sign a decision. It only tells: deciding takes a POST with the signature."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from bot.hubs import Hub
from commands.proofs import request_options
from commands.signing import to_sign
from commands.sites import Site
from countersign.invocations import Door
from countersign.runs import RunStatus
from countersign.tallies import Verdict
from store.approvals import find_request
from store.databases import ReadSession
from store.passkeys import find_passkeys
from store.people import Person
from store.runs import RunRow

from .callers import DECIDE, Caller, caller_with
from .problems import refused
from .stories import read_visible

router = APIRouter(prefix="/runs", tags=["runs"])
Decider = Annotated[Caller, Depends(caller_with(DECIDE))]


@router.get("/{reference}/decisions/options")
async def options(caller: Decider, reference: str, verdict: Annotated[Verdict, Query()] = Verdict.approve) -> dict[str, Any]:
    """What to give `navigator.credentials.get`, to sign this verdict on the plan as it is now; `digest` is that plan's."""
    return await signing_options(caller.hub, caller.person, reference, verdict, door=Door.api, trace=caller.trace)


async def signing_options(
    hub: Hub, person: Person, reference: str, verdict: Verdict, *, door: Door, trace: str, digest: str = ""
) -> dict[str, Any]:
    """What this person's passkey would sign; with a `digest`, only while that is the plan's. Raises Problem 404 or 409."""
    address = (await hub.rulebook()).address

    async def find(session: ReadSession, run: RunRow) -> dict[str, Any]:
        request = await find_request(session, run.id)
        if request is None or run.status != RunStatus.awaiting_approval:
            raise refused("nothing_to_decide", f"Run #{run.number} does not wait for an approval; it is {run.status.replace('_', ' ')}.")
        if digest and digest != request.digest:
            raise refused("digest_mismatch", "The plan has changed since this card was shown; look at the new one.")
        signed = await to_sign(session, request, person=person.name, verdict=verdict)
        known = await find_passkeys(session, [person.name])
        asked = request_options(Site.of(address), challenge=signed.challenge, known=known)
        return asked | {"digest": request.digest, "verdict": verdict.value}

    return await read_visible(hub, person, reference, find, door=door, trace=trace)
