"""Step-up: some decisions are made in the browser after a fresh login, or signed with a passkey. What one is told who has not done so."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from countersign.invocations import Door
from countersign.tallies import Verdict
from store.approvals import ApprovalRequestRow
from store.databases import ReadSession
from store.passkeys import find_passkeys, find_uses
from store.runs import RunRow

from .authorizing import Refused
from .proofs import check_count, check_proof
from .rulebooks import Rulebook
from .signing import to_sign
from .sites import Site, WrongPasskey
from .voting import Ballot

ENROL: Final = "enrol one in the browser, under Passkeys, and an admin signs that."
_DOORS: Final = (Door.browser, Door.api)


@dataclass(frozen=True)
class Standing:
    """How somebody stands there who decides: through which door, after a fresh login or not, with which signature."""

    door: Door
    fresh: bool = False
    assertion: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Cause:
    """What is decided about, by whom and how."""

    request: ApprovalRequestRow
    run: RunRow
    person: str
    verdict: Verdict


async def check_step_up(session: ReadSession, rulebook: Rulebook, ballot: Ballot, cause: Cause, standing: Standing) -> Refused | None:
    """Why this decision does not count without more; None when it does."""
    link = link_of(rulebook.address, cause.run)
    if ballot.signed:
        return await _unsigned(session, rulebook, cause, standing, link=link)
    if ballot.rule.step_up == "login" and not (standing.door in _DOORS and standing.fresh):
        return Refused(f"This is decided in the browser, within five minutes of logging in: {link}", "step_up_login")
    return None


def link_of(address: str, run: RunRow) -> str:
    """Where one run is decided in the browser; empty where nobody knows our address."""
    return f"{address}/runs/{run.number}" if address else ""


async def _unsigned(session: ReadSession, rulebook: Rulebook, cause: Cause, standing: Standing, *, link: str) -> Refused | None:
    keys = await find_passkeys(session, [cause.person], revoked=True)
    if not any(one.revoked_at is None for one in keys):
        return Refused(f"This is signed with a passkey, and you have none yet: {ENROL}", "no_passkey")
    if standing.assertion is None or standing.door not in _DOORS:
        return Refused(f"This is signed with your passkey, in the browser: {link}", "step_up_passkey")
    signed = await to_sign(session, cause.request, person=cause.person, verdict=cause.verdict)
    try:
        proof = check_proof(Site.of(rulebook.address), signed, standing.assertion, known=keys)
        check_count(proof, await find_uses(session, [proof.key.id]), opened_at=cause.request.opened_at)
    except WrongPasskey as error:
        return Refused(str(error), error.reason)
    return None
