"""people erase: what is kept about somebody who left goes; legal holds: what they cover stays."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from commands.controls import ControlContext
from commands.policies import ADMIN, AUDIT, Policy
from countersign import Context, Person, Plan, PlanningContext, PlanRefused, StepFailed, command, step
from countersign.approvals import Approval
from countersign.commands import control
from countersign.replies import Reply
from store.audits import AuditEvent, record
from store.erasures import Extent, erase_events, erase_person, find_by_alias, find_events_about, find_extent
from store.legalholds import LegalHold, find_holds, find_holds_over, lift_hold, place_hold
from store.people import find_person
from store.runs import find_by_reference

from .givings import run_of

AT_ONCE: Final = 500
# The record is read through once, and what came meanwhile after that: an event may be committed so much later than it is dated.
LATE: Final = timedelta(minutes=10)
# What is said elsewhere is only found where a name, an address or an account stands by itself.
_LEFT: Final = "It stays in Slack, in backups, in exports made before, and where others wrote of them in their own words."


@command("people erase", permission=ADMIN, visibility="private", quiet=True, approval=Approval(by=ADMIN, count=1))
async def people_erase(ctx: PlanningContext, person: Person) -> Plan:
    """Erase what is kept about somebody who left: name, address, what they asked for and typed. The record's chain stays whole."""
    policy: Policy = ctx.services.rulebook.policy
    async with ctx.services.reading() as session:
        found, holds = await find_person(session, person), await find_holds_over(session, person)
        if found is None or found.service:
            raise PlanRefused(f"There is no person named {person}.")
        if found.active:
            raise PlanRefused(
                f"{person} still belongs to the company; whoever is erased has to have left it, in the policy or the directory."
            )
        if holds:
            raise PlanRefused(_held(person, holds))
        if _names(policy.file.model_dump(mode="json"), {str(person), found.email} - {""}):
            raise PlanRefused(f"The policy in force still names {person}; apply one that does not, and ask again.")
        extent = await find_extent(session, person)
    if extent.unfinished:
        raise PlanRefused(f"{person} has asked for runs that have not ended: {', '.join(map(str, extent.unfinished))}.")
    return Plan(
        f"{person} is erased; the record knows them as {extent.alias} from then on",
        erase_payloads(extent.alias),
        preview=_preview(extent),
        warning=f"This cannot be undone. {_LEFT}",
        approval=Approval(by=ADMIN, count=2) if policy.profile == "strict" else None,
    )


@step(idempotent=True, timeout="4h")
async def erase_payloads(ctx: Context, alias: str) -> str:
    """Payload after payload, each with its event in the record; then everything else and the name, in one transaction."""
    run, done = run_of(ctx), 0
    async with ctx.services.reading() as session:
        name = await find_by_alias(session, alias)
        holds = await find_holds_over(session, name or "")
    if name is None or name == alias:
        return "erased already"
    if holds:
        raise StepFailed(_held(alias, holds))
    since = datetime(1970, 1, 1, tzinfo=UTC)
    while True:
        async with ctx.services.reading() as session:
            events, looked = await find_events_about(session, name, run, since=since)
        if not events:
            break
        since = looked - LATE
        for start in range(0, len(events), AT_ONCE):
            async with ctx.services.transaction() as session:
                done += await erase_events(session, events[start : start + AT_ONCE], run=run)
            await ctx.progress(done, done + len(events) - start, f"{done:,} events")
    async with ctx.services.transaction() as session:
        runs = await erase_person(session, name, run=run)
    return f"{alias}: what {done:,} events and {runs:,} runs said"


@command("legal hold", permission=ADMIN, quiet=True, approval=Approval(by=ADMIN, count=1))
async def legal_hold(ctx: PlanningContext, what: str, why: str) -> Plan:
    """Keep everything about a person, a run or a command until it is lifted; WHAT is person NAME, run NUMBER or command NAME."""
    kind, target = await _target(ctx, what)
    async with ctx.services.reading() as session:
        held = next((one for one in await find_holds(session) if (one.kind, one.target) == (kind, target)), None)
    if held:
        raise PlanRefused(f"{held.sentence}.")
    return Plan(f"nothing about {kind} {target} is erased or forgotten until this legal hold is lifted", begin_hold(kind, target, why))


