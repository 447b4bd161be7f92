"""Deliverers: the rooms of browser and terminal, where the row is the message, and Slack."""

import time
from typing import Final

from commands.lines import held_by
from countersign.replies import Reply
from integrations.slack.blocks import card_blocks, fallback_text, reply_blocks
from integrations.slack.clients import Posted, SlackClient
from integrations.slack.errors import SlackBusy, SlackRefused, SlackUnclear, SlackUnreachable
from integrations.slack.texts import inert
from store.people import find_accounts, find_person

from .announcing import Deliverer, Later, Telling, Undeliverable
from .services import Services

REPLY_SECONDS: Final = 25 * 60  # a response_url lives 30 minutes
SHARED_SECONDS: Final = 300.0
MOST_TRIES: Final = 30
LONGEST_FALLBACK: Final = 600  # 120 characters, escaped


class Room(Deliverer):
    """The room reads the rows; telling it that one changed is the whole delivery."""

    async def deliver(self, one: Telling) -> tuple[str | None, str | None]:
        return one.row.channel or f"@{one.row.person}", str(one.row.id)


class Slack(Deliverer):
    """Posts once and edits afterwards; a post whose outcome is unclear is looked for before it is made again."""

    def __init__(self, services: Services, client: SlackClient) -> None:
        self._services, self._client = services, client
        self._shared: dict[str, tuple[float, bool]] = {}

    async def deliver(self, one: Telling) -> tuple[str | None, str | None]:
        try:
            how = self._line if one.row.follows else self._reply if isinstance(one.shown, Reply) else self._card
            return await how(one)
        except SlackBusy as error:
            raise Later(error.retry_after, str(error), whole_channel=_channel_of(one)) from None
        except SlackUnclear as error:
            raise Later(_pause(one), str(error), unclear=True) from None
        except SlackUnreachable as error:
            raise Later(_pause(one), str(error)) from None
        except SlackRefused as error:
            if error.code in ("ratelimited", "internal_error", "fatal_error", "service_unavailable") and one.row.attempts < MOST_TRIES:
                raise Later(_pause(one), str(error)) from None
            raise Undeliverable(str(error)) from None

    async def _card(self, one: Telling) -> tuple[str | None, str | None]:
        assert not isinstance(one.shown, Reply)  # noqa: S101  deliver() has chosen
        blocks, said = card_blocks(one.shown), inert(one.shown.fallback, LONGEST_FALLBACK)
        if one.row.remote_id:
            await self._client.update(one.row.remote_channel, one.row.remote_id, blocks, said)
            return None, None
        channel = one.row.remote_channel or await self._channel(one)
        if found := await self._posted_before(one, channel, _thread(one)):
            await self._client.update(found.channel, found.ts, blocks, said)
            return found.channel, found.ts
        posted = await self._client.post(channel, blocks, said, thread=_thread(one), key=str(one.row.id))
        return posted.channel, posted.ts

    async def _line(self, one: Telling) -> tuple[str | None, str | None]:
        """Into the thread of the card that it follows, once."""
        assert isinstance(one.shown, Reply)  # noqa: S101  deliver() has chosen
        channel, thread = one.row.card_channel, one.row.card_thread
        found = await self._posted_before(one, channel, thread) or await self._client.post(
            channel, reply_blocks(one.shown), fallback_text(one.shown), thread=thread, key=str(one.row.id)
        )
        return found.channel, found.ts

    async def _posted_before(self, one: Telling, channel: str, thread: str | None) -> Posted | None:
        """The message itself, where an earlier try may have posted it and nobody knows."""
        if not one.row.posting:
            return None
        return await self._client.find_by_key(channel, str(one.row.id), one.row.created_at.timestamp() - 60, thread=thread)

    async def _reply(self, one: Telling) -> tuple[str | None, str | None]:
        """By the response_url while it lives, then directly."""
        assert isinstance(one.shown, Reply)  # noqa: S101  deliver() has chosen
        blocks, said = reply_blocks(one.shown), fallback_text(one.shown)
        sealed = one.row.answer_to
        age = time.time() - one.row.created_at.timestamp()
        if sealed and age < REPLY_SECONDS and one.row.attempts <= 4:
            address = self._services.opener.open(bytes(sealed))
            try:
                await self._client.respond(address, text=said, blocks=blocks)
                return None, None
            except SlackRefused:
                pass  # the address is used up; the person still has a direct message
        if one.row.account and one.row.channel and not sealed:
            try:
                await self._client.ephemeral(one.row.channel, one.row.account, blocks, said, thread=_thread(one))
                return None, None
            except SlackRefused:
                if not one.row.person:
                    raise
        alone = bool(one.row.person) or not one.row.channel or await self._is_shared(one.row.channel)
        channel = await self._direct(one.row.person) if alone else one.row.channel
        posted = await self._client.post(channel, blocks, said, key=str(one.row.id))
        return posted.channel, posted.ts

    async def _channel(self, one: Telling) -> str:
        """The channel itself, or a direct message where the channel is shared with another company."""
        channel = str(one.row.channel)
        if not channel:
            return await self._direct(one.row.person)
        return await self._direct(held_by(one.run) if one.run else one.row.person) if await self._is_shared(channel) else channel

    async def _direct(self, person: str) -> str:
        async with self._services.reading() as session:
            account = (await find_accounts(session, [person], platform="slack")).get(person)
            known = await find_person(session, person)
        user = account.account if account else await self._found(known.email if known else "")
        if user is None:
            raise Undeliverable(f"{person} has no Slack account linked")
        return await self._client.open_direct(user)

    async def _found(self, email: str) -> str | None:
        """Somebody who has never spoken to us and would be linked by e-mail when they do; this reaches them and links nothing."""
        async with self._services.reading() as session:
            rulebook = await self._services.current_rulebook(session)
        if not email or not rulebook.policy.identity("slack").link_by_email:
            return None
        user = await self._client.user_by_email(email)
        return user.id if user and not (user.is_guest or user.is_stranger or user.deleted or user.is_bot) else None

    async def _is_shared(self, channel: str) -> bool:
        known = self._shared.get(channel)
        if known is None or time.monotonic() - known[0] > SHARED_SECONDS:
            known = (time.monotonic(), await self._client.is_shared(channel))
            self._shared[channel] = known
        return known[1]


def _pause(one: Telling) -> float:
    """Seconds: 1, 2, 4 … at most 5 minutes."""
    return float(min(300, 2 ** max(0, one.row.attempts - 1)))


def _channel_of(one: Telling) -> str:
    """The channel that is too busy, if it is known."""
    return str(one.row.card_channel or one.row.remote_channel or one.row.channel)


def _thread(one: Telling) -> str | None:
    return one.row.thread or None
