"""alerts, alert show, acknowledge and resolve: what fires, for whoever may use the hub; taking it up takes `countersign:alerts`."""

from typing import Final

from commands.alertings import settle
from commands.authorizing import Refused
from commands.controls import ControlContext
from countersign.commands import control
from countersign.errors import CountersignError
from countersign.replies import Reply
from store.alerts import AlertGroupRow, find_firing, find_group_numbered, find_history, list_groups

ALERTS: Final = "countersign:alerts"
SHOWN: Final = 20


@control("alerts", quiet=True)
async def alerts(ctx: ControlContext, all: bool = False) -> Reply:  # noqa: A002  how people say it
    """List the groups of alerts that are open, or ALL."""
    rows = await list_groups(ctx.session, ended=all, limit=SHOWN)
    if not rows:
        return Reply(text="No alert is open." if not all else "There was no alert yet.")
    lines = [f"A{one.number:<6}{one.status:<14}{one.firing:>4} firing  {one.title[:70]}" for one in rows]
    return Reply(
        text="Alerts, the newest first. For one of them: alert show A12",
        code="\n".join(lines),
        data={"alerts": list(map(as_json, rows))},
    )


@control("alert show", quiet=True)
async def alert_show(ctx: ControlContext, alert: str) -> Reply:
    """Show one group of alerts: what fires in it, and its history."""
    row = await _found(ctx, alert)
    firing = await find_firing(ctx.session, row.id, limit=12)
    history = await find_history(ctx.session, row.id, last=20)
    told = [f"{one.at:%m-%d %H:%M:%S}  {one.said}"[:150] for one in history]
    listed = [f"{one.status:<9}{' '.join(f'{name}={value}' for name, value in sorted(one.labels.items()))}"[:150] for one in firing]
    return Reply(text=f"A{row.number} {row.title}: {row.status}.", code="\n".join([*listed, "", *told])[-2_800:], data=as_json(row))


@control("alert acknowledge", permission=ALERTS, quiet=True)
async def alert_acknowledge(ctx: ControlContext, alert: str) -> Reply:
    """Say that you have taken it up; the card and its thread say so."""
    return await _settled(ctx, alert, "acknowledged", "")


@control("alert resolve", permission=ALERTS, quiet=True)
async def alert_resolve(ctx: ControlContext, alert: str, reason: str = "") -> Reply:
    """End a group of alerts by hand. It comes again when an alert of it begins anew."""
    return await _settled(ctx, alert, "resolved", reason)


def as_json(row: AlertGroupRow) -> dict[str, object]:
    """A group for programs."""
    return {
        "id": str(row.id),
        "number": row.number,
        "status": row.status,
        "title": row.title,
        "severity": row.severity,
        "firing": row.firing,
        "ended": row.resolved,
        "labels": row.labels,
        "opened_at": row.opened_at.isoformat(),
        "acknowledged_by": row.acknowledged_by,
        "resolved_by": row.resolved_by,
    }


async def _settled(ctx: ControlContext, alert: str, status: str, reason: str) -> Reply:
    row = await _found(ctx, alert)
    door = ctx.invocation.door.value
    answer = await settle(ctx.session, row.id, ctx.person, status=status, door=door, reason=" ".join(reason.split())[:300])
    return Reply(text=answer.sentence if isinstance(answer, Refused) else answer)


async def _found(ctx: ControlContext, alert: str) -> AlertGroupRow:
    digits = alert.strip().upper().removeprefix("A")
    row = await find_group_numbered(ctx.session, int(digits)) if digits.isdecimal() and len(digits) < 18 else None
    if row is None:
        raise CountersignError("There is no such alert.")
    return row
