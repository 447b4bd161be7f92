"""grant, revoke and link: rights change only through approved, audited runs, and nobody grants to themselves."""

from commands.policies import ADMIN
from countersign import Context, Duration, Person, Plan, PlanningContext, PlanRefused, StepFailed, command, step
from countersign.approvals import Approval
from store.audits import AuditEvent, record
from store.grants import find_grants
from store.people import Account, find_person, link_account, unlink_account

from .givings import end_role, give_role, take_back
from .givings import run_of as run_of

_ADMINS = Approval(by=ADMIN, count=1)


@command("grant", permission=ADMIN, approval=_ADMINS)
async def grant(ctx: PlanningContext, person: Person, role: str, duration: Duration | None = None) -> Plan:
    """Grant a role to a person, for a while or until it is revoked."""
    await _check(ctx, person, role)
    if person == ctx.asker.name:
        raise PlanRefused("Nobody grants to themselves; somebody else has to ask for it.")
    ends = f"for {duration}, from its approval on" if duration else "until it is revoked"
    return Plan(f"{person} gets the role {role} {ends}", give_role(person, role, str(duration or "")).undone_by(take_back(person, role)))


@command("revoke", permission=ADMIN, risk="medium")
async def revoke(ctx: PlanningContext, person: Person, role: str) -> Plan:
    """Take a granted role away from a person, at once."""
    async with ctx.services.transaction() as session:
        current = [one for one in await find_grants(session, subject=person) if one.role == role]
    if not current:
        raise PlanRefused(f"{person} has no granted role {role}; roles that come with a group change in the policy.")
    return Plan(f"{person} loses the role {role}", end_role(person, role))


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
