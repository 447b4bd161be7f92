"""grant, revoke and link: rights change only through approved, audited runs, and nobody grants to themselves."""

from datetime import timedelta
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from commands.policies import ADMIN
from countersign import Context, Duration, Person, Plan, PlanningContext, PlanRefused, StepFailed, command, step
from countersign.approvals import Approval
from store.audits import AuditEvent, record
from store.grants import end, find_grants, give
from store.people import Account, find_person, link_account, unlink_account

_ADMINS = Approval(by=ADMIN, count=1)


@command("grant", permission=ADMIN, approval=_ADMINS)
async def grant(ctx: PlanningContext, person: Person, role: str, duration: Duration | None = None) -> Plan:
    """Grant a role to a person, for a while or until it is revoked."""
    await _check(ctx, person, role)
    if person == ctx.asker.name:
        raise PlanRefused("Nobody grants to themselves; somebody else has to ask for it.")
    until = ctx.now + timedelta(seconds=duration.total_seconds()) if duration else None
    ends = f" until {until:%Y-%m-%d %H:%M} UTC" if until else ""
    return Plan(
        f"{person} gets the role {role}{ends}",
        give_role(person, role, until.isoformat() if until else "").undone_by(end_role(person, role)),
    )


@command("revoke", permission=ADMIN, risk="medium")
async def revoke(ctx: PlanningContext, person: Person, role: str) -> Plan:
    """Take a granted role away from a person, at once."""
    async with ctx.services.transaction() as session:
        current = [one for one in await find_grants(session, subject=person) if one.role == role]
    if not current:
        raise PlanRefused(f"{person} has no granted role {role}; roles that come with a group change in the policy.")
    return Plan(f"{person} loses the role {role}", end_role(person, role).undone_by(give_role(person, role, "")))


@command("link", permission=ADMIN, approval=_ADMINS)
async def link(ctx: PlanningContext, person: Person, platform: str, team: str, account: str) -> Plan:
    """Link a chat account, by its immutable id, to a person."""
    async with ctx.services.transaction() as session:
        if await find_person(session, person) is None:
            raise PlanRefused(f"There is no person named {person}.")
    if person == ctx.asker.name:
        raise PlanRefused("Nobody links an account to themselves; somebody else has to ask for it.")
    return Plan(
        f"{platform} account {account} of team {team} acts as {person}",
        link_one(person, platform, team, account).undone_by(unlink_one(person, platform, team, account)),
    )


@step(idempotent=True, timeout="30s")
async def give_role(ctx: Context, person: str, role: str, until: str) -> None:
    async with ctx.services.transaction() as session:
        fresh = await give(session, grant=uuid5(NAMESPACE_URL, ctx.key), subject=person, role=role, until=_moment(until), run=run_of(ctx))
        if fresh:
            await record(
                session, [AuditEvent("grant:given", ctx.asker.name, run_of(ctx), {"subject": person, "role": role, "until": until})]
            )


@step(idempotent=True, timeout="30s")
async def end_role(ctx: Context, person: str, role: str) -> None:
    async with ctx.services.transaction() as session:
        if await end(session, subject=person, role=role, by=ctx.asker.name):
            await record(session, [AuditEvent("grant:ended", ctx.asker.name, run_of(ctx), {"subject": person, "role": role})])


@step(idempotent=True, timeout="30s")
async def link_one(ctx: Context, person: str, platform: str, team: str, account: str) -> None:
    async with ctx.services.transaction() as session:
        if not await link_account(session, Account(platform, team, account), person, by=ctx.asker.name):
            raise StepFailed(f"{account} is linked already, or {person} has another account in {team}.")
        detail = {"person": person, "platform": platform, "team": team, "account": account}
        await record(session, [AuditEvent("account:linked", ctx.asker.name, run_of(ctx), detail)])


@step(idempotent=True, timeout="30s")
async def unlink_one(ctx: Context, person: str, platform: str, team: str, account: str) -> None:
    async with ctx.services.transaction() as session:
        if await unlink_account(session, Account(platform, team, account)):
            detail = {"person": person, "platform": platform, "team": team, "account": account}
            await record(session, [AuditEvent("account:unlinked", ctx.asker.name, run_of(ctx), detail)])


async def _check(ctx: PlanningContext, person: str, role: str) -> None:
    roles = ctx.services.rulebook.policy.file.roles
    if role not in roles:
        raise PlanRefused(f"There is no role '{role[:40]}'; policy defines {', '.join(sorted(roles)) or 'none'}.")
    async with ctx.services.transaction() as session:
        if await find_person(session, person) is None:
            raise PlanRefused(f"There is no person named {person}.")


def run_of(ctx: Context) -> UUID:
    """The run a step belongs to."""
    return UUID(ctx.key.partition(":")[0])


def _moment(text: str) -> Any:
    return text or None
