"""planning: claimed runs become answers, approval requests or queued runs. Several are claimed and finished in one statement each."""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final
from uuid import UUID

from uuid6 import uuid7

from commands.audiences import Audience, audience_for
from commands.authorizing import Refused, required_approval
from commands.edit import EDITED
from commands.rulebooks import Rulebook
from commands.standings import standing_for
from commands.timetables import Timing
from commands.voting import filled, matter_of, voters
from countersign.approvals import Approval
from countersign.arguments import Duration
from countersign.errors import NotYet, PlanRefused, Stopped
from countersign.replies import Reply
from countersign.runs import RunId, RunStatus
from countersign.schemas import SECRET_KEY
from store import traces
from store.approvals import NewRequest, open_requests
from store.audiences import keep_audiences
from store.claims import Claim, claim
from store.databases import WriteSession
from store.messages import NewMessage, Priority
from store.people import Person, find_all_people, find_people
from store.runs import Move, RunRow, Take, find_runs, move, move_and_take
from store.secrets import find_secrets, keep_secrets
from store.standings import StandingRow, use_standing

from .agreeing import RESUMED, find_kept
from .audiences import approver_messages, asker_messages, card_places, reply_to, signers_wanted, voters_wanted
from .comparing import different_lines
from .makingplans import Made, find_timing, in_the_way, make_plan, over_limit, request_of, still_allowed
from .services import Services
from .switching import without_held
from .tracing import note_claim
from .waiting import plan_later

# A worker that dies takes the whole batch along, so the first losses say little about one run. In a storm of 1,095 kills on a slow machine
# two runs of 10,000 were planned in vain five times by no fault of theirs.
MOST_LOSSES: Final = 10


@dataclass
class Finish:
    """What one run's planning leads to, written together with that of its neighbours."""

    move: Move
    request: NewRequest | None = None
    audience: Audience | None = None
    messages: list[NewMessage] = field(default_factory=list)
    asking: list[NewMessage] = field(default_factory=list)
    secrets: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class _Job:
    claim: Claim
    run: RunRow
    person: Person
    secrets: dict[str, str] = field(default_factory=dict)


async def plan_runs(services: Services, ids: Sequence[UUID]) -> int:
    """Plans those of these runs that this worker can claim; returns how many."""
    jobs, rulebook, commit = await _claim(services, ids)
    with services.holding([job.run.id for job in jobs]):
        try:
            made = await asyncio.gather(*(_traced(services, rulebook, job) for job in jobs))
        finally:
            await commit  # a plan is only thought, so it may be made meanwhile; nothing is written under a claim that is not
        claimed, jobs, plans = len(jobs), *await _planned_now(services, jobs, made)
        if plans:
            people = await _voters_to_be(services, plans)
            finishes = [_finished(services, rulebook, people, job, one) for job, one in zip(jobs, plans, strict=True)]
            finishes = [await _kept(services, rulebook, job, made, one) for job, made, one in zip(jobs, plans, finishes, strict=True)]
            standing = await _standing(services, rulebook, jobs, plans, finishes)
            several = any(one.request or one.secrets for one in finishes)
            async with services.transaction() if several else services.statement() as session:
                await finish(session, [await _stood(session, one, standing.get(one.move.run_id)) for one in finishes])
    return claimed


async def _planned_now(
    services: Services, jobs: Sequence[_Job], made: Sequence[Made | str | NotYet]
) -> tuple[list[_Job], list[Made | str]]:
    """Those that are planned; the others are given back until a call that they need may be made."""
    for job, one in zip(jobs, made, strict=True):
        if isinstance(one, NotYet):
            await plan_later(services, job.run.id, one, attempt=job.claim.attempt, now=job.claim.at)
    now = [(job, one) for job, one in zip(jobs, made, strict=True) if not isinstance(one, NotYet)]
    return [job for job, _ in now], [one for _, one in now]


async def finish(session: WriteSession, finishes: Sequence[Finish]) -> set[UUID]:
    """Moves the runs and writes what goes with the moves, for those that moved."""
    messages = [message for one in finishes for message in (*one.messages, *one.asking)]
    moved = await move(session, [one.move for one in finishes], messages=messages)
    written = [one for one in finishes if one.move.run_id in moved]
    for one in written:
        await keep_secrets(session, one.move.run_id, one.secrets)
    await keep_audiences(session, {one.audience.id: one.audience.as_json() for one in written if one.audience})
    await open_requests(session, [one.request for one in written if one.request])
    return set(moved)


