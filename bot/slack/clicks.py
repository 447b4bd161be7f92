"""Clicks: the button's frozen use case, carried out for whoever pressed it, if they may, now."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bot.presses import Press, press
from commands.authorizing import Refused, Request
from commands.submit import OPTIONS, form_for
from countersign.errors import CountersignError
from countersign.invocations import Door
from countersign.replies import Button, Reply
from integrations.slack.blocks import notice_view, reason_view
from integrations.slack.roundtrips import FILL, Pressed, metadata, read_button
from store.audits import AuditEvent
from store.databases import WriteSession
from store.people import Person

from .answers import answer_by_sender, form_of, queue
from .connections import Connection
from .identities import Stranger
from .openings import Opening
from .sources import Source, text_at

_AGAIN: Final = Reply(text="Slack gives three seconds to open a form and they are over; press the button again.")


@dataclass(frozen=True)
class Click:
    """One press of one button of ours; `key` is the same for every delivery of it."""

    source: Source
    pressed: Pressed
    trigger: str
    key: str


async def handle_click(connection: Connection, payload: Mapping[str, Any], *, trace: str) -> Opening | None:
    """Carries the click out; returns the form that is to be opened next, if any.

    Slack shows nothing of the response to a click, so the sentence goes by the sender, in the transaction of what it tells. Where no
    transaction is to be had, and in App Home, where no message could answer, a form shows it.
    """
    click = _read(payload)
    if click is None:
        return None
    try:
        person = await connection.identities.find(click.source.user, claimed=click.source.claimed, trace=trace)
        if isinstance(person, Stranger):
            return await _told(connection, click, Reply(text=person.sentence))
        if click.pressed.intent == FILL:
            return await _fill(connection, click, person)
        if click.pressed.ask:
            return _ask_reason(click)
        reply = await _pressed(connection, click, person)
        if reply.form is not None:
            return Opening(click.trigger, form_of(reply.form, click.source), click.source, click.key, _AGAIN)
        return _shown(click, reply) if click.source.home else None
    except CountersignError as error:
        return _shown(click, Reply(text=str(error)))


def _read(payload: Mapping[str, Any]) -> Click | None:
    actions = payload.get("actions")
    action = actions[0] if isinstance(actions, list) and actions and isinstance(actions[0], dict) else {}
    pressed = read_button(action)
    if pressed is None:
        return None
    source, trigger = Source.of_interaction(payload), text_at(payload, "trigger_id")
    moment = f"{text_at(action, 'action_ts')}:{text_at(payload, 'container', 'message_ts')}:{source.user}"
    return Click(source, pressed, trigger, f"slack:{source.team}:{trigger or moment}")


async def _pressed(connection: Connection, click: Click, person: Person) -> Reply:
    rulebook = await connection.hub.rulebook()
    one = Press(click.key, click.pressed.intent, click.pressed.target, Door.slack, click.pressed.digest)

    async def work(session: WriteSession) -> Reply:
        reply = await press(session, rulebook, person, one)
        if not click.source.home and reply.form is None:
            await queue(session, click.source, reply, key=click.key, sealer=rulebook.sealer, person=person.name)
        return reply

    return await connection.hub.committed(work, what="Look at the card to see whether it counted.")


async def _told(connection: Connection, click: Click, reply: Reply) -> Opening | None:
    if click.source.home:
        return _shown(click, reply)
    await answer_by_sender(connection, click.source, reply, key=click.key)
    return None


async def _fill(connection: Connection, click: Click, person: Person) -> Opening | None:
    rulebook = await connection.hub.rulebook()
    command = rulebook.registry.find(click.pressed.target)
    if command is None:
        return await _told(connection, click, Reply(text="This command does not exist any more."))
    offer = rulebook.offer(person, command, Request(command.permission, Door.slack, click.source.place))
    if isinstance(offer, Refused):
        detail = {"reason": offer.reason, "door": Door.slack.value, "intent": FILL, "command": command.name}
        await connection.hub.record([AuditEvent("request:refused", person.name, None, detail)])
        return await _told(connection, click, Reply(text=offer.sentence))
    known = {one.name for one in command.schema.parameters} | set(OPTIONS)
    given = {name: value for name, value in click.pressed.answers.items() if name in known}
    return Opening(click.trigger, form_of(form_for(rulebook, command, given), click.source), click.source, click.key, _AGAIN)


def _ask_reason(click: Click) -> Opening:
    pressed = click.pressed
    button = Button(label=pressed.ask[:75], intent=pressed.intent, target=pressed.target)
    carried = {"intent": pressed.intent, "target": pressed.target, "digest": pressed.digest, **click.source.carried()}
    return Opening(click.trigger, reason_view(button, private_metadata=metadata(**carried)), click.source, click.key, _AGAIN)


def _shown(click: Click, reply: Reply) -> Opening:
    return Opening(click.trigger, notice_view(reply), click.source, click.key)
