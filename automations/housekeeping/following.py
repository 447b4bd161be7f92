"""following: what Slack and directories say is made so, and what people who left have left behind is taken up."""

import asyncio
import logging
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from automations.services import Services
from commands.directories import SlackState, follow_feed, follow_slack
from commands.leaving import settle_leavers
from commands.policies import PolicyError
from integrations.slack.clients import SlackClient, SlackUser
from integrations.slack.errors import SlackBusy, SlackError, SlackRefused
from store.databases import ReadSession
from store.directories import note_reading, take_hints, take_turn

_log = logging.getLogger(__name__)
TURN_SECONDS: Final = 1.0
SLACK_SECONDS: Final = 60.0
# users.list may be asked twenty times a minute and gives a page of this many.
PAGE_SECONDS: Final = 3.5
CALL_SECONDS: Final = 10.0


async def follow_always(services: Services) -> None:
    """Follows until cancelled, with Slack if this hub has it."""
    settings = services.settings
    if not settings.has_slack:
        await Follower(services, None).run()
        return
    async with SlackClient(settings.slack_bot_token.get_secret_value(), base_url=settings.slack_api_url, timeout=CALL_SECONDS) as client:
        await Follower(services, client).run()


class Follower:
    """One per housekeeping process; any number of them may run, because turns and locks decide who does what."""

    def __init__(self, services: Services, client: SlackClient | None) -> None:
        self._services, self._client = services, client
        self._policy = ""

    async def run(self) -> None:
        """Follows every second until cancelled; trouble with the database or with Slack is waited out."""
        while True:
            try:
                await self.follow()
            except (SQLAlchemyError, OSError, PolicyError) as error:
                _log.warning("following is interrupted: %s", type(error).__name__)
            await asyncio.sleep(TURN_SECONDS)

    async def follow(self) -> None:
        """Everything that is due now, once."""
        await self.follow_directory()
        if self._client is not None:
            await self._follow_slack(self._client)
        await self.settle()

    async def follow_directory(self) -> None:
        """What the feed says, and all of it again when the policy has changed."""
        services = self._services
        async with services.transaction() as session:
            policy = (await services.current_rulebook(session)).policy
            await follow_feed(session, policy, services.opener, again=policy.digest != self._policy)
        self._policy = policy.digest

    async def settle(self) -> None:
        """What people who left have left behind."""
        async with self._services.transaction() as session:
            if names := await settle_leavers(session, await self._services.current_rulebook(session)):
                _log.info("%s left; tokens, approvals and what had not begun are gone", ", ".join(names))

    async def _follow_slack(self, client: SlackClient) -> None:
        async with self._services.transaction() as session:
            hints = await take_hints(session)
            due = await take_turn(session, "slack", seconds=SLACK_SECONDS)
        try:
            if due:
                await self._read_slack(client)
            elif users := sorted({str(one.get("user")) for one in hints if one.get("source") == "slack" and one.get("user")}):
                await self._read_users(client, users)
        except SlackError as error:
            await self._failed(error)

    async def _read_slack(self, client: SlackClient) -> None:
        """All user groups that policy names and all accounts that are linked."""
        services = self._services
        own = await client.auth_test()
        async with services.reading() as session:
            policy = (await services.current_rulebook(session)).policy
            linked = await _linked(session, own.team)
        users, pages = await client.users() if linked else ([], 0)
        groups, error = await _groups(client) if "slack" in policy.file.directories else ({}, "")
        async with services.transaction() as session:
            await follow_slack(session, policy, _state(own.team, groups, [one for one in users if one.id in linked]))
            await note_reading(session, "slack", error=error, seconds=max(SLACK_SECONDS, PAGE_SECONDS * pages))

    async def _read_users(self, client: SlackClient, ids: list[str]) -> None:
        """Accounts that something is said to have happened to: Slack itself is asked, because the word may be forged."""
        services = self._services
        own = await client.auth_test()
        users = [await client.user(one) for one in ids]
        async with services.transaction() as session:
            policy = (await services.current_rulebook(session)).policy
            await follow_slack(session, policy, _state(own.team, None, users))

    async def _failed(self, error: SlackError) -> None:
        """The last answer stays in force; when Slack says how long to wait, it is waited."""
        wait = error.retry_after if isinstance(error, SlackBusy) else None
        async with self._services.transaction() as session:
            await note_reading(
                session, "slack", error=error.code if isinstance(error, SlackRefused) else type(error).__name__, seconds=wait
            )
        _log.warning("Slack could not be asked about people: %s", error)


async def _groups(client: SlackClient) -> tuple[dict[str, list[str]] | None, str]:
    """The user groups, or why Slack does not say; what it said last then stays."""
    try:
        return await client.user_groups(), ""
    except SlackRefused as error:
        _log.warning("Slack does not say who is in its user groups: %s", error)
        return None, error.code


def _state(team: str, groups: dict[str, list[str]] | None, users: list[SlackUser]) -> SlackState:
    known = [one for one in users if one.team == team]
    deactivated = [one.id for one in known if one.deleted]
    return SlackState(team, groups, deactivated, [one.id for one in known if not one.deleted])


async def _linked(session: ReadSession, team: str) -> set[str]:
    rows: Any = await session.execute(text("SELECT account FROM chat_accounts WHERE platform = 'slack' AND team = :team"), {"team": team})
    return {row.account for row in rows}
