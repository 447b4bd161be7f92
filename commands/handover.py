"""handover: the asker gives a request into somebody else's hands, who then may change, answer and cancel it, and hears of it."""

from dataclasses import dataclass
from uuid import UUID

from countersign.invocations import Door
from countersign.runs import FINISHED
from store.audits import AuditEvent, record
from store.conversations import NewLine, say
from store.databases import WriteSession
from store.messages import NewMessage, add_messages, find_chat
from store.people import Person, find_person
from store.runs import hand_over

from .authorizing import Refused
from .decide import refresh_cards
from .lines import reply_about, tell_directly
from .matters import Matters, read_matters
from .rulebooks import Rulebook


@dataclass(frozen=True)
class HandedOver:
    """Who holds the request now, in a sentence."""

    sentence: str


async def hand(session: WriteSession, rulebook: Rulebook, person: Person, run_id: UUID, *, to: str, door: Door) -> HandedOver | Refused:
    """Hands the request over, or back to the asker alone, or says why not; one `handover:*` audit event is recorded either way."""
    matters = await read_matters(session, rulebook, person, run_id)
    answer = matters.refused() or await _handed(session, matters, to)
    detail = {"door": door.value, "to": to[:64]} | ({"refused": answer.reason} if isinstance(answer, Refused) else {})
    kind = "handover:refused" if isinstance(answer, Refused) else "handover:made"
    await record(session, [AuditEvent(kind, person.name, matters.run.id if matters.run else None, detail)])
    return answer


async def _handed(session: WriteSession, matters: Matters, to: str) -> HandedOver | Refused:
    run, person = matters.known, matters.person
    if person.name != run.asker:
        return Refused(f"Only {run.asker}, who asked for it, can hand run #{run.number} over.", "missing_permission")
    if run.status in FINISHED:
        return Refused(f"Run #{run.number} has ended already: {run.status.replace('_', ' ')}.", "late_click")
    if to == (run.handed_to or run.asker):
        return Refused(f"Run #{run.number} is {'yours' if to == person.name else f'in the hands of {to}'} already.", "nothing_changed")
    if to == run.asker:
        return await _written(session, matters, None)
    receiver = await find_person(session, to)
    if receiver is None or not receiver.active or receiver.service:
        return Refused(f"There is no person named {to} who could take it.", "unknown_person")
    if any(to in (row.person, row.on_behalf) for row in matters.decisions):
        return Refused(f"{to} has voted on run #{run.number}; hand it to somebody who has not.", "has_voted")
    return await _written(session, matters, to)


async def _written(session: WriteSession, matters: Matters, to: str | None) -> HandedOver:
    run, person = matters.known, matters.person
    before = run.handed_to
    await hand_over(session, run.id, to)
    await say(session, NewLine(run.id, "handover", person.name, f"hands it over to {to}" if to else "takes it into their own hands again"))
    if to and (chat := await find_chat(session, run.id)):
        await add_messages(session, [NewMessage(run.id, "direct", *chat, person=to)])
    told = {to: reply_about(run, f"{person.name} handed this over to you: you may change it, answer for it and cancel it.")} if to else {}
    if before:
        told[before] = reply_about(run, f"It is in the hands of {to or person.name} now.")
    await tell_directly(session, run, told)
    await refresh_cards(session, run.id)
    if to is None:
        return HandedOver(f"Run #{run.number} is in your own hands again.")
    return HandedOver(f"Run #{run.number} is in the hands of {to} now; what happens is still done with your rights.")
