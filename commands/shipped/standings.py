"""standing allow, end and list: this command, these arguments, these people, so many times until then; itself asked for and approved."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from uuid import NAMESPACE_URL, UUID, uuid5

from commands.authorizing import Request
from commands.controls import ControlContext
from commands.parsing import find_command, read_arguments, split
from commands.policies import APPROVE, USE
from commands.standings import always_asked, asked_of, checked_people, read_conditions, written_conditions
from countersign import Context, Duration, Plan, PlanningContext, PlanRefused, command, step
from countersign.approvals import Approval
from countersign.commands import control
from countersign.invocations import Door, Place
from countersign.permissions import Risk
from countersign.replies import Field, Reply
from store.audits import AuditEvent, record
from store.people import find_all_people
from store.standings import StandingRow, add_standing, end_standing, find_live

from .givings import run_of

LONGEST: Final = timedelta(days=90)
MOST_USES: Final = 1_000


@command("standing allow", permission=USE, risk="high", approval=Approval(by=APPROVE))
async def standing_allow(ctx: PlanningContext, what: str, people: list[str], uses: int, duration: Duration) -> Plan:
    """Let PEOPLE run WHAT, at most USES times within DURATION, without asking each time.

    WHAT is a command with what each argument may be: "deploy api env=staging|test replicas=1..5 version=*".
    PEOPLE are names or @groups. It is approved by those who approve the command itself; what is of critical risk is always asked for.
    """
    rulebook = ctx.services.rulebook
    found, words = find_command(split(what), rulebook.registry.commands)
    if found is None or found.kind == "control":
        raise PlanRefused(f"There is no command '{what.split()[0][:40]}' that could be allowed.")
    if always_asked(found):
        why = "is of critical risk" if found.risk is Risk.critical else "gives somebody a role"
        raise PlanRefused(f"{found.name} {why}: each of its runs is approved by itself.")
    if found.visibility == "private":
        raise PlanRefused(f"{found.name} is private and a standing approval is not, so each of its runs is approved by itself.")
    if not 1 <= uses <= MOST_USES or not timedelta(0) < duration <= LONGEST:
        raise PlanRefused(f"A standing approval is for 1 to {MOST_USES} uses and at most 90 days.")
    conditions = read_conditions(found, read_arguments(found, words).arguments)
    async with ctx.services.transaction() as session:
        known = {one.name: one for one in await find_all_people(session)}
    whom = checked_people(rulebook.policy, people, known)
    request = Request(permission=found.permission, door=Door.api, place=Place("api"), command=found, arguments=_defaults(found))
    wanted = asked_of(rulebook, known[ctx.asker.name], request, conditions)
    if wanted is None:
        raise PlanRefused(f"{found.name} needs no approval like this, so nothing has to stand.")
    ctx.watch("what the command needs", wanted.as_json())
    added = add_one(found.name, conditions, whom, uses, str(duration))
    return Plan(
        f"{', '.join(whom)} may run {found.name} {written_conditions(conditions)} {uses} times within {duration} without asking",
        added.undone_by(end_one(added.result)),  # type: ignore[arg-type]
        fields=(Field(label="Instead of", value=f"{wanted.least} approvals each time"),),
        approval=wanted,
    )


@command("standing end", permission=USE, risk="low")
async def standing_end(ctx: PlanningContext, number: int) -> Plan:
    """End a standing approval at once; its number is in the list: standing list."""
    async with ctx.services.transaction() as session:
        row = next((one for one, _ in await find_live(session) if one.number == number), None)
    if row is None:
        raise PlanRefused(f"There is no standing approval S{number} that could be ended.")
    return Plan(f"S{number} ends: {row.command} {written_conditions(row.arguments)} is asked for each time again", end_one(str(row.id)))


@control("standing list")
async def standing_list(ctx: ControlContext) -> Reply:
    """List the standing approvals: for what, for whom, how often they were used, and until when."""
    found = await find_live(ctx.session)
    if not found:
        return Reply(text="There is no standing approval.")
    return Reply(text="Standing approvals. To end one: standing end NUMBER", code="\n".join(_line(one, used) for one, used in found[:40]))


@step(idempotent=True, timeout="30s")
async def add_one(ctx: Context, command: str, conditions: dict[str, Any], people: list[str], uses: int, duration: str) -> str:
    """The time begins when the step runs; the result is the standing approval's id."""
    standing = uuid5(NAMESPACE_URL, ctx.key)
    async with ctx.services.transaction() as session:
        fresh = await add_standing(
            session,
            standing=standing,
            command=command,
            arguments=conditions,
            people=people,
            uses=uses,
            lasts=Duration.parse(duration),
            run=run_of(ctx),
        )
        if fresh:
            detail: Mapping[str, Any] = {"command": command, "arguments": conditions, "people": people, "uses": uses, "lasts": duration}
            await record(session, [AuditEvent("standing:allowed", ctx.asker.name, run_of(ctx), {**detail, "standing": str(standing)})])
    return str(standing)


@step(idempotent=True, timeout="30s")
async def end_one(ctx: Context, standing: str) -> None:
    """Ends it for runs that have not begun, too."""
    async with ctx.services.transaction() as session:
        if await end_standing(session, UUID(standing), by=ctx.asker.name):
            await record(session, [AuditEvent("standing:ended", ctx.asker.name, run_of(ctx), {"standing": standing})])


def _line(row: StandingRow, used: int) -> str:
    what = f"{row.command} {written_conditions(row.arguments)}".strip()
    return f"S{row.number:<5}{what[:60]:<62}{', '.join(row.people)[:30]:<32}{used} of {row.uses}, until {row.until:%Y-%m-%d %H:%M} UTC"


def _defaults(found: Any) -> dict[str, Any]:
    schema = found.schema.without({one.name for one in found.schema.parameters if one.required})
    return dict(schema.written(schema.validate({})))