async def _standing(
    services: Services, rulebook: Rulebook, jobs: Sequence[_Job], plans: Sequence[Made | str], finishes: Sequence[Finish]
) -> dict[UUID, StandingRow]:
    """Standing approvals that may be used in the place of the requests about to be opened."""
    found: dict[UUID, StandingRow] = {}
    for job, made, one in zip(jobs, plans, finishes, strict=True):
        if one.request is not None and not one.request.via and isinstance(made, Made) and not made.freezes:
            async with services.reading() as session:
                row = await standing_for(session, rulebook, job.run, job.person, Approval.of_json(one.request.rule))
            found |= {job.run.id: row} if row else {}
    return found


async def _stood(session: WriteSession, one: Finish, row: StandingRow | None) -> Finish:
    """The run goes on without asking, if the standing approval still has a use for it."""
    if row is None or one.request is None or one.move.digest is None:
        return one
    revision, digest = one.request.revision, one.move.digest
    if not await use_standing(session, row.id, run_id=one.move.run_id, revision=revision, digest=digest):
        return one
    detail = {"standing": str(row.id), "number": row.number}
    return _unasked(one, via=f"standing:{row.number}", because=f"standing approval S{row.number}", detail=detail)


async def _kept(services: Services, rulebook: Rulebook, job: _Job, made: Made | str, one: Finish) -> Finish:
    """The run goes on without asking, if it is the rest of one whose approvals hold for it."""
    if one.request is None or isinstance(made, str) or made.plan is None or made.freezes:
        return one
    async with services.reading() as session:
        earlier = await find_kept(session, rulebook, job.run, made.plan, Approval.of_json(one.request.rule))
    if earlier is None:
        return one
    because = f"the approvals of #{earlier.number} hold for what is left of it"
    return _unasked(one, via=f"{RESUMED}{earlier.number}", because=because, detail={"resumes": str(earlier.id), "number": earlier.number})


def _unasked(one: Finish, *, via: str, because: str, detail: dict[str, Any]) -> Finish:
    assert one.request is not None  # noqa: S101  there is nothing else that nobody has to be asked about
    valid = Duration.parse(str(one.request.rule.get("valid", Approval.valid))).total_seconds()
    request = replace(one.request, state="approved", via=via, valid=valid)
    moved = replace(one.move, to=RunStatus.queued, because=because, outcome="", detail=detail)
    return replace(one, move=moved, request=request, asking=[])


async def _claim(services: Services, ids: Sequence[UUID]) -> tuple[list[_Job], Rulebook, Awaitable[None]]:
    """Fresh runs by the move itself, with all there is to know about them; the rest are those whose planning was begun and lost.

    The claim's commit is still under way.
    """
    rulebook = await services.recent_rulebook()
    ids = await without_held(services, ids, planning=True)
    worker, lease, versions = services.name, services.settings.lease_seconds, rulebook.registry.versions
    unoffered = services.settings.version_seconds
    take = Take(worker, lease, versions, unoffered, services.labels)
    moves = [Move(one, RunStatus.planning, by="countersign", take=take) for one in ids]
    taken, commit = await services.connections.begin(partial(move_and_take, moves=moves))
    jobs = [_Job(Claim(RunId(one.run.id), one.run.attempt, RunStatus.planning, 0, one.run.moved_at), one.run, one.asker) for one in taken]
    fresh = {one.run.id for one in taken}
    if rest := [one for one in ids if one not in fresh]:
        async with services.statement() as session:
            claims = await claim(
                session,
                rest,
                statuses=(RunStatus.planning,),
                worker=worker,
                lease=lease,
                versions=versions,
                unoffered=unoffered,
                labels=services.labels,
            )
        jobs += await _known(services, claims)
    if any(one.policy != rulebook.policy.digest for one in taken):
        rulebook = await services.recent_rulebook(seconds=0)
    if rulebook.switches or any(one.switched for one in taken):
        jobs = await _not_held(services, jobs)
    return [await _with_secrets(services, one) for one in jobs], rulebook, commit


