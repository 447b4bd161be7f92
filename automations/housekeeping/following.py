"""following: what a directory says is made so, and what people who left have left behind is taken up."""

import asyncio
import logging
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from automations.services import Services
from commands.directories import follow_feed
from commands.leaving import settle_leavers
from commands.policies import PolicyError
from integrations.oidc import Client, Issuer
from integrations.slack.clients import SlackClient

from .asking import SlackFollower
from .logins import LoginFollower

_log = logging.getLogger(__name__)
TURN_SECONDS: Final = 1.0
CALL_SECONDS: Final = 10.0


async def follow_always(services: Services) -> None:
    """Follows until cancelled, with Slack if this hub has it."""
    settings = services.settings
    if settings.oidc:
        issuer = Issuer(Client(**settings.oidc))
        try:
            await _follow(services, LoginFollower(services, issuer))
        finally:
            await issuer.close()
    else:
        await _follow(services, None)


async def _follow(services: Services, logins: LoginFollower | None) -> None:
    settings = services.settings
    if not settings.has_slack:
        await Follower(services, logins).run()
        return
    token = settings.slack_bot_token.get_secret_value()
    async with SlackClient(token, base_url=settings.slack_api_url, timeout=CALL_SECONDS) as client:
        slack = SlackFollower(services, client)
        await asyncio.gather(Follower(services, logins).run(), slack.heed_always(), slack.read_always())


class Follower:
    """One per housekeeping process; any number of them may run, because locks decide who does what."""

    def __init__(self, services: Services, logins: LoginFollower | None = None) -> None:
        self._services, self._logins = services, logins
        self._policy = ""

    async def run(self) -> None:
        """Follows every second until cancelled; trouble with the database is waited out."""
        while True:
            try:
                await self.follow()
            except (SQLAlchemyError, OSError, PolicyError) as error:
                _log.warning("following is interrupted: %s", type(error).__name__)
            await asyncio.sleep(TURN_SECONDS)

    async def follow(self) -> None:
        """What the feed says, all of it again when the policy has changed, and then what people who left have left behind."""
        services = self._services
        async with services.transaction() as session:
            policy = (await services.current_rulebook(session)).policy
            await follow_feed(session, policy, services.opener, again=policy.digest != self._policy)
        self._policy = policy.digest
        if self._logins is not None:
            await self._logins.follow()
        async with services.transaction() as session:
            if names := await settle_leavers(session, await services.current_rulebook(session)):
                _log.info("%s left; tokens, approvals and what had not begun are gone", ", ".join(names))
