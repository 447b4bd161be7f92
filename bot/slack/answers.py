"""How an answer gets back to one person: in the response where Slack shows it, otherwise as a row that the shared sender delivers."""

import base64
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from bot.hubs import Answer
from countersign.replies import Form, Reply
from integrations.slack.blocks import fallback_text, form_view, notice_view, reply_blocks
from integrations.slack.roundtrips import metadata
from store.databases import WriteSession
from store.messages import NewMessage, add_messages
from store.secrets import Sealer

from .connections import Connection
from .sources import Source

Json = dict[str, Any]


def whole(answer: Answer) -> Reply:
    """The answer's reply with the form that belongs to it."""
    return answer.reply.model_copy(update={"form": answer.form}) if answer.form else answer.reply


def shown_at_once(reply: Reply) -> Json:
    """The body of the response to a slash command."""
    return {"response_type": "ephemeral", "text": fallback_text(reply), "blocks": reply_blocks(reply)}


def said(sentence: str) -> Json:
    return shown_at_once(Reply(text=sentence))


def notice(reply: Reply) -> Json:
    """The body of the response to a form that was sent: the form gives way to the answer."""
    return {"response_action": "update", "view": notice_view(reply)}


def form_of(form: Form, source: Source) -> Json:
    """The form as a view that knows where it was opened."""
    carried = {**form.carried, "intent": form.intent, "target": form.target, **source.carried()}
    return form_view(form, private_metadata=metadata(**carried), callback_id="form")


async def queue(session: WriteSession, source: Source, reply: Reply, *, key: str, sealer: Sealer, person: str = "") -> None:
    """Leaves the answer for the sender, once per `key` however often the request is delivered."""
    address = base64.b64encode(sealer.seal(source.response_url)).decode() if source.response_url else None
    message = NewMessage(
        run_id=None,
        kind="reply",
        platform="slack",
        team=source.team,
        channel=source.channel,
        thread=source.thread,
        person=person,
        account=source.user,
        card=reply.model_dump(mode="json"),
        answer_to=address,
        id=uuid5(NAMESPACE_OID, f"reply to {key}"),
    )
    await add_messages(session, [message])


async def answer_by_sender(connection: Connection, source: Source, reply: Reply, *, key: str, person: str = "") -> None:
    """The same in a transaction of its own; raises NothingDone or NotConfirmed."""
    sealer = (await connection.hub.rulebook()).sealer
    await connection.hub.committed(lambda session: queue(session, source, reply, key=key, sealer=sealer, person=person))
