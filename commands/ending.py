"""ending: grants whose end is near or past, and those of people who left; the sweep asks for this. Their holders are told."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from countersign.arguments import Duration
from countersign.invocations import Place
from countersign.replies import Button, Card, Field, Reply, Tone
from store.audits import AuditEvent, record
from store.databases import WriteSession
from store.grants import Grant, How, end_of_leavers, expire, mark_told, take_due
from store.messages import NewMessage, add_messages

BATCH: Final = 100
EXTEND: Final = "extend"
_CHATS: Final = ("slack", "room")


async def tend_grants(session: WriteSession, *, chat: str) -> int:
    """Closes grants that are over and tells holders whose end is near; returns how many grants were due.

    `chat` is where holders are told who asked through a door without a chat. Any number of housekeepers may do this at once.
    """
    due = await take_due(session, limit=BATCH)
    over, near = [one for one in due if one.over], [one for one in due if not one.over]
    await expire(session, [one.id for one in over])
    await mark_told(session, [one.id for one in near])
    gone = await end_of_leavers(session)
    await record(session, [_event("grant:expired", one) for one in over] + [_event("grant:ended", one) for one in gone])
    await tell_holders(session, [(one, ended_reply(one)) for one in over] + [(one, _near_reply(one)) for one in near], chat=chat)
    return len(due) + len(gone)


async def tell_holders(session: WriteSession, told: Sequence[tuple[Grant, Reply]], *, chat: str) -> None:
    """Each reply to the person who holds the grant, in the chat they asked in; a group is told nothing."""
    await add_messages(session, [_message(one, reply, chat) for one, reply in told if not one.subject.startswith("@")])


def ended_reply(grant: Grant, *, by: str = "") -> Reply:
    """What the holder reads at the end; `by` took the role away before its time."""
    how = f"{by} took it away" if by else f"its time is over since {moment(grant.until)}"
    return Reply(text=f"You do not have the role {grant.role} any more: {how} ({grant.name}). To ask again: access request {grant.role} 1h")


def length_of(grant: Grant) -> str:
    """How long it was or will be held, as one types it; empty when it has no end yet."""
    last = grant.ended_at or grant.until
    return _whole(last - grant.granted_at) if last else ""


def moment(at: datetime | None) -> str:
    """A moment as people read it; without an end it lasts until it is revoked."""
    return f"{at:%Y-%m-%d %H:%M} UTC" if at else "it is revoked"


def _near_reply(grant: Grant) -> Reply:
    """The button opens the command's form; somebody else approves the extension like the grant itself."""
    ends = f"Your role {grant.role} ends at {grant.until:%H:%M} UTC"
    buttons = (Button(label="Extend", intent=EXTEND, target=str(grant.id), style="primary"),)
    fields = (Field(label="Grant", value=grant.name), Field(label="Held since", value=moment(grant.granted_at)))
    text = "What you run with it stops before its next step then. Extending has to be approved again."
    title = f"Role {grant.role} ends soon"
    return Reply(card=Card(title=title, fallback=ends, tone=Tone.waiting, text=f"{ends}. {text}", fields=fields, buttons=buttons))


def _message(grant: Grant, reply: Reply, chat: str) -> NewMessage:
    place = Place(**grant.place) if grant.place and grant.asker == grant.subject else Place("")
    platform, team = (place.platform, place.team) if place.platform in _CHATS else (chat, "")
    return NewMessage(None, "reply", platform, team, person=grant.subject, card=reply.model_dump(mode="json"))


def _event(kind: str, grant: Grant) -> AuditEvent:
    """The run that gave it is named, so that its trail tells the end as well."""
    how = How.expired if grant.over else How.left
    detail = {"grant": grant.name, "subject": grant.subject, "role": grant.role, "held": length_of(grant), "how": how.value}
    return AuditEvent(kind, "countersign", grant.run_id, detail)


def _whole(length: timedelta) -> str:
    """To the minute, or to the second when it is shorter."""
    seconds = round(length.total_seconds())
    return str(Duration(seconds=seconds - seconds % 60 if seconds >= 60 else seconds))
