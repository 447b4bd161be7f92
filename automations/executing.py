"""executing: an approved run is planned again, compared, and carried out step by step under a claim."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

from commands.authorizing import Refused
from commands.breaking import involved_in, tell_everybody
from commands.rulebooks import Rulebook
from commands.starts import signed_facts
from commands.targets import target_of
from countersign.approvals import Approval
from countersign.commands import Command
from countersign.errors import NotYet, PlanRefused, Stopped
from countersign.plans import plan_digest
from countersign.runs import RunStatus
from store import traces
from store.approvals import find_request
from store.breaks import open_review
from store.claims import Claim, claim
from store.databases import ReadSession, WriteSession
from store.journals import LostClaim, StepState, find_start, find_steps, mark_start
from store.people import find_all_people, find_people
from store.runs import Move, RunRow, find_runs, move
from store.secrets import find_secrets

from .agreeing import find_agreement, find_end
from .calling import Work
from .carrying import carry_out
from .comparing import differences
from .locking import give_turn_back, leave_turn, take_turn
from .makingplans import Made, find_timing, make_plan, still_allowed
from .planning import ask_or_queue, fallback_of, finish, floor_of
from .redactions import Redactor
from .services import Services
from .settling import give_back, hand_on, settle
from .switching import without_held
from .tracing import note_approval, note_claim
from .waiting import wait, wait_for_turn

_log = logging.getLogger(__name__)
MOST_FAILURES: Final = 3
# A worker that dies takes all its runs along, so a loss with no call in flight says little about this one.
MOST_LOSSES: Final = 10
_CLAIMABLE: Final = (RunStatus.queued, RunStatus.running, RunStatus.undoing)


async def execute_runs(services: Services, ids: Sequence[UUID]) -> int:
    """Executes those of these runs that this worker can claim, side by side; returns how many it claimed."""
    async with services.reading() as session:
        rulebook = await services.current_rulebook(session)
    ids = await without_held(services, ids, planning=False)
    async with services.statement() as session:
        claims = await claim(
            session,
            ids,
            statuses=_CLAIMABLE,
            worker=services.name,
            lease=services.settings.lease_seconds,
            versions=rulebook.registry.versions,
            unoffered=services.settings.version_seconds,
            labels=services.labels,
        )
    results = await asyncio.gather(*(_held(services, rulebook, one) for one in claims), return_exceptions=True)
    for one in results:
        if isinstance(one, LostClaim):
            _log.warning("a claim was lost; another worker goes on with the run")
        elif isinstance(one, BaseException):
            _log.error("executing a run ended unexpectedly; it goes on when its lease has ended", exc_info=one)
    return len(claims)


async def _held(services: Services, rulebook: Rulebook, one: Claim) -> None:
    with services.holding([one.run_id]):
        async with services.reading() as session:
            work = await _work(services, session, one, rulebook)
        note_claim(work.run, one)
        await note_approval(work.run, one, services)
        with traces.span("execute", work.run.trace, "consumer", run=work.run.number, command=work.run.command, attempt=one.attempt):
            await _execute(services, rulebook, work, one)


async def _execute(services: Services, rulebook: Rulebook, work: Work, one: Claim) -> None:
    command = rulebook.registry.find(work.run.command)
    if one.status is not RunStatus.queued:
        await _go_on(work, one, command)
    elif one.failures >= MOST_LOSSES:
        await settle(work, RunStatus.running, because="begun too often", keep_lease=True)
        await settle(work, RunStatus.interrupted, because="begun too often", outcome="Its worker died each time it was about to begin.")
    elif await _may_start(services, rulebook, work, command, now=one.at):
        await carry_out(work)
    elif command is not None and command.locks:
        await give_turn_back(work)


async def _work(services: Services, session: ReadSession, one: Claim, rulebook: Rulebook) -> Work:
    run = (await find_runs(session, [one.run_id]))[one.run_id]
    person = (await find_people(session, [run.asker]))[run.asker]
    secrets = await find_secrets(session, run.id, services.opener)
    command = rulebook.registry.find(run.command)
    return Work(services, run, person, one.attempt, secrets, Redactor(secrets.values()), rulebook.registry.steps, command)


async def _go_on(work: Work, one: Claim, command: Command | None) -> None:
    """A run that was under way: without its code, or when it keeps taking workers down, a person has to look."""
    async with work.services.reading() as session:
        steps = await find_steps(session, work.run.id, revision=work.run.revision)
    in_flight = any(row.state == StepState.calling for row in steps)
    if one.failures >= (MOST_FAILURES if in_flight else MOST_LOSSES):
        await settle(work, RunStatus.interrupted, because="came back too often", outcome="Its worker died each time it was resumed.")
    elif not await _began(work):
        await settle(
            work, RunStatus.interrupted, because="no worker began this", outcome="No worker began this plan; it was not carried out."
        )
    elif ended := await find_end(work.services, work.run.id):
        outcome = f"The record says that this run has ended: {ended}. Nothing more was done."
        await settle(work, RunStatus.interrupted, because="it has ended according to the record", outcome=outcome)
    elif command is None or command.code_version != work.run.code_version:
        await settle(
            work, RunStatus.interrupted, because="its code is gone", outcome="No worker has the code this run began with any more."
        )
    else:
        await carry_out(work)


async def _may_start(services: Services, rulebook: Rulebook, work: Work, command: Command | None, *, now: datetime) -> bool:
    """Everything that was decided is decided again now: the asker's right, the voters' rights, and the plan itself."""
    run = work.run
    if command is None:
        return await _refuse(work, f"There is no command {run.command} any more; nothing was done.")
    if isinstance(answer := still_allowed(rulebook, work.person, run, command), Refused):
        return await _refuse(work, f"Nothing was done: {answer.sentence}")
    timing = find_timing(rulebook, work.person, run, command, now=now)
    if isinstance(timing, Refused):
        return await _refuse(work, f"Nothing was done: {timing.sentence}")
    if timing.start > now:
        await wait(work, timing, now=now)
        await leave_turn(work)
        return False
    if turn := await take_turn(work, command):
        return await _refuse(work, f"Nothing was done, because of {turn}.")
    if turn is None:
        return False
    facts = timing.signed(start=None, zone=work.person.zone, before=signed_facts(run.plan))
    try:
        made = (await make_plan(services, run, command, work.person, dict(work.secrets), timing=facts)).timed(timing, work.person)
    except Stopped as error:
        await give_back(work, str(error))
        return False
    except NotYet as later:
        await wait_for_turn(work, later, now=now)
        return False
    except PlanRefused as error:
        return await _refuse(work, f"Nothing was done; it could not be planned again: {error}")
    if made.digest != run.digest or _digest(work) != run.digest:
        await _ask_again(services, rulebook, work, made, changed=differences(run.plan or {}, made.plan or {}))
        return False
    agreement = await find_agreement(services, rulebook, work, command, floor=floor_of(made), freezes=made.freezes)
    if agreement.ended:
        return await _refuse(work, f"Nothing was done: the record says that this run has ended: {agreement.ended}.")
    if not agreement.given:
        await _ask_again(services, rulebook, work, made, changed=[agreement.why])
        return False
    await _begin(services, rulebook, work, made.digest, broken_by=agreement.broken_by)
    return True


async def _begin(services: Services, rulebook: Rulebook, work: Work, digest: str, *, broken_by: str) -> None:
    """The move and the mark in one transaction: a run is never running without the proof that a worker began it."""
    if services.ending:
        await hand_on(work, begun=False)
        raise LostClaim
    run, detail = work.run, {"worker": services.name, "attempt": work.attempt}
    because = "the plan is what was approved"
    begun = Move(
        run.id,
        RunStatus.running,
        by="countersign",
        attempt=work.attempt,
        because=because,
        outcome="",  # what it waited for is over
        keep_lease=True,
        detail=detail,
    )
    async with services.transaction() as session:
        target = target_of(work.command, run.arguments) if work.command else ""
        await mark_start(session, run.id, revision=run.revision, attempt=work.attempt, worker=services.name, digest=digest, target=target)
        if not await move(session, [begun]):
            raise LostClaim
        if broken_by:
            await _have_reviewed(services, session, rulebook, run, broken_by)


async def _have_reviewed(services: Services, session: WriteSession, rulebook: Rulebook, run: RunRow, broken_by: str) -> None:
    """Told and reviewed by the worker's own hand: the web process, which broke the glass, could have left both out."""
    request = await find_request(session, run.id)
    if request is None:
        raise LostClaim
    await tell_everybody(session, rulebook, run, Approval.of_json(request.rule), fallback=fallback_of(services))
    await open_review(session, run.id, involved=await involved_in(session, run, request, broken_by))


