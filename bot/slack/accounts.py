"""Slack accounts as Slack describes them, asked again within a minute, so that a deactivated one stops acting within a minute."""

import asyncio
import logging
import time
from collections import OrderedDict
from typing import Final

from bot.deadlines import answering
from countersign.errors import CountersignError
from integrations.slack.clients import SlackClient, SlackUser
from integrations.slack.errors import SlackError, SlackRefused

_log = logging.getLogger(__name__)
KEEP_SECONDS: Final = 55.0
REFRESH_SECONDS: Final = 40.0
PATIENCE_SECONDS: Final = 1.0
MOST_KEPT: Final = 10_000
_UNKNOWN: Final = ("user_not_found", "user_not_visible", "users_not_found")


class SlackSilent(CountersignError):
    """Slack did not say who somebody is, so nobody is taken for anybody."""

    def __init__(self) -> None:
        super().__init__("Slack did not say who you are, so nothing was done. Please try again in a minute.")


class Accounts:
    """Looks accounts up, each at most once per 40 s."""

    def __init__(self, client: SlackClient) -> None:
        self._client = client
        self._known: OrderedDict[str, tuple[float, SlackUser | None]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[SlackUser | SlackError | None]] = {}

    async def find(self, user: str) -> SlackUser | None:
        """The account, at most 55 s old; None when Slack knows none. Raises SlackSilent."""
        known = self._known.get(user)
        age = time.monotonic() - known[0] if known else KEEP_SECONDS
        if known and age < KEEP_SECONDS:
            if age > REFRESH_SECONDS:
                _ = self._ask(user)  # its answer is for the next time
            return known[1]
        task = self._ask(user)
        with answering() as deadline:
            await asyncio.wait({task}, timeout=min(PATIENCE_SECONDS, deadline.left))
        if not task.done() or task.cancelled() or isinstance(found := task.result(), SlackError):
            raise SlackSilent
        return found

    async def close(self) -> None:
        """Ends the questions under way."""
        for task in tuple(self._asking.values()):
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)

    def _ask(self, user: str) -> "asyncio.Task[SlackUser | SlackError | None]":
        """One question at a time about one account, however many wait for the answer."""
        task = self._asking.get(user)
        if task is None:
            task = self._asking[user] = asyncio.create_task(self._answer(user))
            task.add_done_callback(lambda _: self._asking.pop(user, None))
        return task

    async def _answer(self, user: str) -> SlackUser | SlackError | None:
        asked = time.monotonic()
        found: SlackUser | None
        try:
            found = await self._client.user(user)
        except SlackRefused as error:
            if error.code not in _UNKNOWN:
                _log.error("users.info: %s", error)
                return error
            found = None
        except SlackError as error:
            _log.warning("users.info: %s", error)
            return error
        self._known[user] = (asked, found)
        self._known.move_to_end(user)
        if len(self._known) > MOST_KEPT:
            self._known.popitem(last=False)
        return found
