"""delegate: somebody votes in another person's place for a while; the other may still vote, and both are named in the record."""

from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy import text

from commands.authorizing import is_admin
from commands.policies import ADMIN, USE
from countersign import Context, Duration, Person, Plan, PlanningContext, PlanRefused, command, step
from countersign.approvals import Approval
from store.audits import AuditEvent, record
from store.delegations import DelegationRow, add_delegation, end_delegations
from store.people import find_people

from .givings import run_of

LONGEST: Final = timedelta(days=60)


@command("delegate", permission=USE, risk="low")
async def delegate(ctx: PlanningContext, person: Person, duration: Duration) -> Plan:
    """Let PERSON decide in your place for a while, for instance while you are away; you may still decide yourself."""
    return await _plan(ctx, ctx.asker.name, person, duration)


@command("delegate for", permission=ADMIN, approval=Approval(by=ADMIN))
async def delegate_for(ctx: PlanningContext, absent: Person, person: Person, duration: Duration) -> Plan:
    """Let PERSON decide in the place of ABSENT, who cannot say so any more; another admin approves that."""
    if person == ctx.asker.name:
        raise PlanRefused("Nobody takes another's place on their own word; another admin has to ask for it.")
    return await _plan(ctx, absent, person, duration)


@command("undelegate", permission=USE, risk="low")
async def undelegate(ctx: PlanningContext, person: Person, absent: Person | None = None) -> Plan:
    """End what you delegated to PERSON, at once. An admin may name somebody else as ABSENT."""
    whose = absent or ctx.asker.name
    if whose != ctx.asker.name:
        async with ctx.services.transaction() as session:
            asker = (await find_people(session, [ctx.asker.name])).get(ctx.asker.name)
        if asker is None or not is_admin(ctx.services.rulebook.policy, asker):
            raise PlanRefused("Only an admin ends what somebody else delegated.")
    return Plan(f"{person} decides for {whose} no longer", end_delegation(whose, person))


@step(idempotent=True, timeout="30s")
async def add_one(ctx: Context, person: str, delegate: str, duration: str) -> None:
    """The time begins when the step runs."""
    async with ctx.services.transaction() as session:
        now: datetime = (await session.execute(text("SELECT countersign_now()"))).scalar_one()
        until = now + Duration.parse(duration)
        row = DelegationRow(
            id=uuid5(NAMESPACE_URL, ctx.key),
            person=person,
            delegate=delegate,
            starts_at=now,
            until=until,
            only_run=None,
            run_id=run_of(ctx),
            made_by=ctx.asker.name,
        )
        if await add_delegation(session, row):
            detail = {"person": person, "delegate": delegate, "until": until.astimezone(UTC).isoformat()}
            await record(session, [AuditEvent("delegation:made", ctx.asker.name, run_of(ctx), detail)])


@step(idempotent=True, timeout="30s")
async def end_delegation(ctx: Context, person: str, delegate: str) -> None:
    """Ends every live delegation from the one to the other."""
    async with ctx.services.transaction() as session:
        if await end_delegations(session, person=person, delegate=delegate, by=ctx.asker.name):
            detail = {"person": person, "delegate": delegate}
            await record(session, [AuditEvent("delegation:ended", ctx.asker.name, run_of(ctx), detail)])


async def _plan(ctx: PlanningContext, person: str, to: str, duration: Duration) -> Plan:
    if person == to:
        raise PlanRefused("Nobody stands in for themselves.")
    if not timedelta(0) < duration <= LONGEST:
        raise PlanRefused("A delegation lasts from a moment to 60 days; delegate again when it has ended.")
    async with ctx.services.transaction() as session:
        known = await find_people(session, [person, to])
    for name in (person, to):
        if name not in known or not known[name].active or known[name].service:
            raise PlanRefused(f"There is no person named {name} who can decide.")
    return Plan(
        f"{to} decides in the place of {person} for {duration}",
        add_one(person, to, str(duration)).undone_by(end_delegation(person, to)),
        warning=f"{person} may still decide. Where a passkey has to sign, nobody can stand in.",
    )
