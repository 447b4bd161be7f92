"""executing: an approved run is planned again, compared, and carried out step by step under a claim."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
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
from store.beginnings import Beginning, Held, Start, begin_runs, take_whole
from store.breaks import open_review
from store.claims import Claim, claiming
from store.databases import WriteSession
from store.journals import LostClaim, Phase, StepState, end_step, find_start, find_steps, mark_start
from store.people import find_all_people
from store.runs import Move, RunRow, move
from store.secrets import find_secrets

from .agreeing import find_agreement, find_end
from .calling import Work
from .carrying import carry_out
from .comparing import differences
from .halting import first_step
from .locking import give_turn_back, leave_turn, take_turn
from .makingplans import Made, find_timing, make_plan, still_allowed
from .planning import ask_or_queue, fallback_of, finish, floor_of
from .redactions import Redactor
from .services import Services
from .settling import give_back, hand_on, settle, steps_of
from .slots import Slot
from .speaking import speak_late
from .switching import without_held
from .tracing import note_approval, note_claim
from .trying import key_of
from .waiting import wait, wait_for_turn

_log = logging.getLogger(__name__)
MOST_FAILURES: Final = 3
# A worker that dies takes all its runs along, so a loss while this one was not being called says little about it.
MOST_LOSSES: Final = 10
_CLAIMABLE: Final = (RunStatus.queued, RunStatus.running, RunStatus.undoing)


async def execute_runs(services: Services, ids: Sequence[UUID]) -> int:
    """Executes those of these runs that this worker can claim, side by side; returns how many it claimed."""
    found = await asyncio.gather(*(services.together(_take, one, first=_until_short) for one in ids), return_exceptions=True)
    taken = [one for one in found if isinstance(one, Held)]
    try:
        rulebook = await services.recent_rulebook()
        if any(one.bearing.policy != rulebook.policy.digest for one in taken):
            rulebook = await services.recent_rulebook(seconds=0)
    except BaseException:
        services.slots.come(-len(taken))  # they are another's when their claims have ended
        raise
    results = await asyncio.gather(*(_held(services, rulebook, one) for one in taken), return_exceptions=True)
    for one in results:
        if isinstance(one, LostClaim):
            _log.warning("a claim was lost; another worker goes on with the run")
        elif isinstance(one, BaseException):
            _log.error("executing a run ended unexpectedly; it goes on when its lease has ended", exc_info=one)
    for failed in found:
        if isinstance(failed, BaseException):
            raise failed
    return len(taken)


async def _until_short(services: Services) -> None:
    if not services.ending:  # else another one is to hear of the run now
        await services.slots.until_short()


async def _take(services: Services, ids: Sequence[UUID]) -> list[Held | None]:
    rulebook = await services.recent_rulebook()
    wanted = claiming(
        statuses=_CLAIMABLE,
        worker=services.name,
        lease=services.settings.lease_seconds,
        versions=rulebook.registry.versions,
        unoffered=services.settings.version_seconds,
        labels=services.labels,
    )
    free = await without_held(services, ids, planning=False)
    async with services.plain_statement() as driver:
        taken = {one.run.id: one for one in await take_whole(driver, free, wanted)}
    services.slots.come(len(taken))
    return [taken.get(one) for one in ids]


async def _held(services: Services, rulebook: Rulebook, one: Held) -> None:
    """Its calls are forgotten only when the claim has ended: until then this worker's death would raise the question of each of them."""
    try:
        with services.holding([one.run.id]), Slot(services.slots, comes=True) as slot:
            await _hold(services, rulebook, one, slot)
    except LostClaim:
        await speak_late(services, one.run.id)
        services.slate.forget(one.run.id)
        raise
    services.slate.forget(one.run.id)


async def _hold(services: Services, rulebook: Rulebook, one: Held, slot: Slot) -> None:
    work = await _work(services, one, rulebook, slot)
    note_claim(work.run, one.claim)
    await note_approval(work.run, one.claim, services)
    with traces.span("execute", work.run.trace, "consumer", run=work.run.number, command=work.run.command, attempt=work.attempt):
        await _execute(services, rulebook, work, one.claim)


async def _execute(services: Services, rulebook: Rulebook, work: Work, one: Claim) -> None:
    command = rulebook.registry.find(work.run.command)
    if one.status is not RunStatus.queued:
        await _go_on(work, one, command)
    elif one.failures >= MOST_LOSSES:
        await settle(work, RunStatus.running, because="begun too often", keep_lease=True)
        await settle(work, RunStatus.interrupted, because="begun too often", outcome="Its worker died each time it was about to begin.")
    elif (start := await _started(services, rulebook, work, command, now=one.at)) is not None:
        await carry_out(work, start)
    elif command is not None and command.locks:
        await give_turn_back(work)


async def _work(services: Services, one: Held, rulebook: Rulebook, slot: Slot) -> Work:
    run, secrets, looked = one.run, dict[str, str](), (time.monotonic(), one.bearing)
    if one.secret:
        async with services.reading() as session:
            secrets = await find_secrets(session, run.id, services.opener)
    return Work(
        services,
        run,
        one.bearing.person,
        one.claim.attempt,
        secrets,
        Redactor(secrets.values()),
        slot,
        rulebook.registry.steps,
        rulebook.registry.find(run.command),
        one.asked,
        looked=looked if one.claim.status is RunStatus.queued and one.bearing.policy == rulebook.policy.digest else None,
    )