def _digest(work: Work) -> str:
    """Of the stored plan, whose row the web process may write: what is carried out has to be what was signed."""
    run = work.run
    return plan_digest(run.plan or {}, command=run.command, code_version=run.code_version, arguments=run.arguments)


async def _began(work: Work) -> bool:
    """Whether a worker began exactly this plan: a status of `running` alone, which the web process may write, is no proof."""
    async with work.services.reading() as session:
        return await find_start(session, work.run.id, revision=work.run.revision) == _digest(work)


async def _ask_again(services: Services, rulebook: Rulebook, work: Work, made: Made, *, changed: list[str]) -> None:
    """The world changed: nothing is done, the difference is shown, and people are asked again about the new plan."""
    run = work.run
    async with services.transaction() as session:
        people = await find_all_people(session)
        stale = Move(
            run.id,
            RunStatus.stale,
            by="countersign",
            attempt=work.attempt,
            because="; ".join(changed)[:300],
            detail={"was": run.digest, "now": made.digest},
        )
        if not await move(session, [stale]):
            raise LostClaim
        plan = {**(made.plan or {}), "changed": changed}
        again = replace(made, plan=plan)
        await finish(session, [ask_or_queue(services, rulebook, people, run, work.person, again, revision=run.revision + 1, attempt=None)])


async def _refuse(work: Work, sentence: str) -> bool:
    await settle(work, RunStatus.cancelled, because="refused at execution", outcome=sentence)
    return False
