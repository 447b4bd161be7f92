"""The workspace that installed us, as auth.test tells it."""

import asyncio
import logging
from typing import Final

from integrations.slack.clients import SlackClient, SlackSelf
from integrations.slack.errors import SlackError, SlackRefused
from store.settings import WrongSetting

_log = logging.getLogger(__name__)
_AGAIN_SECONDS: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Workspace:
    """Knows who we are as soon as Slack has said so; `own` is None until then."""

    def __init__(self, client: SlackClient) -> None:
        self._client = client
        self.own: SlackSelf | None = None

    @property
    def team(self) -> str:
        return self.own.team if self.own else ""

    @property
    def bot_user(self) -> str:
        return self.own.user if self.own else ""

    async def ask(self) -> bool:
        """Asks once; False when Slack did not answer. Raises WrongSetting when it does not accept the token."""
        try:
            self.own = await self._client.auth_test()
        except SlackRefused as error:
            raise WrongSetting(f"COUNTERSIGN_SLACK_BOT_TOKEN: {error.sentence}") from None
        except SlackError as error:
            _log.warning("auth.test: %s", error)
        return self.own is not None

    async def keep_asking(self) -> None:
        """Asks until Slack answers; a token that it does not accept ends the asking with an error in the log."""
        for seconds in (*_AGAIN_SECONDS, *[_AGAIN_SECONDS[-1]] * 10_000):
            await asyncio.sleep(seconds)
            try:
                if await self.ask():
                    return
            except WrongSetting as error:
                _log.error("%s", error)
                return
