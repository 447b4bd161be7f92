"""`@Countersign deploy api v2`, which works in threads, where Slack has no slash commands."""

from collections.abc import Mapping
from typing import Any

from countersign.invocations import Door, Invocation
from countersign.replies import Reply
from store.people import Person

from .answers import answer_by_sender, whole
from .connections import Connection
from .identities import Stranger
from .sources import Source, text_at
from .words import UnknownMention, after_mention, command_text


async def handle_mention(connection: Connection, envelope: Mapping[str, Any], *, trace: str) -> None:
    """Submits the words behind the mention; the answer goes to the asker alone, by the sender.

    Raises CountersignError when it could not be done or answered: Slack then delivers the same event again, which is the same request.
    """
    event = envelope.get("event")
    if not isinstance(event, dict) or event.get("bot_id") or event.get("edited"):
        return
    source, key = Source.of_event(envelope), f"slack:{text_at(envelope, 'event_id')}"
    person = await connection.identities.find(source.user, claimed=source.claimed, trace=trace)
    if isinstance(person, Stranger):
        await answer_by_sender(connection, source, Reply(text=person.sentence), key=key)
        return
    words = after_mention(text_at(event, "text"), connection.workspace.bot_user)
    reply = await _submitted(connection, person, source, words=words, key=key, trace=trace)
    await answer_by_sender(connection, source, reply, key=key, person=person.name)


async def _submitted(connection: Connection, person: Person, source: Source, *, words: str, key: str, trace: str) -> Reply:
    try:
        text = await command_text(words, connection.identities)
    except UnknownMention as error:
        return Reply(text=str(error))
    invocation = Invocation(key=key, door=Door.slack, place=source.place, text=text or "help", trace=trace)
    return whole(await connection.hub.submit(person, invocation))
