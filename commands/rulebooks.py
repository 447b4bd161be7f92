"""What a process knows before anybody asks: the commands, the policy in force, and how to seal. Replaced whole when one changes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import text

from countersign.commands import Command
from countersign.permissions import Risk
from store.databases import ReadSession
from store.passkeys import find_holders, were_enrolled
from store.people import Person, find_all_people
from store.secrets import Sealer
from store.switches import Switch, find_switches
from store.workers import find_choices

from .authorizing import Allowed, Refused, Request, authorize
from .loading import Loaded, load_policy
from .policies import APPROVE, BoundPolicy, covers
from .registries import Registry


@dataclass(frozen=True)
class Rulebook:
    """Everything `submit`, `decide` and the controls look up. `alone`: only one person was ever registered.

    `address` is where people open Countersign, as this process was configured; `signers` are those who have a passkey. `problem` says why
    `policy` is not the one that was applied last.
    """

    registry: Registry
    policy: BoundPolicy
    sealer: Sealer
    alone: bool = False
    choices: dict[str, tuple[str, ...]] = field(default_factory=dict)
    managers: Mapping[str, str] = field(default_factory=dict)
    switches: tuple[Switch, ...] = ()
    address: str = ""
    signers: frozenset[str] = frozenset()
    skew: timedelta = timedelta(0)
    problem: str = ""

    def now(self) -> datetime:
        """The database's time, as near as this process's own clock has stayed to it since the rulebook was read.

        For what is only said early, such as a moment that has passed: whatever depends on it is decided again by the database's clock.
        """
        return datetime.now(UTC) + self.skew

    def commands_for(self, person: Person, request: Request) -> list[Command]:
        """The commands this person may use, by name."""
        known = (self.registry.commands[name] for name in sorted(self.registry.commands))
        return [one for one in known if isinstance(self.offer(person, one, request), Allowed)]

    def offer(self, person: Person, command: Command, request: Request) -> Allowed | Refused:
        """Whether there are arguments with which this person may use the command through that door, in that place.

        Whoever may not is not told what there is to choose from either.
        """
        asked = Request(command.permission, request.door, request.place, command, now=self.now(), offered=True)
        return authorize(self.policy, person, asked)

    def listed_for(self, person: Person, request: Request) -> list[Command]:
        """Those of them that help and autocomplete show: none unused or retired, a quiet one only to whom a role gives its permission."""
        patterns = self.policy.permissions_of(person.roles, self.policy.groups_of(person))
        used = [one for one in self.commands_for(person, request) if _when(one.name)(self) and not one.retired]
        return [one for one in used if not one.quiet or any(covers(pattern, one.permission) for pattern in patterns)]


def uses_access(rulebook: Rulebook) -> bool:
    """Whether policy says anything about roles that are asked for."""
    return bool(rulebook.policy.file.access or rulebook.policy.file.owners.get("role"))


def uses_reviews(rulebook: Rulebook) -> bool:
    """Whether groups carry roles, or roles are asked for, so that there is something to look over."""
    return any(rulebook.policy.file.groups.values()) or uses_access(rulebook)


def uses_passkeys(rulebook: Rulebook) -> bool:
    """Whether anything here is signed with passkeys: somebody has one, a command is critical, or a rule asks for one."""
    critical = any(one.risk is Risk.critical for one in rulebook.registry.commands.values())
    return rulebook.policy.signed or critical or any(one.approve and one.approve.step_up == "passkey" for one in rulebook.policy.file.rules)


def uses_roles(rulebook: Rulebook) -> bool:
    """Whether there is a role that somebody could be given."""
    return bool(rulebook.policy.file.roles)


def uses_voters(rulebook: Rulebook) -> bool:
    """Whether policy says who approves. Where everybody may, nobody has to be stood in for or spared being asked."""
    file, approvals = rulebook.policy.file, [one.approval for one in rulebook.registry.commands.values()]
    claimed = rulebook.policy.named & {APPROVE, *(one.by for one in approvals if one)}
    return bool(claimed or file.profile == "strict" or file.owners or file.freezes or any(one.approve for one in file.rules))


def uses_service_accounts(rulebook: Rulebook) -> bool:
    """Whether there is an account that a schedule could run as."""
    return bool(rulebook.policy.file.service_accounts)


def uses_breaking(rulebook: Rulebook) -> bool:
    """Whether a role names the permission to go past the approvers."""
    return "countersign:break-glass" in rulebook.policy.named


def _when(name: str) -> Callable[[Rulebook], bool]:
    return _WHEN.get(name) or _WHEN.get(name.partition(" ")[0], _always)


def _always(_: Rulebook) -> bool:
    return True


# What is not used does not show: commands by name or first word, and when there is sense in them. Whoever knows one may still type it.
_WHEN: Final[Mapping[str, Callable[[Rulebook], bool]]] = {
    "access": uses_access,
    "access review": uses_reviews,
    "passkey": uses_passkeys,
    **dict.fromkeys(("grant", "revoke"), uses_roles),
    **dict.fromkeys(("delegate", "undelegate", "standing"), uses_voters),
    **dict.fromkeys(("review", "reviews"), uses_breaking),
    **dict.fromkeys(("schedule", "schedules"), uses_service_accounts),
}


async def read_rulebook(
    session: ReadSession, *, registry: Registry, sealer: Sealer, address: str = "", known: Rulebook | None = None
) -> Rulebook:
    """The rulebook as the database has it now; raises PolicyError when no policy is in force.

    The policy of the one `known` is kept while text and commands are the same, because compiling it is most of the work.
    """
    kept = Loaded(known.policy, known.problem) if known and known.registry is registry else None
    loaded = await load_policy(session, registry.commands, known=kept)
    now = (await session.execute(text("SELECT countersign_now()"))).scalar_one()
    people = await find_all_people(session)
    return Rulebook(
        registry=registry,
        policy=replace(loaded.policy, signed=await were_enrolled(session)),
        sealer=sealer,
        alone=len([one for one in people if not one.service]) == 1,
        choices=await find_choices(session),
        managers={one.name: one.manager for one in people if one.manager},
        switches=await find_switches(session),
        address=address,
        signers=await find_holders(session),
        skew=now - datetime.now(UTC),
        problem=loaded.problem,
    )
