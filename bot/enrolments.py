"""Enrolling a passkey through any door: a browser's key becomes a request like any other. What signs is never decided by this process."""

import secrets
from collections.abc import Mapping
from typing import Any

from commands.passkeys import NewKey, challenge_in, creation_options, read_registration, written_key
from commands.sites import Site, WrongPasskey
from countersign.invocations import Door, Invocation, Place
from store.databases import WriteSession
from store.passkeys import add_challenge, find_passkeys, spend_challenge
from store.people import Person

from .hubs import Answer, Hub


async def begin_enrolment(hub: Hub, person: Person) -> dict[str, Any] | None:
    """What to give `navigator.credentials.create`, good for ten minutes and one enrolment; None when too many were begun.

    Raises WrongPasskey where our address cannot have passkeys.
    """
    site, challenge = Site.of(hub.settings.url), secrets.token_bytes(32)

    async def begin(session: WriteSession) -> dict[str, Any] | None:
        known = await find_passkeys(session, [person.name])
        made = creation_options(site, person=person.name, challenge=challenge, known=known)
        return made if await add_challenge(session, challenge, person=person.name) else None

    return await hub.committed(begin)


async def finish_enrolment(
    hub: Hub, person: Person, credential: Mapping[str, Any], *, label: str, key: str, door: Door, place: Place, trace: str
) -> tuple[NewKey, Answer]:
    """The key that the browser made, and what became of asking for its enrolment; raises WrongPasskey."""
    site = Site.of(hub.settings.url)
    challenge = challenge_in(credential)
    new = read_registration(site, challenge=challenge, response=credential)

    async def spend(session: WriteSession) -> bool:
        return await spend_challenge(session, challenge, person=person.name)

    if not await hub.committed(spend):
        raise WrongPasskey("wrong_challenge", "This enrolment was not begun here, took over ten minutes, or was sent before; begin again.")
    arguments = {"label": label, "key": written_key(new, site)}
    wanted = Invocation(key=key, door=door, place=place, command="passkey add", arguments=arguments, trace=trace)
    return new, await hub.submit(person, wanted)
