"""Deliverers: the rooms of browser and terminal, where the row is the message, and Slack."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any, Final

from commands.lines import held_by
from countersign.replies import Card, Picture, Reply
from integrations.slack.blocks import card_blocks, fallback_text, has_room, reply_blocks
from integrations.slack.clients import Posted, SlackClient
from integrations.slack.errors import SlackBusy, SlackRefused, SlackUnclear, SlackUnreachable
from integrations.slack.files import PICTURE, file_name, picture_name, text_of
from integrations.slack.texts import inert
from store.lanes import enter_lane, lane_of
from store.messages import NewMessage, Priority, add_messages
from store.people import find_accounts, find_person
from store.runs import RunRow

from .announcing import LONGEST_DELIVERY, Deliverer, Later, Telling, Undeliverable
from .services import Services

_log = logging.getLogger(__name__)
NO_FILES: Final = (
    "Slack does not let the app upload files, so answers come without their pictures, and long ones as a link; update the app from the"
    " manifest (files:write)"
)
NO_UPLOADS: Final = ("missing_scope", "file_uploads_disabled")
LONGEST_TITLE: Final = 80
REPLY_SECONDS: Final = 25 * 60  # a response_url lives 30 minutes
SHARED_SECONDS: Final = 300.0
MOST_TRIES: Final = 30
LONGEST_PAUSE: Final = 60.0
LONGEST_FALLBACK: Final = 600  # 120 characters, escaped
# Seconds after which what Slack was sent is in its history, if it ever will be: after an answer that was none, and after none at all.
LOOK_AFTER: Final = 2.0
LOOK_LATER: Final = 15.0
ACTIONS: Final = {"chat.update": "edit", "conversations.history": "look", "conversations.replies": "look", "conversations.open": "open"}
# Slack allows about fifty such calls a minute, each of them, and a workspace (docs.slack.dev, rate limits, tier 3).
BUDGETS: Final = {f"slack:{one}": (60 / 50, 20) for one in ("edit", "look", "open")}
# The connection's trouble and no message's: all of them wait until somebody has mended it.
OUR_TROUBLE: Final = ("invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive", "team_access_not_granted")


class Room(Deliverer):
    """The room reads the rows; telling it that one changed is the whole delivery."""

    async def deliver(self, one: Telling) -> tuple[str | None, str | None]:
        return one.row.channel or f"@{one.row.person}", str(one.row.id)


@dataclass
class _Delivery:
    """One message on its way; `unclear` while it may have been posted and no row says where."""

    row: Any
    shown: Card | Reply
    run: RunRow | None
    unclear: bool
    taken: float


class Slack(Deliverer):
    """Posts once and edits afterwards; a post whose outcome is unclear is looked for before it is made again."""

    def __init__(self, services: Services, client: SlackClient) -> None:
        self._services, self._client = services, client
        self._shared: dict[str, tuple[float, bool]] = {}
        self._busy: dict[str, float] = {}

    async def deliver(self, one: Telling) -> tuple[str | None, str | None]:
        it = _Delivery(one.row, one.shown, one.run, one.row.posting_since is not None, one.taken)
        try:
            return await self._how(one)(it)
        except SlackBusy as error:
            raise Later(error.retry_after, str(error), lane=self._closed(it, error), unclear=it.unclear) from None
        except SlackUnclear as error:
            raise Later(max(LOOK_LATER if error.late else LOOK_AFTER, _pause(it)), str(error), unclear=True) from None
        except SlackUnreachable as error:
            raise Later(_pause(it), str(error), unclear=it.unclear) from None
        except SlackRefused as error:
            if error.code in OUR_TROUBLE or (it.unclear and it.row.attempts < MOST_TRIES):
                raise Later(_pause(it), str(error), unclear=it.unclear) from None
            raise Undeliverable(str(error), unclear=it.unclear) from None

    def _how(self, one: Telling) -> Callable[[_Delivery], Awaitable[tuple[str | None, str | None]]]:
        if one.row.follows:
            return self._file if one.row.file else self._line
        return self._reply if isinstance(one.shown, Reply) else self._card

    async def _card(self, it: _Delivery) -> tuple[str | None, str | None]:
        assert not isinstance(it.shown, Reply)  # noqa: S101  deliver() has chosen
        blocks, said = card_blocks(it.shown, whole=self._page_of(it)), inert(it.shown.fallback, LONGEST_FALLBACK)
        if it.row.remote_id:
            await self._client.update(it.row.remote_channel, it.row.remote_id, blocks, said)
            return None, None
        channel = it.row.remote_channel or await self._channel(it)
        await self._enter(it, channel)
        if found := await self._posted_before(it, channel, _thread(it)):
            await self._client.update(found.channel, found.ts, blocks, said)
            return found.channel, found.ts
        _in_time(it)
        posted = await self._client.post(channel, blocks, said, thread=_thread(it), key=str(it.row.id))
        return posted.channel, posted.ts

    async def _line(self, it: _Delivery) -> tuple[str | None, str | None]:
        """Into the thread of the card that it follows, once."""
        assert isinstance(it.shown, Reply)  # noqa: S101  deliver() has chosen
        channel, thread = it.row.card_channel, it.row.card_thread
        await self._enter(it, channel)
        found = await self._posted_before(it, channel, thread)
        if not found:
            _in_time(it)
            found = await self._client.post(channel, reply_blocks(it.shown), fallback_text(it.shown), thread=thread, key=str(it.row.id))
        return found.channel, found.ts

    async def _file(self, it: _Delivery) -> tuple[str | None, str | None]:
        """What comes after an answer, once: its picture, or all of it where it had no room.

        Where no files may be uploaded it is left out: the answer itself says the same, or has a link to it.
        """
        assert isinstance(it.shown, Reply)  # noqa: S101  deliver() has chosen
        known = it.row.remote_channel or it.row.card_channel
        channel = known or (await self._direct(it, it.row.person) if it.row.person else it.row.channel)
        await self._enter(it, channel)
        if it.row.posting_since:
            found = await self._client.find_file(channel, it.row.file, it.row.posting_since.timestamp() - 60)
            it.unclear = found is not None
            if found:
                return channel, found
        content, title, comment, alt = await _made(it.row.file, it.shown)
        _in_time(it)
        try:
            return channel, await self._client.upload(channel, it.row.file, content, title=title, comment=comment, alt=alt)
        except SlackRefused as error:
            if error.code not in NO_UPLOADS:
                raise
            _log.warning(NO_FILES)
            return None, None

    async def _add_files(self, it: _Delivery) -> None:
        """Has its picture, and all of an answer that has no room, come after it as files, however often the answer is tried."""
        assert isinstance(it.shown, Reply)  # noqa: S101  deliver() has chosen
        row = it.row
        spills = self._services.settings.slack_long_answers == "file" and not has_room(it.shown)
        files = [*([picture_name(row.id)] if it.shown.picture else []), *([file_name(row.id)] if spills else [])]
        if not files or not row.run_id or (not row.person and await self._is_shared(it, row.channel)):
            return
        channel = "" if row.person else row.channel
        async with self._services.statement() as session:
            await add_messages(
                session,
                [
                    NewMessage(
                        *(row.run_id, "reply", "slack", row.team, channel),
                        person=row.person,
                        card=row.card,
                        follows=row.id,
                        line=line,
                        file=name,
                        priority=Priority.card,
                    )
                    for line, name in enumerate(files, 1 - len(files))
                ],
            )

    def _page_of(self, it: _Delivery) -> str:
        """Where in the browser whoever may see the run finds all of it; empty for what is about no run."""
        return f"{self._services.settings.url}/runs/{it.row.run_id}" if it.row.run_id else ""

    async def _enter(self, it: _Delivery, channel: str) -> None:
        """A message whose place had another name till now needs the real place's lane too."""
        lane = lane_of("slack", channel)
        if it.row.lane == lane:
            return
        async with self._services.statement() as session:
            seconds = await enter_lane(session, lane, it.row.id)
        if seconds:
            at = channel if channel != it.row.channel or not it.row.lane else None
            raise Later(seconds, f"{channel} is in use", unclear=it.unclear, channel=at)

    async def _posted_before(self, it: _Delivery, channel: str, thread: str | None) -> Posted | None:
        """The message itself, where an earlier try may have posted it and nobody knows; until we could look, it stays unclear."""
        if not it.row.posting_since:
            return None
        since = it.row.posting_since.timestamp() - 60
        found = await self._client.find_by_key(channel, str(it.row.id), since, thread=thread)
        it.unclear = found is not None
        return found

    def _closed(self, it: _Delivery, error: SlackBusy) -> str:
        """What is closed to everybody: the place for a post, the action where Slack limits that, else only what this process asks for."""
        if error.method == "chat.postMessage":
            return lane_of("slack", _channel_of(it))
        if error.method in ACTIONS:
            return f"slack:{ACTIONS[error.method]}"
        self._busy[error.method] = time.monotonic() + error.retry_after
        return ""

    def _ask(self, method: str, it: _Delivery) -> None:
        """Raises Later while Slack wants this method left alone."""
        left = self._busy.get(method, 0.0) - time.monotonic()
        if left > 0:
            raise Later(left, f"Slack asks to wait {left:.1f} s with {method}", unclear=it.unclear)

    async def _reply(self, it: _Delivery) -> tuple[str | None, str | None]:
        """By the response_url while it lives, then directly."""
        assert isinstance(it.shown, Reply)  # noqa: S101  deliver() has chosen
        blocks, said = reply_blocks(it.shown, whole=self._page_of(it)), fallback_text(it.shown)
        await self._add_files(it)
        sealed = it.row.answer_to
        age = time.time() - it.row.created_at.timestamp()
        if sealed and age < REPLY_SECONDS and it.row.attempts <= 4:
            address = self._services.opener.open(bytes(sealed))
            try:
                await self._client.respond(address, text=said, blocks=blocks)
                return None, None
            except SlackRefused:
                pass  # the address is used up; the person still has a direct message
        if it.row.account and it.row.channel and not sealed:
            try:
                await self._client.ephemeral(it.row.channel, it.row.account, blocks, said, thread=_thread(it))
                return None, None
            except SlackRefused:
                if not it.row.person:
                    raise
        alone = bool(it.row.person) or not it.row.channel or await self._is_shared(it, it.row.channel)
        channel = it.row.remote_channel or (await self._direct(it, it.row.person) if alone else it.row.channel)
        await self._enter(it, channel)
        if found := await self._posted_before(it, channel, None):
            return found.channel, found.ts
        _in_time(it)
        posted = await self._client.post(channel, blocks, said, key=str(it.row.id))
        return posted.channel, posted.ts

    async def _channel(self, it: _Delivery) -> str:
        """The channel itself, or a direct message where the channel is shared with another company."""
        channel = str(it.row.channel)
        if not channel:
            return await self._direct(it, it.row.person)
        if not await self._is_shared(it, channel):
            return channel
        return await self._direct(it, held_by(it.run) if it.run else it.row.person)

    async def _direct(self, it: _Delivery, person: str) -> str:
        async with self._services.reading() as session:
            account = (await find_accounts(session, [person], platform="slack")).get(person)
            known = await find_person(session, person)
        user = account.account if account else await self._found(known.email if known else "")
        if user is None:
            raise Undeliverable(f"{person} has no Slack account linked")
        self._ask("conversations.open", it)
        return await self._client.open_direct(user)

    async def _found(self, email: str) -> str | None:
        """Somebody who has never spoken to us and would be linked by e-mail when they do; this reaches them and links nothing."""
        async with self._services.reading() as session:
            rulebook = await self._services.current_rulebook(session)
        if not email or not rulebook.policy.identity("slack").link_by_email:
            return None
        user = await self._client.user_by_email(email)
        return user.id if user and not (user.is_guest or user.is_stranger or user.deleted or user.is_bot) else None

    async def _is_shared(self, it: _Delivery, channel: str) -> bool:
        known = self._shared.get(channel)
        if known is None or time.monotonic() - known[0] > SHARED_SECONDS:
            self._ask("conversations.info", it)
            known = (time.monotonic(), await self._client.is_shared(channel))
            self._shared[channel] = known
        return known[1]


