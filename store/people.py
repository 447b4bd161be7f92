"""People, their chat accounts and the groups they are in. A person's name is their immutable handle."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from countersign.calendars import zone_of
from countersign.records import value

from .bases import Base, Stamp
from .databases import ReadSession, WriteSession
from .rosters import deactivate as deactivate
from .rosters import save_people as save_people


class PersonRow(Base):
    """`leaving` is set when somebody is deactivated, until what they left behind has been taken up. By `alias` the record knows them."""

    __tablename__ = "people"
    __table_args__ = (Index("ix_people_leaving", "name", postgresql_where=text("leaving")),)

    name: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str | None] = mapped_column(unique=True)
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    service: Mapped[bool] = mapped_column(server_default=text("false"))
    timezone: Mapped[str] = mapped_column(server_default=text("'UTC'"))
    manager: Mapped[str | None]
    leaving: Mapped[bool] = mapped_column(server_default=text("false"))
    alias: Mapped[str] = mapped_column(unique=True, server_default=text("'p_' || left(replace(gen_random_uuid()::text, '-', ''), 16)"))
    created_at: Mapped[Stamp]


class ChatAccountRow(Base):
    __tablename__ = "chat_accounts"
    __table_args__ = (Index("ix_chat_accounts_person", "person"),)

    platform: Mapped[str] = mapped_column(primary_key=True)
    team: Mapped[str] = mapped_column(primary_key=True)
    account: Mapped[str] = mapped_column(primary_key=True)
    person: Mapped[str] = mapped_column(ForeignKey("people.name"))
    linked_at: Mapped[Stamp]
    linked_by: Mapped[str]


@value
class Account:
    """One account on one platform; identity is (platform, team, immutable id), never a name."""

    platform: str
    team: str
    account: str


@dataclass(frozen=True)
class Person:
    """A person as policy sees them now: active or not, their groups, and roles granted to them or their groups at run time."""

    name: str
    active: bool
    groups: frozenset[str]
    roles: frozenset[str]
    service: bool = False
    timezone: str = "UTC"
    email: str = ""
    manager: str = ""

    @property
    def line(self) -> str:
        """Among whom runs that wait are begun in turn: the first of their groups, or whoever is in none alone."""
        return min(self.groups, default=self.name)

    @property
    def zone(self) -> ZoneInfo:
        """The time zone in which this person writes and reads moments; UTC where theirs is not known."""
        try:
            return zone_of(self.timezone)
        except ValueError:
            return zone_of("UTC")


_PERSON = """
SELECT p.name, p.active, p.service, p.timezone, coalesce(p.email, '') AS email, coalesce(p.manager, '') AS manager,
       coalesce((SELECT array_agg(DISTINCT m."group") FROM memberships m
                 WHERE m.person = p.name AND (m.until IS NULL OR m.until > countersign_now())), '{{}}') AS groups,
       coalesce((SELECT array_agg(g.role) FROM grants g
                 WHERE g.ended_at IS NULL AND (g.until IS NULL OR g.until > countersign_now())
                   AND (g.subject = p.name OR g.subject IN
                        (SELECT '@' || m."group" FROM memberships m WHERE m.person = p.name
                                AND (m.until IS NULL OR m.until > countersign_now())))), '{{}}') AS roles
