"""messages: what could not be delivered to a chat, and sending it again."""

from typing import Any

from commands.controls import ControlContext
from commands.policies import ADMIN
from countersign.commands import control
from countersign.errors import CountersignError
from countersign.replies import Reply
from store.messages import find_backlog
from store.undeliverables import MOST, find_undeliverable, resend

SHOWN = 30


@control("messages", permission=ADMIN, quiet=True)
async def messages(ctx: ControlContext) -> Reply:
    """List messages that could not be delivered and why, and what waits."""
    found = await find_undeliverable(ctx.session, limit=MOST)
    waiting = [f"{one.waiting} wait for {one.platform}, the oldest {one.oldest:.0f} s" for one in await find_backlog(ctx.session)]
    data = {"undeliverable": [_as_json(one) for one in found], "waiting": waiting}
    if not found:
        return Reply(text=". ".join(["Every message was delivered or still waits its turn", *waiting]) + ".", data=data)
    many = f"{MOST} or more" if len(found) == MOST else str(len(found))
    text = f"{many} could not be delivered. Mend the cause, then: messages resend ID, or messages resend all"
    return Reply(text=text, code="\n".join(_line(one) for one in found[:SHOWN]), data=data)


@control("messages resend", permission=ADMIN, quiet=True)
async def messages_resend(ctx: ControlContext, which: str) -> Reply:
    """Send messages again that could not be delivered: the ID of one, a channel's, or all. Each shows how things stand now."""
    wanted = which.strip().removeprefix("#")
    chosen = None
    if wanted.lower() != "all":
        found = await find_undeliverable(ctx.session, limit=MOST)
        chosen = [one.id for one in found if wanted in (str(one.id), _short(one), one.channel)]
        if not chosen:
            raise CountersignError(f"No undeliverable message has the ID or the channel '{wanted[:40]}'; messages lists them.")
    sent = await resend(ctx.session, chosen, by=ctx.person.name)
    return Reply(text=f"{sent} will be sent again." if sent != 1 else "It will be sent again.", data={"sent": sent})


def _short(one: Any) -> str:
    return str(one.id)[-8:]


def _line(one: Any) -> str:
    about = f"#{one.number} {one.command}" if one.number else one.kind
    where = one.channel or f"@{one.person}"
    doubt = " (may have been posted)" if one.unclear else ""
    return f"{_short(one)}  {one.dead_at:%d %b %H:%M}  {one.platform} {where}  {about}  {one.error[:90]}{doubt}"


def _as_json(one: Any) -> dict[str, Any]:
    return {
        "id": str(one.id),
        "kind": one.kind,
        "platform": one.platform,
        "channel": one.channel,
        "person": one.person,
        "run": one.number,
        "error": one.error,
        "since": one.dead_at.isoformat(),
        "unclear": one.unclear,
    }
