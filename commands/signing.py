"""Which decisions on a request are proven by passkeys; read by everybody who counts votes, door and worker alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from countersign.approvals import Approval
from countersign.commands import Command
from countersign.permissions import Risk
from store.approvals import ApprovalRequestRow, DecisionRow, find_decisions
from store.databases import ReadSession
from store.passkeys import find_passkeys, find_uses

from .proofs import Proof, Signed, check_count, check_proof
from .sites import Site, WrongPasskey


@dataclass(frozen=True)
class Signatures:
    """The proofs of a request's decisions, and what is wrong with those that have none, by the decisions' ids."""

    proofs: Mapping[UUID, Proof] = field(default_factory=dict)
    problems: Mapping[UUID, WrongPasskey] = field(default_factory=dict)


def needs_passkey(rule: Approval | None, command: Command | None) -> bool:
    """Whether decisions under the rule on this command count only with a passkey: every command of critical risk, whatever the rule."""
    return (rule is not None and rule.step_up == "passkey") or (command is not None and command.risk is Risk.critical)


async def read_signatures(
    session: ReadSession, site: Site, request: ApprovalRequestRow, rows: Sequence[DecisionRow], *, needed: bool
) -> Signatures:
    """Checks the proofs of these decisions; nothing is read where none is needed and none is there."""
    if not needed and not any(row.proof for row in rows):
        return Signatures()
    keys = await find_passkeys(session, {row.person for row in rows}, revoked=True)
    uses = await find_uses(session, [key.id for key in keys])
    rounds = await _rounds(session, request)
    proofs: dict[UUID, Proof] = {}
    problems: dict[UUID, WrongPasskey] = {}
    for row in rows:
        try:
            signed = _signed(request, row.person, row.verdict, digest=row.digest, rounds=rounds)
            proof = check_proof(site, signed, row.proof, known=keys)
            check_count(proof, uses, opened_at=request.opened_at)
            proofs[row.id] = proof
        except WrongPasskey as error:
            problems[row.id] = error
    return Signatures(proofs, problems)


async def to_sign(session: ReadSession, request: ApprovalRequestRow, *, person: str, verdict: str) -> Signed:
    """What this person's passkey signs to decide on the request as it is now."""
    return _signed(request, person, verdict, digest=request.digest, rounds=await _rounds(session, request))


async def _rounds(session: ReadSession, request: ApprovalRequestRow) -> list[str]:
    """Whose votes on this request were taken back, once for each."""
    return [row.person for row in await find_decisions(session, request.id, withdrawn=True) if row.withdrawn_at is not None]


def _signed(request: ApprovalRequestRow, person: str, verdict: str, *, digest: str, rounds: Sequence[str]) -> Signed:
    return Signed(request.run_id, request.id, request.revision, digest, verdict, person, rounds.count(person))