async def _made(name: str, reply: Reply) -> tuple[bytes, str, str, str]:
    """A file that comes after an answer: its bytes, its title, the sentence with it, and what a picture shows."""
    if name.endswith(PICTURE) and reply.picture:
        title = inert(reply.picture.title, LONGEST_TITLE)
        return await asyncio.to_thread(_drawn, reply.picture), title, title, text_of(reply)
    return text_of(reply).encode(), fallback_text(reply)[:LONGEST_TITLE], "All of the answer above.", ""


def _drawn(picture: Picture) -> bytes:
    """Found by its name, because no process should load a library for pictures before there is one to draw."""
    draw: Callable[[Picture], bytes] = resolve_name("automations.drawing:png_of")
    return draw(picture)


def _in_time(it: _Delivery) -> None:
    """Raises Later when this process was stopped for so long that another may be posting the message: by then it may only look."""
    if time.monotonic() - it.taken > LONGEST_DELIVERY:
        raise Later(0.0, "its time was over before it was posted", unclear=True)


def _pause(it: _Delivery) -> float:
    """Seconds: 1, 1.5, 2.3 … at most one minute."""
    return float(min(LONGEST_PAUSE, 1.5 ** min(max(0, it.row.attempts - 1), 50)))


def _channel_of(it: _Delivery) -> str:
    """The channel that is too busy, if it is known."""
    return str(it.row.card_channel or it.row.remote_channel or it.row.channel)


def _thread(it: _Delivery) -> str | None:
    return it.row.thread or None
