"""holdings: what each person has by a group or a grant, since when, who gave it, and when it was last used."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from countersign.commands import Command
from store.databases import ReadSession
from store.grants import Grant, find_live_of
from store.people import Person
from store.rosters import POLICY, Membership, find_memberships
from store.usages import Lately, find_lately

from .policies import BoundPolicy
from .rulebooks import Rulebook
from .suggestions import Used, uses_role

COLUMNS: Final = ("who", "has", "through", "since", "given by", "last used")
UNUSED: Final = "not lately"
UNKNOWN: Final = "not known"


@dataclass(frozen=True)
class Holding:
    """What one person has through one group or one grant. `source` is who keeps the group, or who asked for and approved the grant."""

    person: Person
    roles: tuple[str, ...]
    group: str
    source: str
    since: datetime | None
    used: datetime | None
    grant: Grant | None = None

    @property
    def has(self) -> str:
        roles = f"role{'' if len(self.roles) == 1 else 's'} {', '.join(self.roles)}"
        until = f" until {self.grant.until:%Y-%m-%d %H:%M} UTC" if self.grant and self.grant.until else ""
        return f"{roles}{until}"

    @property
    def through(self) -> str:
        return f"grant {self.grant.name}" if self.grant else f"group {self.group}"

    @property
    def row(self) -> dict[str, str]:
        """As a row that somebody reviews; days are UTC's."""
        kind = " (service account)" if self.person.service else ""
        since = f"{self.since:%Y-%m-%d}" if self.since else UNKNOWN
        used = f"{self.used:%Y-%m-%d}" if self.used else UNUSED
        return dict(zip(COLUMNS, (f"{self.person.name}{kind}", self.has, self.through, since, self.source, used), strict=True))


async def read_holdings(session: ReadSession, rulebook: Rulebook, people: Sequence[Person], *, most: int) -> list[Holding]:
    """What these people have, by person. What they did is looked for in the latest `most` requests and votes of each."""
    names = [one.name for one in people]
    memberships, grants = await find_memberships(session, *names), await find_live_of(session, names)
    lately = await find_lately(session, names, most=most)
    found = []
    for person in people:
        theirs = [one for one in memberships if one.person == person.name]
        found += list(_through_groups(rulebook.policy, person, theirs, lately, rulebook.registry.commands))
        found += [
            Holding(person, (one.role,), "", _givers(one), one.granted_at, _used(rulebook, person, (one.role,), lately), one)
            for one in grants
            if one.subject == person.name
        ]
    return found


def _through_groups(
    policy: BoundPolicy, person: Person, memberships: Sequence[Membership], lately: Lately, commands: Mapping[str, Command]
) -> Iterator[Holding]:
    """Each group that carries roles, itself or by a department that it is in."""
    file = policy.file
    for one in memberships:
        above = [name for name, groups in file.departments.items() if one.group in groups]
        roles = tuple(sorted({role for name in (one.group, *above) for role in file.groups.get(name, ())}))
        if roles:
            source = "the policy" if one.source == POLICY else one.source
            yield Holding(person, roles, one.group, source, one.since, last_use(policy, roles, person.name, lately, commands))


def last_use(policy: BoundPolicy, roles: Sequence[str], person: str, lately: Lately, commands: Mapping[str, Command]) -> datetime | None:
    """When the person last did something for which a permission of these roles is needed; None when they did not."""
    asked = [(Used({person: {name: at}}, {}), at) for name, at in lately.asked.get(person, {}).items()]
    voted = [(Used({}, {person: [rule]}), at) for rule, at in lately.voted.get(person, ())]
    return max(
        (at for used, at in (*asked, *voted) if any(uses_role(policy, role, person, used, commands) for role in roles)), default=None
    )


def _used(rulebook: Rulebook, person: Person, roles: Sequence[str], lately: Lately) -> datetime | None:
    return last_use(rulebook.policy, roles, person.name, lately, rulebook.registry.commands)


def _givers(one: Grant) -> str:
    approved = f", approved by {' and '.join(one.approved_by)}" if one.approved_by else ""
    return f"{one.asker or 'countersign'}{approved}{f' (#{one.run})' if one.run else ''}"
