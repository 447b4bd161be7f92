"""policy apply: the policy changes only by an approved run whose plan is the new text's difference."""

import asyncio
import difflib
from typing import Final

from commands.checks import check_policy
from commands.lastadmins import has_admin, keeping_an_admin
from commands.policies import ADMIN, PolicyError, compile_policy
from commands.policydiffs import people_under, read_comparison, summary
from countersign import Context, Plan, PlanningContext, PlanRefused, StepFailed, command, step
from countersign.approvals import Approval
from countersign.replies import Field
from store.audits import AuditEvent, record
from store.people import find_lasting_people, find_people, save_people
from store.policies import apply_policy, find_policy

from .accesses import run_of

DAYS: Final = 30
MOST_RUNS: Final = 2_000


@command("policy apply", permission=ADMIN, approval=Approval(by=ADMIN, count=1))
async def apply(ctx: PlanningContext, text: str) -> Plan:
    """Put a new policy in force; the plan shows what changes, and how much of what was asked lately would be decided differently.

    From a terminal: countersign policy apply FILE
    """
    try:
        new = compile_policy(text)
    except PolicyError as error:
        raise PlanRefused(str(error)) from None
    async with ctx.services.reading() as session:
        stored, people = await find_policy(session), await find_lasting_people(session)
        known = await find_people(session, list(new.file.actors))
        comparison = await read_comparison(session, ctx.services.rulebook, days=DAYS, limit=MOST_RUNS)
    if stored is None:
        raise PlanRefused("No policy is in force yet.")
    if new.digest == stored.digest:
        raise PlanRefused("This policy is in force already.")
    if problems := check_policy(new, ctx.services.rulebook.registry.commands):
        raise PlanRefused(f"The policy has problems: {problems[0]}")
    if mixed := sorted(name for name, one in known.items() if one.service != (name in new.file.service_accounts)):
        was = "a service account" if known[mixed[0]].service else "a person"
        raise PlanRefused(f"{mixed[0]} was {was} until now, and stays one; choose another name.")
    under = people_under(new, people, groups=comparison.groups, vouched=comparison.vouched)
    if has_admin(ctx.services.rulebook.policy, people) and not has_admin(new, under.values()):
        raise PlanRefused("Nobody would be an admin under this policy, so nobody could change it again.")
    ctx.watch("policy in force", stored.digest)
    difference = "\n".join(difflib.unified_diff(stored.body.splitlines(), text.splitlines(), "in force", "new", lineterm="", n=2))
    different = await asyncio.to_thread(comparison.differences, new)
    step = put_in_force(text, stored.digest)
    return Plan(
        f"policy {stored.digest[:12]} → {new.digest[:12]}",
        # One that cannot be loaded is nothing to go back to.
        step if ctx.services.rulebook.problem else step.undone_by(put_in_force(stored.body, new.digest)),
        fields=(Field(label="Asked lately", value=summary(len(comparison.asked), different, days=DAYS)),),
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
            await save_people(session, policy.file.roster())
        detail = {"digest": policy.digest, "before": before}
        await record(session, [AuditEvent("policy:applied", ctx.asker.name, run_of(ctx), detail)])
