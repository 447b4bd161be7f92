"""asking: Slack is asked who is in its user groups and who was deactivated, from time to time, and when it hints at a change."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from automations.services import Services
from commands.directories import SlackState, follow_slack
from commands.policies import PolicyError
from integrations.slack.clients import SlackClient, SlackUser
from integrations.slack.errors import SlackBusy, SlackError, SlackRefused
from store.databases import ReadSession
from store.directories import HINT, add_word, note_reading, take_hints, take_turn

_log = logging.getLogger(__name__)
HINT_SECONDS: Final = 1.0
READ_SECONDS: Final = 60.0
TURN_SECONDS: Final = 600.0  # a large workspace takes minutes to read
# Slack allows twenty pages a minute.
PAGE_SECONDS: Final = 3.5
FREE_PAGES: Final = 10
LONGEST_WAIT: Final = 120.0


class SlackFollower:
    """Asks one workspace. Any number of processes may, because turns decide which of them does."""

    def __init__(self, services: Services, client: SlackClient) -> None:
        self._services, self._client = services, client

    async def heed_always(self) -> None:
        """Asks about accounts that something is said to have happened to, every second until cancelled."""
        await self._always(self.heed, HINT_SECONDS)

    async def read_always(self) -> None:
        """Reads the whole workspace whenever it is this process's turn, until cancelled."""
        await self._always(self.read, HINT_SECONDS)

    async def heed(self) -> None:
        """The hints that wait: Slack itself is asked, because the process that took them in may be lying."""
        async with self._services.transaction() as session:
            hints = await take_hints(session)
        ids = sorted({str(one["user"]) for one in hints if one.get("source") == "slack" and one.get("user")})
        if not ids:
            return
        try:
            team = (await self._client.auth_test()).team
            users = [user for one in ids if (user := await self._user(one)) is not None]
        except SlackError:
            async with self._services.transaction() as session:
                for one in ids:
                    await add_word(session, HINT, uuid4(), {"source": "slack", "user": one}, version=1, token=b"")
            raise
        await self._follow(_state(team, None, users))

    async def read(self) -> None:
        """User groups that policy names and accounts that are linked, if it is time."""
        async with self._services.transaction() as session:
            if not await take_turn(session, "slack", seconds=TURN_SECONDS):
                return
            policy = (await self._services.current_rulebook(session)).policy
        team = (await self._client.auth_test()).team
        async with self._services.reading() as session:
            linked = await _linked(session, team)
        groups, error = await self._groups() if "slack" in policy.file.directories else ({}, "")
        users = [one async for one in self._users() if one.id in linked] if linked else []
        await self._follow(_state(team, groups, users))
        async with self._services.transaction() as session:
            await note_reading(session, "slack", error=error, seconds=READ_SECONDS)

    async def _always(self, work: Callable[[], Awaitable[None]], seconds: float) -> None:
        while True:
            try:
                await work()
            except SlackError as error:
                await self._failed(error)
            except (SQLAlchemyError, OSError, PolicyError) as error:
                _log.warning("asking Slack is interrupted: %s", type(error).__name__)
            await asyncio.sleep(seconds)

    async def _follow(self, state: SlackState) -> None:
        async with self._services.transaction() as session:
            policy = (await self._services.current_rulebook(session)).policy
            await follow_slack(session, policy, state)

    async def _groups(self) -> tuple[dict[str, list[str]] | None, str]:
        """The user groups, or why Slack does not say; what it said last then stays."""
        try:
            return await self._client.user_groups(), ""
        except SlackRefused as error:
            _log.warning("Slack does not say who is in its user groups: %s", error)
            return None, error.code

    async def _user(self, id_: str) -> SlackUser | None:
        try:
            return await self._client.user(id_)
        except SlackRefused as error:
            _log.warning("Slack does not say who %s is: %s", id_, error)
            return None

    async def _users(self) -> AsyncIterator[SlackUser]:
        """Every account, page after page, as fast as Slack allows."""
        cursor, pages = "", 0
        while cursor or not pages:
            try:
                users, cursor = await self._client.users(cursor)
            except SlackBusy as busy:
                await asyncio.sleep(min(busy.retry_after, LONGEST_WAIT))
                continue
            for one in users:
                yield one
            pages += 1
            if cursor and pages > FREE_PAGES:
                await asyncio.sleep(PAGE_SECONDS)

    async def _failed(self, error: SlackError) -> None:
        """The last answer stays in force; when Slack says how long to wait, it is waited."""
        wait = error.retry_after if isinstance(error, SlackBusy) else READ_SECONDS
        said = error.code if isinstance(error, SlackRefused) else type(error).__name__
        _log.warning("Slack could not be asked about people: %s", error)
        try:
            async with self._services.transaction() as session:
                await note_reading(session, "slack", error=said, seconds=wait)
        except (SQLAlchemyError, OSError) as trouble:
            _log.warning("that could not be noted: %s", type(trouble).__name__)


def _state(team: str, groups: dict[str, list[str]] | None, users: Sequence[SlackUser]) -> SlackState:
    known = [one for one in users if one.team == team]
    return SlackState(team, groups, [one.id for one in known if one.deleted], [one.id for one in known if not one.deleted])


async def _linked(session: ReadSession, team: str) -> set[str]:
    rows = await session.execute(text("SELECT account FROM chat_accounts WHERE platform = 'slack' AND team = :team"), {"team": team})
    return {row.account for row in rows}
