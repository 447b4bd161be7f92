"""tending: what time does to open requests: reminders, escalations, skipped stages, the next stage announced, the end."""

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import text

from automations.audiences import approver_messages, signers_wanted, voters_wanted
from automations.planning import fallback_of
from automations.services import Services
from commands.audiences import audience_at
from commands.breaking import may_review
from commands.decide import refresh_cards, settle
from commands.expire import expire
from commands.rolls import Roll
from commands.rulebooks import Rulebook
from commands.voting import Ballot, read_ballots
from countersign.approvals import Approval
from countersign.arguments import Duration
from countersign.tallies import Outcome, Tally
from store.approvals import ApprovalRequestRow, find_due_requests, leave_until_the_end, lock_request, note_outcome, note_stage
from store.audiences import keep_audiences
from store.audits import AuditEvent, record
from store.breaks import find_open_reviews, put_review_off
from store.databases import ReadSession, WriteSession
from store.messages import add_messages
from store.people import Person, find_all_people
from store.runs import RunRow, find_run, find_runs

_log = logging.getLogger(__name__)
BATCH: Final = 50
# What reading a rule raises that nobody of ours has written: the web process may write requests, and may be taken over.
_UNREADABLE: Final = (TypeError, ValueError, KeyError, AttributeError)


async def tend_requests(services: Services) -> int:
    """Does what is due to open requests, each in its own transaction; returns how many there were."""
    async with services.reading() as session:
        due = await find_due_requests(session, limit=BATCH)
        if not due:
            return 0
        roll = await read_roll(session, await services.current_rulebook(session))
    for run_id in due:
        try:
            async with services.transaction() as session:
                await _tend(services, session, roll, run_id)
        except _UNREADABLE as error:
            _log.error("the request of run %s cannot be read: %s", run_id, type(error).__name__)
            async with services.transaction() as session:
                if not await leave_until_the_end(session, run_id):
                    await expire(session, [run_id])
    return len(due)


async def read_roll(session: ReadSession, rulebook: Rulebook) -> Roll:
    """Everybody as they are now."""
    now: datetime = (await session.execute(text("SELECT countersign_now()"))).scalar_one()
    return Roll(rulebook, await find_all_people(session), at=now)


def shortage(roll: Roll, ballot: Ballot, tally: Tally, run: RunRow) -> str:
    """A sentence when too few people are left who could approve it, else empty."""
    able = [
        roll.voters(ballot.rule, ballot.matter, ballot.sets(tally) if position == tally.stage else stage.sets)
        for position, stage in enumerate(ballot.rule.steps)
    ]
    return voters_wanted(ballot.rule, able) or signers_wanted(roll.rulebook, run, ballot.rule, able)


async def ask_for_reviews(services: Services) -> int:
    """Asks again, every day, for the reviews that nobody has signed; returns how many were due."""
    async with services.transaction() as session:
        due = await find_open_reviews(session, due=True)
        if not due:
            return 0
        runs = await find_runs(session, [one.run_id for one in due])
        people = await find_all_people(session)
        policy = (await services.current_rulebook(session)).policy
        for one in due:
            able = [person for person in people if may_review(policy, person, one.involved)]
            again = f"review-{one.next_due:%j%H%M%S}"
            await add_messages(session, approver_messages(runs[one.run_id], able, revision=1, fallback=fallback_of(services), again=again))
            await put_review_off(session, one.run_id, by=timedelta(days=1))
    return len(due)


async def _tend(services: Services, session: WriteSession, roll: Roll, run_id: UUID) -> None:
    """Brings one open request up to now."""
    request = await lock_request(session, run_id)
    run = await find_run(session, run_id)
    if request is None or run is None or request.state != "open":
        return
    (ballot,) = await read_ballots(session, roll.rulebook, [(request, run)], people=roll.people)
    tally = ballot.tally()
    if tally.outcome is Outcome.expired:
        await expire(session, [run_id])
    elif tally.outcome is not Outcome.waiting:
        await settle(session, request, run, ballot)
    else:
        await _go_on(services, session, request, run, ballot, tally, roll)


async def _go_on(
    services: Services, session: WriteSession, request: ApprovalRequestRow, run: RunRow, ballot: Ballot, tally: Tally, roll: Roll
) -> None:
    """Asks whoever has to be asked now, and writes down when to look again."""
    waiting = who_waits(roll, ballot, tally)
    reminding = _is_reminder(request, ballot)
    again = f"{ballot.now:%j%H%M%S}" if reminding else ""
    await add_messages(session, approver_messages(run, waiting, revision=request.revision, fallback=fallback_of(services), again=again))
    await record(session, list(_events(request, ballot, tally, waiting, reminding=reminding)))
    await note_outcome(session, run.id, shortage(roll, ballot, tally, run))
    due = _next_due(request, ballot, tally, reminded=reminding)
    audience = audience_at(ballot, tally, Approval.of_json(request.rule), run)
    await keep_audiences(session, {audience.id: audience.as_json()})
    await note_stage(session, request.id, stage=tally.stage, next_due=due, audience=audience.id, reminded=reminding)
    await refresh_cards(session, run.id)


def who_waits(roll: Roll, ballot: Ballot, tally: Tally) -> list[Person]:
    """Those who may vote now and have not."""
    return [one for one in roll.voters(ballot.rule, ballot.matter, ballot.sets(tally)) if not ballot.has_voted(one.name)]


def _events(
    request: ApprovalRequestRow, ballot: Ballot, tally: Tally, waiting: Sequence[Person], *, reminding: bool
) -> Iterator[AuditEvent]:
    about = {"request": str(request.id), "people": [one.name for one in waiting]}
    stage = ballot.rule.steps[tally.stage]
    if tally.stage > request.stage:
        skipped = [one + 1 for one in tally.skipped if one >= request.stage]
        yield AuditEvent("request:stage", "countersign", request.run_id, about | {"stage": tally.stage + 1, "skipped": skipped})
    elif stage.escalates and request.next_due and request.next_due <= (tally.started or request.opened_at) + stage.escalates <= ballot.now:
        yield AuditEvent("request:escalated", "countersign", request.run_id, about | {"to": list(stage.escalate_to)})
    if reminding:
        yield AuditEvent("request:reminded", "countersign", request.run_id, about)


def _is_reminder(request: ApprovalRequestRow, ballot: Ballot) -> bool:
    at = _remind_at(ballot, since=request.reminded_at or request.opened_at)
    return at is not None and at <= ballot.now


def _remind_at(ballot: Ballot, *, since: datetime) -> datetime | None:
    return since + Duration.parse(ballot.rule.remind) if ballot.rule.remind else None


def _next_due(request: ApprovalRequestRow, ballot: Ballot, tally: Tally, *, reminded: bool) -> datetime:
    """The next instant at which time alone changes something."""
    stage = ballot.rule.steps[tally.stage]
    started = tally.started or request.opened_at
    since = ballot.now if reminded else request.reminded_at or request.opened_at
    clocks = (
        stage.skips and started + stage.skips,
        stage.escalates and started + stage.escalates,
        _remind_at(ballot, since=since),
    )
    return min([request.expires_at, *(one for one in clocks if one and one > ballot.now)])