async def _not_held(services: Services, jobs: Sequence[_Job]) -> list[_Job]:
    """A switch that came on while the runs were taken holds them all the same."""
    attempts = {job.run.id: job.claim.attempt for job in jobs}
    free = set(await without_held(services, list(attempts), planning=True, attempts=attempts))
    return [job for job in jobs if job.run.id in free]


async def _known(services: Services, claims: Sequence[Claim]) -> list[_Job]:
    if not claims:
        return []
    async with services.reading() as session:
        runs = await find_runs(session, [one.run_id for one in claims])
        askers = await find_people(session, sorted({run.asker for run in runs.values()}))
    return [_Job(one, runs[one.run_id], askers[runs[one.run_id].asker]) for one in claims]


async def _with_secrets(services: Services, job: _Job) -> _Job:
    if SECRET_KEY not in repr(job.run.arguments):
        return job
    async with services.reading() as session:
        return replace(job, secrets=await find_secrets(session, job.run.id, services.opener))


async def _voters_to_be(services: Services, plans: Sequence[Made | str]) -> list[Person]:
    """Everybody, when there is a plan that somebody may have to approve."""
    if not any(isinstance(one, Made) and one.plan for one in plans):
        return []
    async with services.reading() as session:
        return await find_all_people(session)


async def _traced(services: Services, rulebook: Rulebook, job: _Job) -> Made | str | NotYet:
    note_claim(job.run, job.claim)
    with traces.span("plan", job.run.trace, "consumer", run=job.run.number, command=job.run.command, attempt=job.claim.attempt):
        return await _planned(services, rulebook, job)


async def _planned(services: Services, rulebook: Rulebook, job: _Job) -> Made | str | NotYet:
    """The plan or reply, or a sentence that says why there is none."""
    command = rulebook.registry.find(job.run.command)
    if job.claim.failures >= MOST_LOSSES:
        return "Its worker died each time it was planned; its owner has to look."
    if command is None:
        return f"There is no command {job.run.command} any more."
    if isinstance(answer := still_allowed(rulebook, job.person, job.run, command), Refused):
        return answer.sentence
    timing = find_timing(rulebook, job.person, job.run, command, now=job.claim.at)
    if isinstance(timing, Refused) and not job.run.dry_run:
        return timing.sentence
    facts = timing.signed(start=job.run.start_at, zone=job.person.zone, before={}) if isinstance(timing, Timing) else {}
    if hindered := await in_the_way(services, job.run, command):
        return hindered.sentence
    if over := await over_limit(services, rulebook, job.run, job.person, command):
        return over.sentence
    try:
        return (await make_plan(services, job.run, command, job.person, job.secrets, timing=facts)).timed(timing, job.person)
    except NotYet as later:
        return later
    except (PlanRefused, Stopped) as error:
        return str(error)


def _finished(services: Services, rulebook: Rulebook, people: Sequence[Person], job: _Job, made: Made | str) -> Finish:
    run, attempt = job.run, job.claim.attempt
    if isinstance(made, str):
        return _failed(job, made)
    if made.reply is not None:
        return _answered(services, job, made.reply)
    if not run.dry_run:
        apart = _told_apart(run, made)
        return ask_or_queue(services, rulebook, people, run, job.person, apart, revision=run.revision + 1, attempt=attempt)
    held = f" It would be refused now: {made.timing.sentence}" if isinstance(made.timing, Refused) else ""
    told = Move(
        run.id,
        RunStatus.answered,
        by="countersign",
        attempt=attempt,
        plan=made.plan,
        digest=made.digest,
        outcome=f"Dry run: nothing was done.{held}",
        code_version=rulebook.registry.commands[run.command].code_version,
    )
    return Finish(told, messages=asker_messages(run, fallback=fallback_of(services)), secrets=made.secrets)


def _told_apart(run: RunRow, made: Made) -> Made:
    """The plan made after an edit says what was changed and what is different for it, so that nobody has to look for it."""
    old, new = run.plan or {}, made.plan or {}
    if not old.get(EDITED):
        return made
    return replace(made, plan={**new, "changed": [*old[EDITED], *different_lines(old, new)], "changed_by": run.edited_by})


