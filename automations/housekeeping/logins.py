"""logins: the groups that an ID token names are made so, after the token was checked here, because the web process is not believed."""

import logging
import time
from typing import Final

from nacl.exceptions import CryptoError

from automations.services import Services
from commands.directories import Claimed, follow_logins
from integrations.oidc import Issuer, IssuerSilent, WrongLogin
from store.databases import reading
from store.directories import LOGIN, Word, take_words

_log = logging.getLogger(__name__)
BATCH: Final = 50
PAUSE_SECONDS: Final = 10.0


class LoginFollower:
    """One per housekeeping process; while the issuer does not answer, its words wait."""

    def __init__(self, services: Services, issuer: Issuer) -> None:
        self._services, self._issuer = services, issuer
        self._paused = 0.0

    async def follow(self) -> None:
        """Makes so what people's ID tokens say of their groups."""
        if time.monotonic() < self._paused:
            return
        async with reading(self._services.engine) as session:
            words = await take_words(session, kinds=(LOGIN,), limit=BATCH)
        if not words:
            return
        try:
            claimed = [await self._claimed(one) for one in words]
        except IssuerSilent as error:
            _log.warning("groups of people who signed in have to wait: %s", error)
            self._paused = time.monotonic() + PAUSE_SECONDS
            return
        async with self._services.transaction() as session:
            policy = (await self._services.current_rulebook(session)).policy
            await follow_logins(session, policy, claimed)

    async def _claimed(self, word: Word) -> Claimed:
        try:
            login = await self._issuer.check(self._services.opener.open(word.token))
        except (WrongLogin, CryptoError, ValueError, TypeError):
            return Claimed(word.n)
        return Claimed(word.n, login.issuer, login.subject, login.groups)
