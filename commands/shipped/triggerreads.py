"""triggers, trigger show, deliveries and replay: what other systems may start, what they sent, and what a mapping would do with it."""

from typing import Final, Literal

from commands.controls import ControlContext
from commands.mappings import MappingError, compile_filter, compile_mapping
from commands.replays import MOST, Replayed, replay
from commands.triggering import Kind
from countersign.commands import control
from countersign.errors import CountersignError
from countersign.replies import Reply
from store.hookdeliveries import DeliveryRow, find_deliveries
from store.triggers import TriggerRow, find_trigger_named, find_triggers

from .triggers import TRIGGERS

SHOWN: Final = 30
STATES: Final = ("waiting", "done", "filtered", "rejected", "failed")


@control("triggers", quiet=True)
async def triggers(ctx: ControlContext) -> Reply:
    """List the triggers: how each sender proves itself, what is run, and as whom."""
    rows = await find_triggers(ctx.session)
    if not rows:
        return Reply(text="There are no triggers.")
    lines = [f"{one.name:<24}{one.sender:<12}{one.account:<16}{_does(one)}" for one in rows]
    return Reply(
        text="Triggers. For one of them: trigger show NAME", code="\n".join(lines), data={"triggers": [as_json(one) for one in rows]}
    )


@control("trigger show", permission=TRIGGERS, quiet=True)
async def trigger_show(ctx: ControlContext, name: str) -> Reply:
    """Show one trigger: its address, mapping and filter, and what came of its last deliveries."""
    row = await find_named(ctx, name)
    rows = await find_deliveries(ctx.session, trigger=row.id, limit=5)
    told = {
        "address": f"{ctx.rulebook.address}/hooks/{row.id}",
        "sender": row.sender,
        "account": row.account,
        "run": row.body["run"],
        "mapping": row.body["mapping"],
        "only": row.body["only"],
        "channel": row.body["channel"],
        "runbooks": row.body["runbooks"],
        "old secret": f"holds until {row.previous_until:%Y-%m-%d %H:%M} UTC" if row.previous_until else "",
    }
    lines = [f"{label:<12}{value}" for label, value in told.items() if value]
    return Reply(text=f"The trigger {name}.", code="\n".join([*lines, "", *map(_line, reversed(rows))])[-2_800:], data=as_json(row))


@control("trigger deliveries", permission=TRIGGERS, quiet=True)
async def trigger_deliveries(
    ctx: ControlContext, name: str, state: Literal["", "waiting", "done", "filtered", "rejected", "failed"] = ""
) -> Reply:
    """List what was delivered to a trigger, or only what was rejected or failed, with the reason."""
    row = await find_named(ctx, name)
    rows = await find_deliveries(ctx.session, trigger=row.id, states=[state] if state else (), limit=SHOWN)
    if not rows:
        return Reply(text=f"Nothing{f' {state}' if state else ''} was delivered to {name}.")
    code = "\n".join(map(_line, reversed(rows)))[-2_800:]
    return Reply(text="The latest last (UTC).", code=code, data={"deliveries": [delivery_as_json(one) for one in rows]})


@control("trigger replay", permission=TRIGGERS, quiet=True)
async def trigger_replay(ctx: ControlContext, name: str, mapping: str = "", only: str = "", last: int = 50) -> Reply:
    """Show what MAPPING and ONLY would do with the LAST deliveries, compared with what became of them. Nothing is run."""
    row = await find_named(ctx, name)
    if row.kind != Kind.command:
        raise CountersignError(f"{name} shows alerts, which have no mapping; see: trigger deliveries {name}")
    found = await replayed(ctx, row, mapping=mapping, only=only, last=last)
    if not found:
        return Reply(text=f"Nothing is kept of what was delivered to {name}.")
    counts = {would: sum(one.would == would for one in found) for would in ("starts", "refused", "filtered", "unmapped")}
    told = ", ".join(f"{count} {_COUNTED[would]}" for would, count in counts.items() if count)
    lines = [f"{one.at:%m-%d %H:%M:%S}  {one.would:<9}{one.said[:80]:<82}was: {one.was}" for one in found]
    return Reply(
        text=f"Of the last {len(found)}: {told}.", code="\n".join(lines)[-2_800:], data={"deliveries": [one.as_json() for one in found]}
    )


async def find_named(ctx: ControlContext, name: str) -> TriggerRow:
    row = await find_trigger_named(ctx.session, name)
    if row is None:
        raise CountersignError(f"There is no trigger named {name[:40]}.")
    return row


async def replayed(ctx: ControlContext, row: TriggerRow, *, mapping: str, only: str, last: int) -> list[Replayed]:
    """Refuses what no trigger could have either, with the place where it is wrong."""
    if not 1 <= last <= MOST:
        raise CountersignError(f"last: should be 1 to {MOST}.")
    command = ctx.rulebook.registry.find(row.body["run"])
    try:
        compile_filter(only or row.body["only"])
        if command is not None:
            compile_mapping(mapping or row.body["mapping"], command)
    except MappingError as error:
        raise CountersignError(str(error)) from None
    return await replay(ctx.session, ctx.rulebook, row, mapping=mapping, only=only, last=last)


def as_json(row: TriggerRow) -> dict[str, object]:
    """A trigger for programs; nothing of its secrets."""
    told = {"id": str(row.id), "name": row.name, "kind": row.kind, "sender": row.sender, "account": row.account, "revision": row.revision}
    return told | {name: row.body[name] for name in ("run", "mapping", "only", "channel", "runbooks")}


def delivery_as_json(one: DeliveryRow) -> dict[str, object]:
    """A delivery for programs, without its body."""
    return {
        "id": str(one.id),
        "at": one.received_at.isoformat(),
        "state": one.state,
        "reason": one.reason,
        "detail": one.said,
        "delivery": one.delivery,
        "event": one.event,
        "size": one.size,
        "count": one.count,
        "run": str(one.run_id) if one.run_id else None,
    }


_COUNTED: Final = {
    "starts": "would start a run",
    "refused": "would be refused",
    "filtered": "would be left out",
    "unmapped": "would not fit",
}


def _does(row: TriggerRow) -> str:
    return str(row.body["run"]) if row.kind == Kind.command else f"{row.kind} alerts in #{row.body['channel']}"


def _line(one: DeliveryRow) -> str:
    times = f" ({one.count} times)" if one.count > 1 else ""
    return f"{one.received_at:%m-%d %H:%M:%S}  {one.state:<9}{one.reason:<14}{one.event:<16}{one.said[:80]}{times}"