@command("legal lift", permission=ADMIN, quiet=True, approval=Approval(by=ADMIN, count=1))
async def legal_lift(ctx: PlanningContext, what: str) -> Plan:
    """Lift a legal hold: what it covers may be erased again, and what is older than its time is forgotten."""
    kind, target = _read(what)
    async with ctx.services.reading() as session:
        holds = await find_holds(session)
    found = next((one for one in holds if (one.kind, one.target) == (kind, target)), None)
    if found is None:
        names = ", ".join(f"{one.kind} {one.target}" for one in holds)
        raise PlanRefused(f"'{what.strip()[:60]}' is not under legal hold; {f'these are: {names}' if names else 'nothing is'}.")
    ctx.watch("held since", found.at.isoformat())
    return Plan(f"the legal hold on {kind} {target} is lifted; {found.sentence}", end_hold(kind, target))


@control("legal holds", permission=AUDIT, quiet=True)
async def legal_holds(ctx: ControlContext) -> Reply:
    """Show what is under legal hold, since when, by whom and why."""
    holds = await find_holds(ctx.session)
    return Reply(text="Under legal hold:" if holds else "Nothing is under legal hold.", code="\n".join(one.sentence for one in holds))


@step(idempotent=True, timeout="30s")
async def begin_hold(ctx: Context, kind: str, target: str, why: str) -> None:
    async with ctx.services.transaction() as session:
        if await place_hold(session, kind=kind, target=target, reason=why, by=ctx.asker.name, run=run_of(ctx)):
            detail = {"kind": kind, "target": target, "reason": why}
            await record(session, [AuditEvent("hold:placed", ctx.asker.name, run_of(ctx), detail)])


@step(idempotent=True, timeout="30s")
async def end_hold(ctx: Context, kind: str, target: str) -> None:
    async with ctx.services.transaction() as session:
        if await lift_hold(session, kind=kind, target=target, by=ctx.asker.name):
            await record(session, [AuditEvent("hold:lifted", ctx.asker.name, run_of(ctx), {"kind": kind, "target": target})])


async def _target(ctx: PlanningContext, what: str) -> tuple[str, str]:
    kind, target = _read(what)
    async with ctx.services.reading() as session:
        if kind == "person" and await find_person(session, target):
            return kind, target
        if kind == "run" and (run := await find_by_reference(session, target)):
            return kind, str(run.number)
    if kind == "command" and ctx.services.rulebook.registry.find(target):
        return kind, target
    raise PlanRefused(f"'{what.strip()[:60]}' is nothing to hold: person NAME, run NUMBER or command NAME, of one that there is.")


def _read(what: str) -> tuple[str, str]:
    kind, _, target = what.strip().lower().partition(" ")
    return kind, target.strip().removeprefix("@").removeprefix("#").removeprefix("/")


def _held(person: str, holds: Sequence[LegalHold]) -> str:
    return f"{person} cannot be erased: {holds[0].sentence}. It can once that is lifted."


def _names(value: object, wanted: set[str]) -> bool:
    if isinstance(value, dict):
        return any(name in wanted or _names(one, wanted) for name, one in value.items())
    return any(_names(one, wanted) for one in value) if isinstance(value, list | tuple) else value in wanted


def _preview(extent: Extent) -> str:
    return "\n".join(
        [
            f"{extent.runs:,} runs that they asked for or that name them: arguments, reasons, plans, results, logs, files, messages",
            f"{extent.events:,} events in the record: everything but what happened, when, digests, and that it was {extent.alias}",
            f"{extent.decisions:,} decisions: their reasons; verdicts, digests and times stay",
            f"{extent.accounts:,} chat accounts, their address, groups, views, and what they said about runs",
            f"{extent.policies:,} earlier policies: their name and address in them",
        ]
    )
