"""People of the cast who sign decisions: each with a software authenticator, whose key is enrolled as if an admin had signed for it."""

from dataclasses import dataclass, field
from uuid import UUID, uuid4

from automations.services import Services
from bot.hubs import Hub
from commands.authorizing import Refused
from commands.decide import Decided, Vote, decide
from commands.passkeys import creation_options, read_registration
from commands.proofs import request_options
from commands.signing import to_sign
from commands.sites import Site
from countersign.invocations import Door
from countersign.tallies import Verdict
from store.approvals import find_request
from store.databases import WriteSession
from store.passkeys import NewPasskey, add_passkey, find_passkeys
from store.people import Person

from .authenticators import Authenticator


@dataclass
class Signers:
    """The authenticators of one bot's cast, by name."""

    hub: Hub
    services: Services
    authenticators: dict[str, Authenticator] = field(default_factory=dict)

    async def decide(self, person: Person, run_id: UUID, verdict: str, reason: str) -> str:
        """Signs and decides; returns what the person is told."""
        authenticator = await self._authenticator(person)
        rulebook = await self.hub.rulebook()

        async def work(session: WriteSession) -> Decided | Refused:
            request = await find_request(session, run_id)
            assertion, digest = None, "none"
            if request is not None:
                signed = await to_sign(session, request, person=person.name, verdict=verdict)
                known = await find_passkeys(session, [person.name])
                assertion = authenticator.sign(
                    request_options(self._site, challenge=signed.challenge, known=known), origin=self._site.origins[0]
                )
                digest = request.digest
            vote = Vote(run_id, Verdict(verdict), Door.browser, digest=digest, reason=reason, assertion=assertion)
            return await decide(session, rulebook, person, vote)

        return (await self.hub.committed(work)).sentence

    @property
    def _site(self) -> Site:
        return Site.of(self.hub.settings.url)

    async def _authenticator(self, person: Person) -> Authenticator:
        if person.name not in self.authenticators:
            self.authenticators[person.name] = Authenticator()
            await self._enrol(person, self.authenticators[person.name])
        return self.authenticators[person.name]

    async def _enrol(self, person: Person, authenticator: Authenticator) -> None:
        site, challenge = self._site, uuid4().bytes
        options = creation_options(site, person=person.name, challenge=challenge, known=[])
        new = read_registration(site, challenge=challenge, response=authenticator.create(options, origin=site.origins[0]))
        row = NewPasskey(uuid4(), new.credential, new.data, person.name, "kit", site.rp_id, new.sign_count, None)
        async with self.services.transaction() as session:
            await add_passkey(session, row)
        self.hub.forget()
        self.services.forget()
