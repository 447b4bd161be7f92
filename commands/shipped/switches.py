"""Kill switches: each acts at once and needs no worker; switching off is a plan that somebody else approves."""

from commands.controls import ControlContext
from commands.switches import SWITCH_OFF, name_of, sentence_of
from countersign import Context, Plan, PlanningContext, PlanRefused, command, step
from countersign.approvals import Approval
from countersign.commands import control
from countersign.errors import CountersignError
from countersign.integrations import integration_names
from countersign.replies import Reply
from store.audits import AuditEvent, record
from store.switches import find_past_switches, find_switches, switch_off, switch_on

from .accesses import run_of

START = "countersign:start"


@control("stop everything", permission="countersign:stop", quiet=True)
async def stop_everything(ctx: ControlContext, reason: str = "") -> Reply:
    """Stop everything at once: nothing new is taken, no further step of any run begins. Deciding and looking stay possible."""
    return await _stop(ctx, "everything", "", reason)


@control("stop changes", permission="countersign:read-only", quiet=True)
async def stop_changes(ctx: ControlContext, reason: str = "") -> Reply:
    """Switch to read-only mode at once: commands that only read, and dry runs, go on."""
    return await _stop(ctx, "changes", "", reason)


@control("stop command", permission="countersign:stop-command", quiet=True)
async def stop_command(ctx: ControlContext, name: str, reason: str = "") -> Reply:
    """Stop one command at once: nobody can ask for it, and its runs begin no further step."""
    wanted = name.strip().removeprefix("/").lower()
    found = ctx.rulebook.registry.find(wanted)
    if found is None or found.kind == "control" or wanted == SWITCH_OFF:
        commands = [one.name for one in ctx.rulebook.registry.commands.values() if one.kind == "command" and one.name != SWITCH_OFF]
        near = ctx.rulebook.registry.nearest(wanted, among=commands)
        raise CountersignError(f"There is no command '{wanted[:40]}' that can be stopped.{_hint(near)}")
    return await _stop(ctx, "command", found.name, reason)


@control("stop integration", permission="countersign:stop-integration", quiet=True)
async def stop_integration(ctx: ControlContext, name: str, reason: str = "") -> Reply:
    """Stop one integration at once: no step may use it, and steps that use it now are refused their next call."""
    wanted, names = name.strip().lower(), integration_names()
    if wanted not in names:
        near = ctx.rulebook.registry.nearest(wanted, among=names)
        raise CountersignError(f"There is no integration '{wanted[:40]}'.{_hint(near)}")
    return await _stop(ctx, "integration", wanted, reason)


@control("switches", quiet=True)
async def switches(ctx: ControlContext) -> Reply:
    """Show what is stopped now, by whom and why, and what was stopped before."""
    on = [f"on   {name_of(one):<24}{sentence_of(one)}" for one in await find_switches(ctx.session)]
    past = [
        f"off  {f'{one.kind} {one.target}'.strip():<24}{one.on_at:%Y-%m-%d %H:%M} to {one.off_at:%Y-%m-%d %H:%M} UTC,"
        f" stopped by {one.on_by}, switched off by {one.off_by}"
        for one in await find_past_switches(ctx.session, limit=10)
    ]
    text = "Nothing is stopped." if not on else "This is stopped; to go on: switch off WHAT"
    return Reply(text=text, code="\n".join([*on, *past]))


@command(SWITCH_OFF, permission=START, approval=Approval(by=START, count=1), quiet=True)
async def switch_off_again(ctx: PlanningContext, what: str) -> Plan:
    """Switch a kill switch off again; WHAT is everything, changes, command NAME or integration NAME."""
    kind, target = _read(what)
    async with ctx.services.transaction() as session:
        on = await find_switches(session)
    found = next((one for one in on if (one.kind, one.target) == (kind, target)), None)
    if found is None:
        names = ", ".join(name_of(one) for one in on)
        raise PlanRefused(f"'{what.strip()[:60]}' is not stopped; {f'stopped is: {names}' if names else 'nothing is'}.")
    ctx.watch("stopped since", found.at.isoformat())
    again = begin_switch(kind, target, found.reason)
    return Plan(f"{name_of(found)} goes on; {sentence_of(found)}", end_switch(kind, target).undone_by(again))


@step(idempotent=True, timeout="30s")
async def end_switch(ctx: Context, kind: str, target: str) -> None:
    async with ctx.services.transaction() as session:
        if await switch_off(session, kind=kind, target=target, by=ctx.asker.name, run=run_of(ctx)):
            detail = {"kind": kind, "target": target}
            await record(session, [AuditEvent("switch:off", ctx.asker.name, run_of(ctx), detail)])


@step(idempotent=True, timeout="30s")
async def begin_switch(ctx: Context, kind: str, target: str, reason: str) -> None:
    async with ctx.services.transaction() as session:
        if await switch_on(session, kind=kind, target=target, by=ctx.asker.name, reason=reason):
            detail = {"kind": kind, "target": target, "reason": reason}
            await record(session, [AuditEvent("switch:on", ctx.asker.name, run_of(ctx), detail)])


async def _stop(ctx: ControlContext, kind: str, target: str, reason: str) -> Reply:
    why = " ".join((reason or ctx.invocation.reason).split())
    fresh = await switch_on(ctx.session, kind=kind, target=target, by=ctx.person.name, reason=why)
    if fresh:
        detail = {"kind": kind, "target": target, "reason": why, "door": ctx.invocation.door}
        await record(ctx.session, [AuditEvent("switch:on", ctx.person.name, None, detail)])
    one = next(one for one in await find_switches(ctx.session) if (one.kind, one.target) == (kind, target))
    said = sentence_of(one) if fresh else f"It was stopped already. {sentence_of(one)}"
    return Reply(text=f"{said} A step under way may still end. To go on: {SWITCH_OFF} {name_of(one)}")


def _read(what: str) -> tuple[str, str]:
    kind, _, target = what.strip().lower().partition(" ")
    return kind, target.strip()


def _hint(near: list[str]) -> str:
    return f" Did you mean {' or '.join(near)}?" if near else ""
