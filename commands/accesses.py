"""The policy's `access:` section: for how long a role is given to whoever asks for it, and who approves that."""

from collections.abc import Collection, Mapping
from typing import ClassVar, Final

from countersign.approvals import Approval, Stage, Voters
from countersign.arguments import Duration

from .rules import ApproveEntry, Part, Rule, approval_of

ASK: Final = "access:request"
ASKING: Final = ("access request", "access extend")
LONGEST: Final = "24h"
OWNERS: Final = Approval(stages=(Stage(sets=(Voters(("owner-of:role",)),), fallback=("permission:countersign:admin",)),))
"""Who approves where the section says nothing: the role's owners in policy, or the admins where it has none."""


class AccessEntry(Part):
    """One role: `max` is the furthest that its end may lie ahead, `approve` says who approves instead of the role's owners."""

    max: str = LONGEST
    approve: ApproveEntry | None = None
    line: int = 0


class AccessRule(Rule):
    """The section's word on one role; a rule that merely matches the command adds to what its owners have to say."""

    replaces_author: ClassVar[bool] = True


def longest(access: Mapping[str, AccessEntry], role: str) -> Duration:
    """For how long the role may be given at most."""
    return Duration.parse(access[role].max if role in access else LONGEST)


def access_rules(access: Mapping[str, AccessEntry]) -> list[AccessRule]:
    """The section's approvals as rules of the commands that ask for a role."""
    return [
        AccessRule(name=f"access {role}", command=ASKING, when={"role": role}, approve=entry.approve, line=entry.line)
        for role, entry in access.items()
        if entry.approve
    ]


def problems_of(access: Mapping[str, AccessEntry], roles: Collection[str]) -> list[str]:
    """What is wrong with the section, each as `access.ROLE: …`."""
    return [f"access.{role}: {problem}" for role, entry in access.items() if (problem := _problem(role, entry, roles))]


def _problem(role: str, entry: AccessEntry, roles: Collection[str]) -> str:
    if role not in roles:
        return "there is no such role under roles"
    try:
        some_time = bool(Duration.parse(entry.max))
    except ValueError as error:
        return f"max {error}"
    if not some_time:
        return "max should be some time, for instance 8h"
    if entry.approve and (entry.approve.asker_may or approval_of(entry.approve) is None):
        return "somebody else has to approve, because nobody grants to themselves"
    return ""