async def _go_on(work: Work, one: Claim, command: Command | None) -> None:
    """A run that was under way: without its code, or when it keeps taking workers down, a person has to look."""
    async with work.services.reading() as session:
        steps = await find_steps(session, work.run.id, revision=work.run.revision)
    deaths = min(one.failures, max((row.deaths for row in steps), default=0))
    if deaths >= MOST_FAILURES or one.failures >= MOST_LOSSES:
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
    elif deaths == MOST_FAILURES - 1:
        await _go_on_alone(work)
    elif await work.slot.take():
        await carry_out(work)
    else:
        await hand_on(work)


async def _go_on_alone(work: Work) -> None:
    """It died twice with its worker, by its own doing or beside another that did: nothing like it is called beside it the third time.

    Others may be in hand still when it dies. That is not held against them, because none of them was being called.
    """
    suspects, run = work.services.suspects, work.run.id
    if away := suspects.admit(run):
        await hand_on(work, after=away)
        return
    try:
        if await work.slot.take():
            await carry_out(work)
        else:
            await hand_on(work)
    finally:
        suspects.clear(run)


async def _started(services: Services, rulebook: Rulebook, work: Work, command: Command | None, *, now: datetime) -> Start | None:
    """Everything that was decided is decided again now: the asker's right, the voters' rights, and the plan itself.

    None when the run does not begin.
    """
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
        return None
    if turn := await take_turn(work, command):
        return await _refuse(work, f"Nothing was done, because of {turn}.")
    if turn is None:
        return None
    facts = timing.signed(start=None, zone=work.person.zone, before=signed_facts(run.plan))
    try:
        made = (await make_plan(services, run, command, work.person, dict(work.secrets), timing=facts)).timed(timing, work.person)
    except Stopped as error:
        await give_back(work, str(error))
        return None
    except NotYet as later:
        await wait_for_turn(work, later, now=now)
        return None
    except PlanRefused as error:
        return await _refuse(work, f"Nothing was done; it could not be planned again: {error}")
    if made.digest != run.digest or _digest(work) != run.digest:
        await _ask_again(services, rulebook, work, made, changed=differences(run.plan or {}, made.plan or {}))
        return None
    agreement = await find_agreement(services, rulebook, work, command, floor=floor_of(made), freezes=made.freezes)
    if agreement.ended:
        return await _refuse(work, f"Nothing was done: the record says that this run has ended: {agreement.ended}.")
    if not agreement.given:
        await _ask_again(services, rulebook, work, made, changed=[agreement.why])
        return None
    begin = partial(_begin, services, rulebook, work, command, broken_by=agreement.broken_by)
    start = replace(await begin(), ahead=True) if not agreement.broken_by and _may_begin_ahead(work) else None
    taken, seen = await _take_slot(work, start)
    if not taken or (services.ending and start is None):
        await _leave(work, start)
        return None
    return replace(start, seen=seen) if start else await begin()


async def _take_slot(work: Work, start: Start | None) -> tuple[bool, bool]:
    """Whether the run has a slot, and whether nothing had changed a moment before for the step that has begun ahead of it."""
    if start is None or start.begun is None or work.looked is None:
        return await work.slot.take(), False
    with work.services.lookout.watching((key_of(work, start.begun, Phase.do), work.looked[1])) as sight:
        return await work.slot.take(), sight.recent


def _may_begin_ahead(work: Work) -> bool:
    """Whether it begins while it waits for a slot: its first step is never in doubt, and nobody counts how long it takes."""
    first = first_step(work) if work.services.slots.all_taken and not work.services.ending else None
    return first is not None and bool(steps_of(work)[first.position]["idempotent"]) and not (work.command and work.command.timeout)


async def _leave(work: Work, start: Start | None) -> None:
    """There is no slot here: another worker goes on, or begins it. A step that has begun ahead was not called."""
    if start is not None and start.begun is not None:
        key = key_of(work, start.begun, Phase.do)
        await work.services.insist_alone(partial(end_step, key=key, state=StepState.not_done))
    await hand_on(work, begun=start is not None)


async def _begin(services: Services, rulebook: Rulebook, work: Work, command: Command, *, broken_by: str) -> Start:
    """The move and the mark at once: a run is never running without the proof that a worker began it."""
    run, detail = work.run, {"worker": services.name, "attempt": work.attempt}
    because = "the plan is what was approved"
    one = Move(
        run.id,
        RunStatus.running,
        by="countersign",
        attempt=work.attempt,
        because=because,
        outcome="",  # what it waited for is over
        keep_lease=True,
        detail=detail,
    )
    target, digest = target_of(command, run.arguments), run.digest or ""
    if not broken_by:
        start = await services.together(_begin_all, Beginning(one, run.revision, digest, target, first_step(work)))
        if start is None:
            raise LostClaim
        return start
    async with services.transaction() as session:
        await mark_start(session, run.id, revision=run.revision, attempt=work.attempt, worker=services.name, digest=digest, target=target)
        if not await move(session, [one]):
            raise LostClaim
        await _have_reviewed(services, session, rulebook, run, broken_by)
    return Start(fresh=False)


async def _begin_all(services: Services, beginnings: Sequence[Beginning]) -> list[Start | None]:
    async with services.plain_statement() as driver:
        starts = await begin_runs(driver, beginnings, worker=services.name)
    if any(one.shown for one in starts if one):
        services.teller.tell()
    return starts


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
            badge="",  # the glass was broken for the plan that nobody carries out any more
            detail={"was": run.digest, "now": made.digest},
        )
        if not await move(session, [stale]):
            raise LostClaim
        plan = {**(made.plan or {}), "changed": changed}
        again = replace(made, plan=plan)
        await finish(session, [ask_or_queue(services, rulebook, people, run, work.person, again, revision=run.revision + 1, attempt=None)])


async def _refuse(work: Work, sentence: str) -> Start | None:
    await settle(work, RunStatus.cancelled, because="refused at execution", outcome=sentence)
    return None
