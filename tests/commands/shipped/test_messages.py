"""What could not be delivered is seen by who may mend it, and sent again when they say so."""

from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from kit.bots import Bot
from store.databases import reading, transaction
from store.deliveries import put_off, take_due
from store.messages import NewMessage, add_messages
from tests.commands.shipped.words import said


async def dead(crew: Bot, channel: str, error: str, *, unclear: bool = False) -> UUID:
    one = NewMessage(None, "reply", "slack", "T1", channel, card={"text": "x"})
    async with transaction(crew.owner) as session:
        await add_messages(session, [one])
        await take_due(session, limit=1_000)
        await put_off(session, one.id, seconds=0, error=error, unclear=unclear, dead=True)
    return one.id


async def row(crew: Bot, message: UUID) -> Any:
    async with reading(crew.owner) as session:
        query = "SELECT due_at IS NOT NULL AS due, dead_at, posting_since FROM messages WHERE id = :id"
        return (await session.execute(text(query), {"id": message})).one()


async def test_who_may_mend_it_sees_it_and_sends_it_again(crew: Bot) -> None:
    max_, ada = crew.cast("max", "ada")
    channel = uuid4().hex
    one, other = await dead(crew, channel, "not_in_channel: invite it there", unclear=True), await dead(crew, uuid4().hex, "is_archived")
    listed = await said(max_, "messages")
    assert str(one)[-8:] in listed
    assert "not_in_channel: invite it there (may have been posted)" in listed
    assert "needs the permission countersign:admin" in await said(ada, "messages")
    assert "needs the permission countersign:admin" in await said(ada, "messages resend all")
    assert "No undeliverable message has the ID or the channel 'nowhere'" in await said(max_, "messages resend nowhere")
    assert await said(max_, f"messages resend {channel}") == "It will be sent again."
    again = await row(crew, one)
    assert (again.due, again.dead_at) == (True, None)
    assert again.posting_since is not None, "it is looked for first"
    assert (await row(crew, other)).dead_at is not None
    async with reading(crew.owner) as session:
        query = "SELECT kind, actor FROM audit_events WHERE canonical LIKE :id ORDER BY seq"
        trail = [tuple(event) for event in await session.execute(text(query), {"id": f"%{one}%"})]
    assert [kind for kind, _ in trail] == ["message:undeliverable", "message:resent"]
    assert trail[1][1] == "max"
    async with transaction(crew.owner) as session:
        await session.execute(text("UPDATE messages SET due_at = NULL, dead_at = NULL WHERE platform = 'slack'"))
