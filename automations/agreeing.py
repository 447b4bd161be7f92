"""Whether a run may begin: its approvals, asked anew of policy, of people as they are now, of their passkeys and of the record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from commands.authorizing import required_approval
from commands.breaking import BADGE, LASTS, may_break
from commands.periods import BoundFreeze
from commands.repairs import REST, was_begun
from commands.rulebooks import Rulebook
from commands.signing import needs_passkey
from commands.standings import holds
from commands.voting import Ballot, read_ballot
from countersign.approvals import Approval
from countersign.arguments import Duration
from countersign.commands import Command
from countersign.runs import FINISHED, RunStatus
from countersign.tallies import Outcome
from store.approvals import ApprovalRequestRow, find_request
from store.audits import AuditEvent, AuditRow, find_trail, record
from store.breaks import find_break
from store.databases import ReadSession, has_passed
from store.passkeys import record_uses
from store.people import find_person
from store.runs import RunRow, find_by_reference
from store.standings import find_use

from .calling import Work
from .makingplans import request_of
from .services import Services

RESUMED: Final = "resumed:"
_AGAIN: Final = "policy wants other approvals now, the approval waited too long, or somebody who gave it may not any more"
_ENDS: Final = {f"run:{status}": status.replace("_", " ") for status in FINISHED}


@dataclass(frozen=True)
class Agreement:
    """Whether enough people agreed to exactly this; `why` not, for the card. `ended` is how the run ended according to the record.

    `broken_by` went past the approvers.
    """

    given: bool
    why: str = ""
    ended: str = ""
    broken_by: str = ""


async def find_agreement(
    services: Services,
    rulebook: Rulebook,
    work: Work,
    command: Command,
    *,
    floor: Approval | None,
    freezes: Sequence[BoundFreeze] = (),
) -> Agreement:
    """Whether this revision is approved by people who may still approve it, as policy wants it now.

    `floor` is what the plan asks for, `freezes` are those that hold now.

    Policy is asked again although planning asked it, because a run's status alone, which the web process may write, is no proof. Nor are
    the request's rule and times: where a passkey signs, they are taken from policy and from the record, which nobody can change.
    """
    run = work.run
    rule, _ = required_approval(
        rulebook.policy,
        work.person,
        request_of(run, command, now=rulebook.now()),
        alone=rulebook.alone,
        plan=floor,
        freezes=freezes,
    )
    if not work.asked:
        return Agreement(rule is None, _AGAIN)
    async with services.reading() as session:
        request = await find_request(session, run.id)
        if request is None or request.revision != run.revision:
            return Agreement(rule is None, _AGAIN)
        if request.digest != run.digest:
            return Agreement(False, _AGAIN)
        signed = needs_passkey(rule, command)
        # Nothing stands in the place of a passkey, whatever the request says.
        if request.via == BADGE and not signed:
            return await _broken(session, rulebook, run, rule)
        if request.via.startswith(RESUMED) and not signed and not freezes:
            kept = await find_kept(session, rulebook, run, run.plan or {}, rule)
            return Agreement(kept is not None, "the approvals of the run that this goes on with do not hold any more")
        if request.via and not signed:
            if freezes:
                return Agreement(False, f"it is frozen now ({freezes[0].freeze.name}), and no standing approval passes a freeze")
            return await _standing(session, rulebook, work, rule)
        found = await _counted(session, rulebook, request, run, rule)
        trail = await find_trail(session, run.id) if signed else []
    if ended := _end_in(trail):
        return Agreement(False, ended=ended)
    if found is None or (signed and rule and not _in_time(rule, run, trail, now=found[0].now)):
        return Agreement(False, _AGAIN)
    if signed and not _by_whom_it_says(run, trail):
        return Agreement(False, "according to the record somebody else has asked for this")
    ballot, given = found
    return await _signed(services, run, ballot, given=given) if signed else Agreement(given, _AGAIN)


async def find_kept(session: ReadSession, rulebook: Rulebook, run: RunRow, plan: Mapping[str, Any], rule: Approval | None) -> RunRow | None:
    """The run whose approvals hold for this one too: for the same person it does exactly what is left of what they were given to.

    They are counted as of now, as those of a run that has not begun are. What was done once is not done twice under them, nor is anything
    under a passkey.
    """
    if run.command != "resume" or rule is None or not plan.get("watched", {}).get(REST):
        return None
    earlier = await find_by_reference(session, str(run.arguments.get("number", "")))
    command = rulebook.registry.find(earlier.command) if earlier else None
    if earlier is None or command is None or earlier.asker != run.asker or command.code_version != earlier.code_version:
        return None
    request = await find_request(session, earlier.id)
    if request is None or request.via or (request.revision, request.digest) != (earlier.revision, earlier.digest):
        return None
    if needs_passkey(rule, command) or not await was_begun(session, earlier):
        return None
    found = await _counted(session, rulebook, request, earlier, rule)
    return earlier if found is not None and found[1] else None


async def find_end(services: Services, run_id: UUID) -> str:
    """How the run ended according to the record, whatever its row says now; empty while it has not."""
    async with services.reading() as session:
        return _end_in(await find_trail(session, run_id))


async def _broken(session: ReadSession, rulebook: Rulebook, run: RunRow, rule: Approval | None) -> Agreement:
    """Whether the glass was broken for exactly this, by somebody who may, lately."""
    found = await find_break(session, run.id, run.revision)
    person = await find_person(session, found.person) if found else None
    if found is None or person is None or found.digest != run.digest or may_break(rulebook.policy, person, run, rule, found):
        return Agreement(False, "the glass was not broken for this by anybody who may")
    late = found.until - found.broken_at > LASTS or await has_passed(session, found.until)
    return Agreement(False, "the glass was broken too long ago") if late else Agreement(True, broken_by=found.person)


async def _standing(session: ReadSession, rulebook: Rulebook, work: Work, rule: Approval | None) -> Agreement:
    """Whether the standing approval that this used has not ended and still carries it."""
    run = work.run
    used = await find_use(session, run.id, run.revision)
    if used is None or used[1] != run.digest:
        return Agreement(False, "no standing approval was used for this, or it has ended")
    if rule is not None and not await holds(session, rulebook, used[0], run, work.person, rule):
        return Agreement(False, f"the standing approval S{used[0].number} does not carry this any more")
    return Agreement(True)


async def _counted(
    session: ReadSession, rulebook: Rulebook, request: ApprovalRequestRow, run: RunRow, rule: Approval | None
) -> tuple[Ballot, bool] | None:
    """The ballot and whether it agrees; None for rows that nobody of ours has written."""
    same = rule is None or rule.as_json() == request.rule
    try:
        # A fallback lets people in where nobody is in a set, so whoever looks at another rule than the frozen one has to see everybody.
        ballot = await read_ballot(session, rulebook, request, run, everybody=not same)
        approved = ballot.tally().outcome is Outcome.approved
    except (TypeError, ValueError, KeyError, AttributeError):
        return None
    # An approval given in time stays given while the run waits for a worker, so beside the count only this end matters.
    late = request.valid_until is not None and ballot.now >= request.valid_until
    return ballot, approved and not late and (rule is None or same or ballot.meets(rule))


async def _signed(services: Services, run: RunRow, ballot: Ballot, *, given: bool) -> Agreement:
    """Remembers what the passkeys counted, or why they prove nothing."""
    approvals = [row for row in ballot.decisions if row.verdict == "approve"]
    problems = [(row, ballot.signatures.problems[row.id]) for row in approvals if row.id in ballot.signatures.problems]
    events = [
        AuditEvent("decision:unproven", row.person, run.id, {"refused": why.reason, "digest": row.digest, "decision": str(row.id)})
        for row, why in problems
    ]
    proofs = [ballot.signatures.proofs[row.id] for row in approvals if row.id in ballot.signatures.proofs]
    async with services.transaction() as session:
        await record(session, events)
        relied = not given or await record_uses(session, [(one.key.id, one.challenge, one.sign_count) for one in proofs])
    if given and relied:
        return Agreement(True)
    told = [f"the approval of {row.person} does not count: {why}" for row, why in problems]
    return Agreement(False, told[0][:300] if told else _AGAIN)


def _end_in(trail: Sequence[AuditRow]) -> str:
    return next((_ENDS[one.kind] for one in trail if one.kind in _ENDS), "")


def _by_whom_it_says(run: RunRow, trail: Sequence[AuditRow]) -> bool:
    """Whether those who may not vote are those of the record: the asker, whoever changed the request last, and in whose hands it is."""
    asked = [one.actor for one in trail if one.kind == f"run:{RunStatus.submitted}"]
    first = [str(one.detail.get("holder") or run.asker) for one in trail if one.kind == f"run:{RunStatus.submitted}"]
    handed = [str(one.detail.get("to")) for one in trail if one.kind == "handover:made"] or first[:1]
    return bool(asked) and asked[0] == run.asker and asked[-1] in (run.asker, run.edited_by) and handed[-1] in (run.asker, run.handed_to)


def _in_time(rule: Approval, run: RunRow, trail: Sequence[AuditRow], *, now: datetime) -> bool:
    """Whether the plan was put to people so lately that an approval of it may still be carried out.

    The first event counts: whoever forges later ones cannot make it younger.
    """
    asked = next((one for one in trail if one.kind == f"run:{RunStatus.awaiting_approval}" and _of_this(one, run)), None)
    if asked is None:
        return False
    decided = asked.at + _length(rule.expires)
    # A later start counts if it was wanted before the time to decide was over.
    starts = [_moment(one.detail["start_at"]) for one in trail if "start_at" in one.detail and one.at < decided]
    return now < max([decided, *filter(None, starts)]) + _length(rule.valid)


def _of_this(event: AuditRow, run: RunRow) -> bool:
    return event.detail.get("digest") == run.digest and event.detail.get("revision") == run.revision


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _length(text: str) -> timedelta:
    return Duration.parse(text)
