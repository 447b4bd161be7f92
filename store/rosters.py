"""What each source says: who belongs to the company and who is in which group. One source never takes back what another said."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ForeignKey, text
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base, Stamp
from .databases import ReadSession, WriteSession

POLICY: Final = "policy"
ADMIN: Final = "admin"
SCIM: Final = "scim"
OIDC: Final = "oidc"


class VoucherRow(Base):
    """A source's word on a person: still here, or gone. One that says gone is enough; without any that says here nobody is."""

    __tablename__ = "vouchers"

    person: Mapped[str] = mapped_column(ForeignKey("people.name"), primary_key=True)
    source: Mapped[str] = mapped_column(primary_key=True)
    active: Mapped[bool]
    since: Mapped[Stamp]


class MembershipRow(Base):
    """`source` is `policy`, `scim`, `oidc` or `slack:TEAM`."""

    __tablename__ = "memberships"

    person: Mapped[str] = mapped_column(ForeignKey("people.name"), primary_key=True)
    group: Mapped[str] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(primary_key=True, server_default=text("'policy'"))
    until: Mapped[datetime | None]
    since: Mapped[datetime | None] = mapped_column(server_default=text("countersign_now()"))


@dataclass(frozen=True)
class Membership:
    """Somebody's place in a group, as one source says it; `since` is None where it is older than that was kept."""

    person: str
    group: str
    source: str
    since: datetime | None = None


async def save_people(session: WriteSession, people: Mapping[str, Mapping[str, Any]]) -> None:
    """Brings people and memberships in line with policy: those named are here with these groups, unless another source says gone.

    Policy no longer speaks for anybody else, so whom no directory vouches for is deactivated. The deactivated lose their tokens and
    sessions at once; the rest of what they left behind is taken up by the sweep. An entry with `service` is a service account, for which
    policy alone speaks; nobody becomes one who was ever a person, nor the other way round: that entry is passed over.
    """
    saved = {name: entry for name, entry in people.items() if await _save(session, name, entry)}
    await _forget_others(session, list(saved))
    await vouch(session, {name: bool(one.get("active", True)) for name, one in saved.items() if not one.get("service")}, source=POLICY)
    await _settle(session, None)
    await _settle_services(session, [name for name, one in saved.items() if one.get("service") and one.get("active", True)])


async def vouch(session: WriteSession, said: Mapping[str, bool], *, source: str) -> dict[str, bool]:
    """Writes down what `source` says of these people (True: here, False: gone); returns whom that made active or inactive."""
    await session.execute(
        text(
            "INSERT INTO vouchers (person, source, active) SELECT person, :source, active"
            " FROM unnest(cast(:names AS text[]), cast(:said AS bool[])) AS w(person, active)"
            " ON CONFLICT (person, source) DO UPDATE SET active = excluded.active, since = countersign_now()"
            " WHERE vouchers.active <> excluded.active"
        ),
        {"names": list(said), "said": list(said.values()), "source": source},
    )
    return await _settle(session, list(said))


async def forget_vouchers(session: WriteSession, *, source: str, active: bool, people: Collection[str] | None = None) -> dict[str, bool]:
    """Takes back what `source` said of these people (None: of everybody), where it said here or gone; whom that made active or not."""
    rows = await session.execute(
        text(
            "DELETE FROM vouchers WHERE source = :source AND active = :active"
            " AND (cast(:people AS text[]) IS NULL OR person = ANY(:people)) RETURNING person"
        ),
        {"source": source, "active": active, "people": None if people is None else sorted(people)},
    )
    return await _settle(session, [row.person for row in rows])


async def deactivate(session: WriteSession, name: str, *, source: str = ADMIN) -> bool:
    """Ends a person's rights at once; what they asked for is refused at execution. False when they were not active."""
    return name in await vouch(session, {name: False}, source=source)


async def sync_memberships(
    session: WriteSession, wanted: Collection[tuple[str, str]], *, source: str
) -> tuple[list[Membership], list[Membership]]:
    """Makes exactly these (person, group) what `source` says; returns what was added and what was removed.

    What is right already is only read: every statement that writes here has all processes read people anew.
    """
    rows = await session.execute(text('SELECT person, "group" AS name FROM memberships WHERE source = :source'), {"source": source})
    known = {(row.person, row.name) for row in rows}
    added, removed = sorted(set(wanted) - known), sorted(known - set(wanted))
    if removed:
        await session.execute(
            text(
                "DELETE FROM memberships m USING unnest(cast(:people AS text[]), cast(:groups AS text[])) AS w(person, name)"
                ' WHERE m.source = :source AND m.person = w.person AND m."group" = w.name'
            ),
            _columns(removed) | {"source": source},
        )
    if added:
        await session.execute(
            text(
                'INSERT INTO memberships (person, "group", source) SELECT person, name, :source'
                " FROM unnest(cast(:people AS text[]), cast(:groups AS text[])) AS w(person, name) ON CONFLICT DO NOTHING"
            ),
            _columns(added) | {"source": source},
        )
    return [Membership(*one, source) for one in added], [Membership(*one, source) for one in removed]


