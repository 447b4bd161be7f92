"""rehearse: a command is carried out and undone on the safe target that its author declares, so that people know whether its undo works."""

from typing import Any

from commands.authorizing import Refused, held
from countersign import Context, Plan, PlanningContext, PlanRefused, StepFailed, command, step, submit
from countersign.commands import Command
from countersign.replies import Field
from countersign.values import written
from store.people import find_person


@step(reads=True)
async def look_back(_: Context, command: str, done: dict[str, Any], undone: dict[str, Any]) -> str:
    """Says which runs were the rehearsal."""
    if not (done.get("run") and undone.get("run")):
        raise StepFailed(f"{command} was not carried out and undone")
    return f"{command} worked and was undone: #{done['run']} and #{undone['run']}."


@command("rehearse", permission="countersign:rehearse", risk="medium", quiet=True)
async def rehearse(ctx: PlanningContext, name: str) -> Plan:
    """Carry a command out on the safe target that its author declares, and undo it: cards then say that its undo was verified.

    Both are runs of their own, asked for by you, with the permission and the approvals that the command takes for that target. For a
    weekly rehearsal: schedule add NAME "0 6 * * 1" rehearse ACCOUNT name=deploy
    """
    found = await _rehearsed(ctx, name)
    assert found.rehearsal is not None  # noqa: S101  _rehearsed has looked
    target = ", ".join(f"{key}={written(value)}" for key, value in found.rehearsal.items())
    done: Any = submit(found.name, **found.rehearsal)
    undone: Any = submit("undo", number=done.result["id"])
    return Plan(
        f"rehearses {found.name} and its undo: {target}",
        done,
        undone,
        look_back(found.name, done.result, undone.result),
        watched={"code": found.code_version},
        fields=(Field(label="Safe target", value=target),),
    )


async def _rehearsed(ctx: PlanningContext, name: str) -> Command:
    """The command meant. Raises PlanRefused where it cannot be rehearsed, or not by this person."""
    rulebook, wanted = ctx.services.rulebook, name.strip().removeprefix("/").lower()
    found: Command | None = rulebook.registry.find(wanted)
    if found is None or found.kind == "control":
        raise PlanRefused(f"There is no command '{wanted[:40]}' that can be rehearsed.")
    if found.rehearsal is None:
        raise PlanRefused(f"{found.name} declares no safe target, so it is not rehearsed; its author declares one with rehearsal=….")
    if found.visibility == "private":
        raise PlanRefused(f"Runs of {found.name} are private, and those are not undone by a run of their own.")
    async with ctx.services.reading() as session:
        person = await find_person(session, ctx.asker.name)
    right = held(rulebook.policy, person, found.permission, found) if person else None
    if isinstance(right, Refused):
        raise PlanRefused(right.sentence)
    return found
