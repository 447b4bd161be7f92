"""tending: what time does to open requests: reminders, escalations, skipped stages, the next stage announced, the end."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from automations.audiences import approver_messages, voters_wanted
from automations.planning import fallback_of
from automations.services import Services
from commands.breaking import may_review
from commands.decide import refresh_cards, settle
from commands.expire import expire
from commands.rulebooks import Rulebook
from commands.voting import Ballot, read_ballot, voters
from countersign.arguments import Duration
from countersign.tallies import Outcome, Tally
from store.approvals import ApprovalRequestRow, find_due_requests, lock_request, note_stage
from store.audits import AuditEvent, record
from store.breaks import find_open_reviews, put_review_off
from store.databases import WriteSession
from store.messages import add_messages
from store.people import Person, find_all_people
from store.runs import RunRow, find_run, find_runs, note_outcome

BATCH: Final = 50


async def tend_requests(services: Services) -> int:
    """Does what is due to open requests, each in its own transaction; returns how many there were."""
    async with services.reading() as session:
        due = await find_due_requests(session, limit=BATCH)
    for run_id in due:
        async with services.transaction() as session:
            await tend(services, session, await services.current_rulebook(session), run_id)
    return len(due)


async def ask_for_reviews(services: Services) -> int:
    """Asks again, every day, for the reviews that nobody has signed; returns how many were due."""
    async with services.transaction() as session:
        due = await find_open_reviews(session, due=True)
        runs = await find_runs(session, [one.run_id for one in due])
        people = await find_all_people(session) if due else []
        policy = (await services.current_rulebook(session)).policy
        for one in due:
            able = [person for person in people if may_review(policy, person, one.involved)]
            again = f"review-{one.next_due:%j%H%M%S}"
            await add_messages(session, approver_messages(runs[one.run_id], able, revision=1, fallback=fallback_of(services), again=again))
            await put_review_off(session, one.run_id, by=timedelta(days=1))
    return len(due)


async def tend(services: Services, session: WriteSession, rulebook: Rulebook, run_id: UUID) -> None:
    """Brings one open request up to now."""
    request = await lock_request(session, run_id)
    run = await find_run(session, run_id)
    if request is None or run is None or request.state != "open":
        return
    ballot = await read_ballot(session, rulebook, request, run, everybody=True)
    tally = ballot.tally()
    if tally.outcome is Outcome.expired:
        await expire(session, [run_id])
    elif tally.outcome is not Outcome.waiting:
        await settle(session, request, run, ballot)
    else:
        await _go_on(services, session, request, run, ballot, tally)


async def _go_on(services: Services, session: WriteSession, request: ApprovalRequestRow, run: RunRow, ballot: Ballot, tally: Tally) -> None:
    """Asks whoever has to be asked now, and writes down when to look again."""
    able = voters(ballot.policy, ballot.people.values(), ballot.rule, ballot.matter, sets=ballot.sets(tally))
    waiting = ballot.waiting_for(ballot.people.values(), tally)
    reminding = _is_reminder(request, ballot)
    again = f"{ballot.now:%j%H%M%S}" if reminding else ""
    await add_messages(session, approver_messages(run, waiting, revision=request.revision, fallback=fallback_of(services), again=again))
    for event in _events(request, ballot, tally, waiting, reminding=reminding):
        await record(session, [event])
    await note_outcome(session, run.id, voters_wanted(ballot.rule, _by_stage(ballot, tally, able)))
    due = _next_due(request, ballot, tally, reminded=reminding)
    await note_stage(session, request.id, stage=tally.stage, next_due=due, reminded=reminding)
    await refresh_cards(session, run.id)


def _by_stage(ballot: Ballot, tally: Tally, able: Sequence[Person]) -> list[Sequence[Person]]:
    """Those who can vote, stage by stage: now at the stage that votes, as the rule stands at the others."""
    people = list(ballot.people.values())
    return [
        able if position == tally.stage else voters(ballot.policy, people, ballot.rule, ballot.matter, sets=stage.sets)
        for position, stage in enumerate(ballot.rule.steps)
    ]


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
