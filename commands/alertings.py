"""alerts: what a source tells becomes a group with a card; people acknowledge and end it; every change is history and on the record."""

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from store.alerts import (
    SOURCE,
    AlertGroupRow,
    Changed,
    NewAlert,
    NewGroup,
    count_group,
    find_known,
    lock_group,
    lock_key,
    note_told,
    open_group,
    reopen_group,
    settle_group,
    take_in,
    tell_history,
)
from store.audits import AuditEvent, record
from store.databases import WriteSession
from store.messages import NewMessage, add_messages, tell_alerts
from store.people import Person
from store.triggers import TriggerRow

from .authorizing import Refused

MOST_NAMED: Final = 3


async def ingest(session: WriteSession, trigger: TriggerRow, told: NewGroup, *, chat: str) -> str:
    """Takes in what a source says about one group; returns in words what became of it. The same again changes nothing."""
    newest = await lock_key(session, trigger.id, told.key)
    group, fresh = await _open(session, trigger, told, newest, chat=chat)
    if group is None:
        return "Nothing fires that is not known."
    changed = await take_in(session, group, told.alerts)
    was = "" if newest is None or fresh else newest.status
    now = await count_group(session, group, told)
    if not changed and now.status == was:
        return "Nothing new."
    said = _said(changed, now.firing, now.resolved)
    await _tell(session, trigger, group, was=was, now=now.status, said=said, aloud=now.silent)
    await tell_alerts(session, group, soon=False)
    return said


async def settle(session: WriteSession, group: UUID, person: Person, *, status: str, door: str, reason: str = "") -> str | Refused:
    """Acknowledges or ends a group by hand; whoever may do that is asked for elsewhere."""
    row = await lock_group(session, group)
    if row is None:
        return Refused("There is no such alert.", "not_found_or_foreign")
    if not await settle_group(session, group, status=status, by=person.name):
        by = row.resolved_by if row.status == "resolved" else row.acknowledged_by
        return Refused(f"A{row.number} is {row.status} already, by {by}.", "late_click")
    said = f"{status} by {person.name}{f': {reason}' if reason else ''}"
    await tell_history(session, group, kind=status, by=person.name, said=said, aloud=True)
    await record(session, [AuditEvent(f"alert:{status}", person.name, None, {"group": str(group), "number": row.number, "door": door})])
    await tell_alerts(session, group, soon=True)
    return f"A{row.number} is {status}."


def named(labels: Sequence[Mapping[str, str]], common: Mapping[str, str]) -> str:
    """A few alerts by what tells them apart."""
    names = [_name(one, common) for one in labels]
    more = len(names) - MOST_NAMED
    return f"{'; '.join(names[:MOST_NAMED])}{f' and {more} more' if more > 0 else ''}"


async def _open(
    session: WriteSession, trigger: TriggerRow, told: NewGroup, newest: AlertGroupRow | None, *, chat: str
) -> tuple[UUID | None, bool]:
    """The group that is open, goes on or begins; None where nothing of it begins. And whether it is a new one."""
    if newest is not None and newest.status != "resolved":
        return newest.id, False
    firing = [one for one in told.alerts if one.status == "firing"]
    begun = await _begun(session, newest, firing)
    if not begun or told.acknowledged:
        return (newest.id if newest is not None and not firing else None), False
    if newest is not None and await reopen_group(session, newest.id):
        return newest.id, False
    made = await open_group(session, trigger.id, told)
    await add_messages(session, [NewMessage(None, "card", chat, "", trigger.body["channel"], alert_group_id=made)])
    return made, True


async def _begun(session: WriteSession, newest: AlertGroupRow | None, firing: Sequence[NewAlert]) -> list[NewAlert]:
    """Those that have begun since; an alert that was ended by hand begins again only when it starts anew."""
    known = await find_known(session, newest.id, firing) if newest is not None else set()
    return [one for one in firing if (one.fingerprint, one.starts_at) not in known]


async def _tell(session: WriteSession, trigger: TriggerRow, group: UUID, *, was: str, now: str, said: str, aloud: bool) -> None:
    """A card says what fires; its thread says what has changed, and while alerts come thick and fast, not more often than every 5 min."""
    turned = was not in ("", now)
    kind = now if turned or not was else "changed"
    words = f"fires again: {said}" if (was, now) == ("resolved", "firing") else said
    await tell_history(session, group, kind=kind, by=SOURCE, said=words, aloud=turned or (bool(was) and aloud))
    if turned or aloud:
        await note_told(session, group)
    if turned or not was:
        detail = {"group": str(group), "trigger": trigger.name, "status": now}
        await record(session, [AuditEvent(f"alert:{now}", trigger.account, None, detail)])


def _said(changed: Sequence[Changed], firing: int, resolved: int) -> str:
    begun, ended = ([one.labels for one in changed if one.status == status] for status in ("firing", "resolved"))
    parts = [f"{len(begun)} began ({named(begun, {})})" if begun else "", f"{len(ended)} ended ({named(ended, {})})" if ended else ""]
    return f"{', '.join(filter(None, parts)) or 'changed'}; {firing} firing, {resolved} ended"[:400]


def _name(labels: Mapping[str, str], common: Mapping[str, str]) -> str:
    own = {name: value for name, value in labels.items() if common.get(name) != value}
    preferred = [own[name] for name in ("instance", "pod", "host", "service") if name in own]
    return (preferred[0] if preferred else ", ".join(f"{name}={value}" for name, value in sorted(own.items())[:2]) or "alert")[:60]
