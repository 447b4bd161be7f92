"""The policy as the database has it, and what counts instead where it cannot be loaded: the one that was in force before."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from countersign.commands import Command
from countersign.replies import Reply
from store.audits import AuditEvent, record
from store.databases import ReadSession, WriteSession
from store.inbox import take_key
from store.messages import NewMessage, add_messages
from store.people import find_all_people
from store.policies import StoredPolicy, find_earlier, find_policy

from .authorizing import is_admin
from .policies import BoundPolicy, Policy, PolicyError, bind, compile_policy

_log = logging.getLogger(__name__)
_SHOWN: Final = 12


@dataclass(frozen=True)
class Loaded:
    """The policy that counts; `problem` says why it is not the one that was applied last."""

    policy: BoundPolicy
    problem: str = ""


async def load_policy(session: ReadSession, commands: Mapping[str, Command], *, known: Loaded | None = None) -> Loaded:
    """The policy in force, bound to these commands; raises PolicyError when there is none that can be loaded.

    `known` was loaded before for the same commands. It is kept while the text is the same, because compiling is most of the work, and
    stays in force where a new one cannot be loaded.
    """
    stored = await find_policy(session)
    if stored is None:
        raise PolicyError("no policy is in force yet; start a worker once, or run: countersign migrate")
    if known and known.policy.digest == stored.digest:
        return Loaded(known.policy)
    try:
        return Loaded(bind(_compiled(stored), commands))
    except PolicyError as error:
        told = f"The policy {stored.digest[:_SHOWN]} that was applied last cannot be loaded: {error}."
    earlier = known.policy if known else await _last_loadable(session, commands)
    if earlier is None:
        raise PolicyError(told)
    problem = f"{told} {earlier.digest[:_SHOWN]}, the one before it, stays in force."
    if known is None or known.problem != problem:
        _log.error("%s", problem)
    return Loaded(earlier, problem)


async def tell_admins(session: WriteSession, loaded: Loaded, *, chat: str) -> bool:
    """Tells every admin once that the policy applied last is not in force; returns whether it did."""
    stored = await find_policy(session)
    if not loaded.problem or stored is None or not await take_key(session, f"policy:{stored.digest}:{loaded.policy.digest}"):
        return False
    admins = [one.name for one in await find_all_people(session) if is_admin(loaded.policy, one)]
    card = Reply(text=f"{loaded.problem} Apply it again, or another one.").model_dump(mode="json")
    await add_messages(session, [NewMessage(None, "reply", chat, "", person=name, card=card) for name in admins])
    detail = {"digest": stored.digest, "in_force": loaded.policy.digest, "problem": loaded.problem, "told": admins}
    await record(session, [AuditEvent("policy:not_loaded", "countersign", None, detail)])
    return True


async def _last_loadable(session: ReadSession, commands: Mapping[str, Command]) -> BoundPolicy | None:
    for one in await find_earlier(session):
        try:
            return bind(_compiled(one), commands)
        except PolicyError:
            continue
    return None


def _compiled(stored: StoredPolicy) -> Policy:
    """A text that is not the one that people approved is not taken for it."""
    if hashlib.sha256(stored.body.encode()).hexdigest() != stored.digest:
        raise PolicyError("its text is not the one that was applied")
    return compile_policy(stored.body)
