"""promises: what the hub promises, as it measures it itself."""

from collections.abc import Iterator
from typing import Any

from commands.controls import ControlContext
from commands.policies import AUDIT
from countersign.commands import control
from countersign.replies import Reply
from store.promises import LATE_SECONDS, Late, Promise, find_late, find_promises

_WORDS = {
    "lost": "{count} accepted and nowhere to be found",
    "doubled": "{count} done twice",
}
_OF = {
    "request": "requests",
    "delivery": "deliveries to triggers",
    "step": "steps",
    "end": "runs that ended",
    "planning": "runs to be planned",
    "executing": "runs to be carried out",
    "adrift": "runs that no worker will find",
    "wake": "runs that wait for a moment gone by",
    "expiry": "requests that should have expired",
    "schedule": "schedules",
}
LOOKED_SECONDS = 120


@control("promises", permission=AUDIT, quiet=True)
async def promises(ctx: ControlContext) -> Reply:
    """Show what was lost, done twice or is late, as the hub itself measures it."""
    kept, late = await find_promises(ctx.session), await find_late(ctx.session)
    broken = sum(one.count for one in kept)
    behind = sum(one.count for one in late)
    looked = max(one.looked for one in kept)
    told = f"{broken or 'Nothing'} lost or done twice, {behind or 'nothing'} late. Housekeeping looked {looked:.0f} s ago"
    text = f"{told}{': is a worker running?' if looked > LOOKED_SECONDS else '.'}"
    data: dict[str, Any] = {"kept": broken == behind == 0 and looked <= LOOKED_SECONDS, "looked_seconds_ago": round(looked, 1)}
    data |= {"promises": [_as_json(one) for one in kept], "late": [one.__dict__ for one in late], "late_after_seconds": LATE_SECONDS}
    return Reply(text=text, code="\n".join(_lines(kept, late)), data=data)


def _lines(kept: list[Promise], late: list[Late]) -> Iterator[str]:
    for one in kept:
        since = f", the last at {one.broken_at:%Y-%m-%d %H:%M} UTC: {one.example}" if one.broken_at else ""
        yield f"{one.promise:<8} {_OF[one.what]}: {_WORDS[one.promise].format(count=one.count)}{since}"
    for each in late:
        waits = f", for {each.seconds:.0f} s: {each.example}" if each.count else ""
        yield f"late     {_OF[each.what]}: {each.count}{waits}"


def _as_json(one: Promise) -> dict[str, object]:
    at = one.broken_at.isoformat() if one.broken_at else None
    return {"promise": one.promise, "what": one.what, "count": one.count, "example": one.example, "broken_at": at}