async def find_memberships(session: ReadSession, *people: str) -> list[Membership]:
    """Where these people's groups come from, by person and group."""
    rows = await session.execute(
        text(
            'SELECT person, "group" AS name, source, since FROM memberships WHERE person = ANY(:people)'
            " AND (until IS NULL OR until > countersign_now()) ORDER BY 1, 2, 3"
        ),
        {"people": list(people)},
    )
    return [Membership(row.person, row.name, row.source, row.since) for row in rows]


async def find_from(session: ReadSession, source: str) -> list[Membership]:
    """Everything that one source says of groups."""
    rows = await session.execute(text('SELECT person, "group" AS name FROM memberships WHERE source = :source'), {"source": source})
    return [Membership(row.person, row.name, source) for row in rows]


async def find_sources(session: ReadSession, person: str, *, active: bool) -> list[str]:
    """The sources that say this person is here, or gone."""
    rows = await session.execute(
        text("SELECT source FROM vouchers WHERE person = :person AND active = :active ORDER BY since"),
        {"person": person, "active": active},
    )
    return [row.source for row in rows]


async def take_leavers(session: WriteSession, *, limit: int) -> list[str]:
    """People who were deactivated and whose affairs nobody has settled yet, locked; what is settled is marked by this."""
    rows = await session.execute(
        text("SELECT name FROM people WHERE leaving ORDER BY name LIMIT :limit FOR UPDATE SKIP LOCKED"), {"limit": limit}
    )
    names = [row.name for row in rows]
    if names:
        await session.execute(text("UPDATE people SET leaving = false WHERE name = ANY(:names)"), {"names": names})
    return names


async def end_tokens(session: WriteSession, names: Sequence[str]) -> int:
    """Ends every token, session and link of these people; returns how many there were."""
    if not names:
        return 0
    rows = await session.execute(
        text("UPDATE tokens SET ended_at = countersign_now() WHERE ended_at IS NULL AND person = ANY(:names) RETURNING 1"),
        {"names": list(names)},
    )
    return len(rows.all())


async def _save(session: WriteSession, name: str, entry: Mapping[str, Any]) -> bool:
    """False for who is a person and should be a service account, or the other way round."""
    saved = await session.execute(
        text(
            "INSERT INTO people (name, service, email, timezone, manager) VALUES (:name, :service, lower(:email), :timezone, :manager)"
            " ON CONFLICT (name) DO UPDATE SET email = excluded.email, timezone = excluded.timezone, manager = excluded.manager"
            " WHERE people.service = excluded.service RETURNING 1"
        ),
        {
            "name": name,
            "service": bool(entry.get("service")),
            "email": entry.get("email"),
            "timezone": entry.get("timezone", "UTC"),
            "manager": entry.get("manager") or None,
        },
    )
    if saved.first() is None:
        return False
    groups = list(entry.get("groups", ()))
    await session.execute(
        text("DELETE FROM memberships WHERE person = :name AND source = 'policy' AND until IS NULL AND NOT \"group\" = ANY(:groups)"),
        {"name": name, "groups": groups},
    )
    await session.execute(
        text(
            'INSERT INTO memberships (person, "group") SELECT :name, unnest(cast(:groups AS text[]))'
            ' ON CONFLICT (person, "group", source) DO UPDATE SET until = NULL'
        ),
        {"name": name, "groups": groups},
    )
    return True


async def _forget_others(session: WriteSession, staying: Sequence[str]) -> None:
    everybody_else = {"staying": list(staying)}
    await session.execute(text("DELETE FROM vouchers WHERE source = 'policy' AND NOT person = ANY(:staying)"), everybody_else)
    await session.execute(
        text("DELETE FROM memberships WHERE source = 'policy' AND until IS NULL AND NOT person = ANY(:staying)"), everybody_else
    )


async def _settle(session: WriteSession, names: Sequence[str] | None) -> dict[str, bool]:
    """Makes people (None: all of them) active or not as their vouchers say; whom that changed."""
    rows = await session.execute(
        text(
            "SELECT p.name, NOT p.active AS active FROM people p"
            " WHERE NOT p.service AND (cast(:names AS text[]) IS NULL OR p.name = ANY(:names))"
            " AND p.active <> (EXISTS (SELECT FROM vouchers v WHERE v.person = p.name AND v.active)"
            " AND NOT EXISTS (SELECT FROM vouchers v WHERE v.person = p.name AND NOT v.active)) FOR UPDATE OF p"
        ),
        {"names": None if names is None else list(names)},
    )
    changed = {row.name: row.active for row in rows}
    if changed:
        await session.execute(text("UPDATE people SET active = NOT active WHERE name = ANY(:names)"), {"names": list(changed)})
    await end_tokens(session, [name for name, active in changed.items() if not active])
    return changed


async def _settle_services(session: WriteSession, names: Sequence[str]) -> None:
    """Makes exactly these service accounts active."""
    rows = await session.execute(
        text("UPDATE people SET active = NOT active WHERE service AND active <> (name = ANY(:names)) RETURNING name, active"),
        {"names": list(names)},
    )
    await end_tokens(session, [row.name for row in rows if not row.active])


def _columns(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    return {"people": [person for person, _ in pairs], "groups": [group for _, group in pairs]}
