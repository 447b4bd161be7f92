"""The last admin stays: whatever would leave nobody who may change the policy is taken back, whichever way it comes."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy import text

from countersign.errors import StepFailed
from store.audits import AuditEvent, record
from store.databases import WriteSession
from store.inbox import take_key
from store.people import Person, find_lasting_people

from .policies import ADMIN, Policy, covers

_log = logging.getLogger(__name__)
SENTENCE: Final = "Nobody would be an admin any more, so nobody could change that again; nothing was changed."


_ONE_AT_A_TIME: Final = text("SELECT pg_advisory_xact_lock(hashtextextended('countersign.admins', 0))")


class LastAdmin(StepFailed):
    """What was begun in this transaction would leave no admin."""

    def __init__(self) -> None:
        super().__init__(SENTENCE)


@asynccontextmanager
async def keeping_an_admin(session: WriteSession, before: Policy, after: Policy | None = None) -> AsyncIterator[None]:
    """Around what takes rights away; raises LastAdmin at its end, so that the transaction is rolled back.

    `after` is the policy that counts from then on, if it is another one. One such change waits for the other: two that each leave one
    admin could together leave none.
    """
    await session.execute(_ONE_AT_A_TIME)
    had = has_admin(before, await find_lasting_people(session))
    yield
    if had and not has_admin(after or before, await find_lasting_people(session)):
        raise LastAdmin


async def sparing_an_admin(
    session: WriteSession, policy: Policy, change: Callable[[frozenset[str]], Awaitable[None]], *, source: str
) -> None:
    """Makes a change that comes from outside, which nobody here can refuse; where it would leave no admin it is made without one of them.

    `change` is called with the names of those from whom it must take nothing. That somebody was spared is recorded once a day.
    """
    await session.execute(_ONE_AT_A_TIME)
    admins = sorted(one.name for one in await find_lasting_people(session) if has_admin(policy, [one]))
    try:
        async with session.begin_nested():
            await change(frozenset())
            if admins and not has_admin(policy, await find_lasting_people(session)):
                raise _NobodyLeft
    except _NobodyLeft:
        await change(frozenset(admins[:1]))
    else:
        return
    day = (await session.execute(text("SELECT countersign_now()::date"))).scalar_one()
    if await take_key(session, f"spared:{admins[0]}:{source}:{day}"):
        detail = {"source": source, "because": "the last admin; make somebody else one, and it is done"}
        await record(session, [AuditEvent("person:spared", admins[0], None, detail)])
        _log.warning("%s says that %s is gone, who is the last admin and therefore stays", source, admins[0])


class _NobodyLeft(Exception):
    """Takes the change back."""


def has_admin(policy: Policy, people: Iterable[Person]) -> bool:
    """Whether a role makes one of these people an admin, with groups and roles that do not end by themselves.

    A profile that makes everybody one does not count: where a role did so before, nobody meant that.
    """
    human = (one for one in people if one.active and not one.service)
    return any(covers(pattern, ADMIN) for one in human for pattern in policy.permissions_of(one.roles, policy.groups_of(one)))