FROM people p {where}
"""
_BY_NAME = text(_PERSON.format(where="WHERE p.name = ANY(:names)"))
_BY_ACCOUNT = text(
    _PERSON.format(
        where="JOIN chat_accounts c ON c.person = p.name WHERE c.platform = :platform AND c.team = :team AND c.account = :account"
    )
)
_ALL = text(_PERSON.format(where="WHERE p.active"))
_ROSTER = text(_PERSON.format(where="WHERE starts_with(p.name, :prefix) AND p.name > :after ORDER BY p.name LIMIT :limit"))
_LASTING = text(
    _PERSON.format(where="WHERE p.active")
    .replace("(m.until IS NULL OR m.until > countersign_now())", "m.until IS NULL")
    .replace("(g.until IS NULL OR g.until > countersign_now())", "g.until IS NULL")
)


async def find_person(session: ReadSession, name: str) -> Person | None:
    return (await find_people(session, [name])).get(name)


async def find_people(session: ReadSession, names: Sequence[str]) -> dict[str, Person]:
    """The known ones of these people, by name."""
    rows = await session.execute(_BY_NAME, {"names": list(names)})
    return {row.name: _person(row) for row in rows}


async def find_all_people(session: ReadSession) -> list[Person]:
    """Every active person, by name."""
    return sorted((_person(row) for row in await session.execute(_ALL)), key=lambda one: one.name)


async def find_lasting_people(session: ReadSession) -> list[Person]:
    """Every active person with only those groups and roles that have no end."""
    return [_person(row) for row in await session.execute(_LASTING)]


async def find_roster(session: ReadSession, prefix: str, *, after: str = "", limit: int) -> list[Person]:
    """People whose names begin so, active or not, by name; `after` is the last one seen."""
    rows = await session.execute(_ROSTER, {"prefix": prefix, "after": after, "limit": limit})
    return [_person(row) for row in rows]


async def find_linked(session: ReadSession, person: str) -> list[Any]:
    """The chat accounts of one person, the one linked first first: platform, team, account, linked_at, linked_by."""
    rows = await session.execute(
        text("SELECT platform, team, account, linked_at, linked_by FROM chat_accounts WHERE person = :person ORDER BY linked_at"),
        {"person": person},
    )
    return list(rows.all())


async def find_by_account(session: ReadSession, account: Account) -> Person | None:
    """The person this account is linked to, if any, active or not."""
    row = (await session.execute(_BY_ACCOUNT, {"platform": account.platform, "team": account.team, "account": account.account})).first()
    return _person(row) if row else None


async def find_accounts(session: ReadSession, names: Sequence[str], *, platform: str) -> dict[str, Account]:
    """One account on `platform` for each of these people who has one; the one linked first."""
    rows = await session.execute(
        text(
            "SELECT DISTINCT ON (person) person, team, account FROM chat_accounts"
            " WHERE person = ANY(:names) AND platform = :platform ORDER BY person, linked_at"
        ),
        {"names": list(names), "platform": platform},
    )
    return {row.person: Account(platform, row.team, row.account) for row in rows}


async def find_name_by_email(session: ReadSession, email: str) -> str | None:
    row = (await session.execute(text("SELECT name FROM people WHERE email = lower(:email) AND active"), {"email": email})).first()
    return str(row.name) if row else None


async def link_account(session: WriteSession, account: Account, person: str, *, by: str) -> bool:
    """Links the account once; False when it is linked already, or when the person has another account in that team."""
    row = await session.execute(
        text(
            "INSERT INTO chat_accounts (platform, team, account, person, linked_by)"
            " SELECT :platform, :team, :account, :person, :by WHERE NOT EXISTS"
            " (SELECT FROM chat_accounts WHERE platform = :platform AND team = :team AND person = :person)"
            " ON CONFLICT DO NOTHING RETURNING 1"
        ),
        {"platform": account.platform, "team": account.team, "account": account.account, "person": person, "by": by},
    )
    return row.first() is not None


async def unlink_account(session: WriteSession, account: Account) -> bool:
    row = await session.execute(
        text("DELETE FROM chat_accounts WHERE platform = :platform AND team = :team AND account = :account RETURNING 1"),
        {"platform": account.platform, "team": account.team, "account": account.account},
    )
    return row.first() is not None


def people_named(names: str) -> str:
    """SQL that reads the people whose names the subquery `names` gives, for a statement that reads them beside something else."""
    return _PERSON.format(where=f"WHERE p.name IN ({names})")


def person_of(row: Any) -> Person:
    """The person in a row, or what has a row's attributes, that `people_named` gave."""
    return _person(row)


def _person(row: Any) -> Person:
    return Person(
        name=row.name,
        active=row.active,
        groups=frozenset(row.groups),
        roles=frozenset(row.roles),
        service=row.service,
        timezone=row.timezone,
        email=row.email,
        manager=row.manager,
    )
