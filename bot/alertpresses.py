"""The buttons of a card of alerts: each asks for a command as if it were typed, with arguments from the alerts' labels."""

from uuid import UUID

from commands.alertcards import ACKNOWLEDGE, DETAILS, RESOLVE, RUNBOOK
from commands.authorizing import Refused
from commands.controls import call_control
from commands.limits import find_used_up
from commands.rulebooks import Rulebook
from commands.runbookbuttons import Offer, offers_for
from commands.submit import Ask, Birth, ControlCall, prepare
from countersign.invocations import Invocation, Origin, Place
from countersign.replies import Reply
from countersign.runs import RunStatus
from store.alerts import AlertGroupRow, find_card, find_groups
from store.audits import AuditEvent, record
from store.databases import WriteSession
from store.people import Person, find_person
from store.runs import create
from store.triggers import find_trigger

from .clicks import Press

COMMANDS = {ACKNOWLEDGE: "alert acknowledge", RESOLVE: "alert resolve", DETAILS: "alert show"}


async def press_alert(session: WriteSession, rulebook: Rulebook, person: Person, group_id: UUID, one: Press) -> Reply:
    """What became of the click. The right to ask is decided now, of the person as they are now."""
    group = (await find_groups(session, [group_id])).get(group_id)
    if group is None:
        return await _refused(session, person, one, Refused("There is no such alert.", "not_found_or_foreign"))
    current = await find_person(session, person.name) or person
    if one.intent == RUNBOOK:
        offer = await _offer(session, rulebook, group, one.digest)
        if offer is None:
            changed = Refused("The alert has changed since this button was shown; look at the card again.", "digest_mismatch")
            return await _refused(session, current, one, changed)
        wanted = await _invocation(session, group, one, offer.command.name, offer.arguments)
    else:
        wanted = await _invocation(session, group, one, COMMANDS[one.intent], {"alert": f"A{group.number}"})
    return await _asked(session, rulebook, current, wanted)


async def _refused(session: WriteSession, person: Person, one: Press, answer: Refused) -> Reply:
    detail = {"reason": answer.reason, "door": one.door.value, "intent": one.intent[:40], "target": one.target[:40]}
    await record(session, [AuditEvent("request:refused", person.name, None, detail)])
    return Reply(text=answer.sentence)


async def _offer(session: WriteSession, rulebook: Rulebook, group: AlertGroupRow, digest: str) -> Offer | None:
    trigger = await find_trigger(session, group.trigger_id)
    offers = offers_for(rulebook.registry, trigger, group) if trigger and trigger.ended_at is None else []
    return next((offer for offer in offers if offer.digest == digest), None)


async def _invocation(session: WriteSession, group: AlertGroupRow, one: Press, command: str, arguments: dict[str, str]) -> Invocation:
    """What comes of it is shown beneath the card."""
    card = await find_card(session, group.id)
    place = Place(one.door.value)
    if card is not None:
        thread = card.remote_id or "" if card.platform == "slack" else ""
        place = Place(card.platform, card.team, card.remote_channel if thread else card.channel, thread)
    return Invocation(
        key=f"{one.key}:alert",
        door=one.door,
        place=place,
        command=command,
        arguments=arguments,
        origins=dict.fromkeys(arguments, Origin.label),
        reason=f"alert A{group.number} {group.title}"[:200],
    )


async def _asked(session: WriteSession, rulebook: Rulebook, person: Person, wanted: Invocation) -> Reply:
    """The same as for what is typed, in the transaction of the click."""
    prepared = prepare(rulebook, person, wanted)
    if isinstance(prepared, ControlCall):
        return await call_control(session, rulebook, person, wanted, prepared)
    if isinstance(prepared, Birth):
        return await _born(session, prepared)
    if isinstance(prepared, Ask):
        return Reply(text=prepared.sentence, form=prepared.form)
    await record(session, [prepared.event])
    return Reply(text=prepared.sentence)


async def _born(session: WriteSession, birth: Birth) -> Reply:
    used_up = await find_used_up(session, birth.limits) if birth.limits else None
    wanted = birth.refused(used_up) if used_up else birth
    born = (await create(session, [wanted.run]))[wanted.run.key]
    if born.status is RunStatus.refused:
        return Reply(text=wanted.sentence)
    return Reply(text=f"#{born.number} {wanted.command.name}: accepted; its plan follows.")
