"""policy apply: the policy changes only by an approved run whose plan is the new text's difference."""

import difflib

from commands.checks import check_policy
from commands.lastadmins import could_have_admin, has_admin, keeping_an_admin
from commands.policies import ADMIN, PolicyError, compile_policy
from countersign import Context, Plan, PlanningContext, PlanRefused, StepFailed, command, step
from countersign.approvals import Approval
from store.audits import AuditEvent, record
from store.people import Person, find_lasting_people, save_people
from store.policies import StoredPolicy, apply_policy, find_policy

from .accesses import run_of


@command("policy apply", permission=ADMIN, approval=Approval(by=ADMIN, count=1))
async def apply(ctx: PlanningContext, text: str) -> Plan:
    """Put a new policy in force; the plan shows what changes. From a terminal: countersign policy apply FILE"""
    try:
        new = compile_policy(text)
    except PolicyError as error:
        raise PlanRefused(str(error)) from None
    stored, people = await _in_force(ctx)
    if new.digest == stored.digest:
        raise PlanRefused("This policy is in force already.")
    if problems := check_policy(new, ctx.services.rulebook.registry.commands):
        raise PlanRefused(f"The policy has problems: {problems[0]}")
    if has_admin(ctx.services.rulebook.policy, people) and not could_have_admin(new, people):
        raise PlanRefused("Nobody would be an admin under this policy, so nobody could change it again.")
    ctx.watch("policy in force", stored.digest)
    difference = "\n".join(difflib.unified_diff(stored.body.splitlines(), text.splitlines(), "in force", "new", lineterm="", n=2))
    step = put_in_force(text, stored.digest)
    return Plan(
        f"policy {stored.digest[:12]} → {new.digest[:12]}",
        # One that cannot be loaded is nothing to go back to.
        step if ctx.services.rulebook.problem else step.undone_by(put_in_force(stored.body, new.digest)),
        preview=difference[:3_000],
    )


@step(idempotent=True, timeout="30s")
async def put_in_force(ctx: Context, text: str, before: str) -> None:
    """Replaces exactly the policy with the digest `before`: that is the difference people have seen."""
    policy = compile_policy(text)
    async with ctx.services.transaction() as session:
        current = await find_policy(session)
        if current is not None and current.digest == policy.digest:
            return
        if current is None or current.digest != before:
            raise StepFailed("Another policy came into force meanwhile; nothing was changed.")
        async with keeping_an_admin(session, ctx.services.rulebook.policy, policy):
            await apply_policy(session, digest=policy.digest, body=policy.body, by=ctx.asker.name)
            await save_people(session, {name: entry.model_dump() for name, entry in policy.file.people.items()})
        detail = {"digest": policy.digest, "before": before}
        await record(session, [AuditEvent("policy:applied", ctx.asker.name, run_of(ctx), detail)])


async def _in_force(ctx: PlanningContext) -> tuple[StoredPolicy, list[Person]]:
    """The policy as the database has it now, because the rulebook may be a moment old; and everybody with what they have for good."""
    async with ctx.services.transaction() as session:
        stored = await find_policy(session)
        people = await find_lasting_people(session)
    if stored is None:
        raise PlanRefused("No policy is in force yet.")
    return stored, people