def _answered(services: Services, job: _Job, said: Reply) -> Finish:
    reply = Reply.model_validate(services.redactor.clean_data(said.model_dump(mode="json")))
    answered = Move(
        job.run.id,
        RunStatus.answered,
        by="countersign",
        attempt=job.claim.attempt,
        outcome=reply.text[:500],
        result=reply.model_dump(mode="json"),
    )
    return Finish(answered, messages=reply_to(job.run, reply))


def ask_or_queue(
    services: Services,
    rulebook: Rulebook,
    people: Sequence[Person],
    run: RunRow,
    person: Person,
    made: Made,
    *,
    revision: int,
    attempt: int | None,
) -> Finish:
    """Opens an approval request when policy wants one, else queues the run; either way it is shown."""
    command = rulebook.registry.commands[run.command]
    rule, sources = required_approval(
        rulebook.policy,
        person,
        request_of(run, command, now=rulebook.now()),
        alone=rulebook.alone,
        plan=floor_of(made),
        freezes=made.freezes,
    )
    fallback = fallback_of(services)
    messages = card_places(rulebook, run, fallback=fallback)
    to = RunStatus.queued if rule is None else RunStatus.awaiting_approval
    able = _able(rulebook, people, run, rule) if rule else []
    outcome = voters_wanted(rule, able) or signers_wanted(rulebook, run, rule, able) if rule else ""
    wanted = Move(
        run.id,
        to,
        by="countersign",
        attempt=attempt,
        because="; ".join(sources),
        plan=made.plan,
        digest=made.digest,
        code_version=command.code_version,
        revision=revision,
        outcome=outcome,
        forgive=True,
        detail={"policy": rulebook.policy.digest, "code": command.code_version} | ({"rule": rule.as_json()} if rule else {}),
    )
    if rule is None:
        return Finish(wanted, messages=messages, secrets=made.secrets)
    messages = [*(replace(one, priority=Priority.approval) for one in messages), *asker_messages(run, fallback=fallback)]
    asking = approver_messages(run, able[0], revision=revision, fallback=fallback)
    audience = audience_for(rulebook.policy, rule, run)
    request = _request(run, made, rule, rulebook, revision, audience)
    return Finish(wanted, request=request, audience=audience, messages=messages, asking=asking, secrets=made.secrets)


def floor_of(made: Made) -> Approval | None:
    """What the plan itself asks for, whatever its command and policy do."""
    asked = (made.plan or {}).get("approval")
    return Approval.of_json(asked) if asked else None


def fallback_of(services: Services) -> str:
    """The chat that shows runs asked through doors without one."""
    return "slack" if services.settings.has_slack else "room"


def _able(rulebook: Rulebook, people: Sequence[Person], run: RunRow, rule: Approval) -> list[list[Person]]:
    """Those who can vote, stage by stage."""
    matter = matter_of(rulebook, run, at=run.moved_at)
    opened = filled(rulebook.policy, rule, people, matter)
    return [voters(rulebook.policy, people, rule, matter, sets=stage.sets) for stage in opened.steps]


def first_due(rule: Approval) -> list[float]:
    """Seconds until each thing that may have to happen first to a request that nobody votes on."""
    stage = rule.steps[0]
    clocks = (rule.expires, rule.remind, stage.skip_after, stage.escalate_after)
    return [Duration.parse(one).total_seconds() for one in clocks if one]


def _request(run: RunRow, made: Made, rule: Approval, rulebook: Rulebook, revision: int, audience: Audience) -> NewRequest:
    return NewRequest(
        id=UUID(bytes=uuid7().bytes),
        run_id=run.id,
        revision=revision,
        digest=made.digest,
        rule=rule.as_json(),
        policy=rulebook.policy.digest,
        expires=Duration.parse(rule.expires).total_seconds(),
        due=min(first_due(rule)),
        audience=audience.id,
        plan=made.plan,
    )


def _failed(job: _Job, sentence: str) -> Finish:
    run = job.run
    moved = Move(run.id, RunStatus.failed, by="countersign", attempt=job.claim.attempt, because="could not be planned", outcome=sentence)
    return Finish(moved, messages=reply_to(run, Reply(text=f"#{run.number} {run.command}: {sentence}")))
