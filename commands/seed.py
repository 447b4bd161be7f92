"""seed: the first boot puts a policy in force and makes its people known; later changes come only through `policy apply`."""

from collections.abc import Mapping
from typing import Final

from countersign.commands import Command
from store.audits import AuditEvent, record
from store.databases import WriteSession
from store.people import find_all_people, save_people
from store.policies import apply_policy, find_policy

from .checks import check_rules
from .policies import PolicyError, compile_policy

DEFAULT_POLICY: Final = "profile: team\n"
_NONE: Final[Mapping[str, Command]] = {}


async def seed(session: WriteSession, body: str = DEFAULT_POLICY, *, commands: Mapping[str, Command] = _NONE) -> bool:
    """Puts `body` in force if no policy is; returns whether it did.

    The default gives way to a real one as long as nobody is registered: nobody could ask for the change otherwise.
    Raises PolicyError for a policy that cannot be used, or whose rules these commands cannot meet.
    """
    policy = compile_policy(body)
    stored = await find_policy(session)
    if stored is not None and (body == stored.body or stored.body != DEFAULT_POLICY or await find_all_people(session)):
        return False
    if problems := check_rules(policy, commands):
        raise PolicyError(f"policy {problems[0]}")
    await apply_policy(session, digest=policy.digest, body=body, by="countersign")
    await save_people(session, policy.file.roster())
    await record(session, [AuditEvent("policy:seeded", "countersign", None, {"digest": policy.digest})])
    return True
