"""The feed of a directory: what it said of users and groups, each time whole, and when a worker made it so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import BigInteger, ForeignKey, Identity, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base, Identifier, Stamp
from .databases import ReadSession, WriteSession

USER: Final = "User"
GROUP: Final = "Group"
LOGIN: Final = "Login"
"""Somebody signed in whose ID token names groups; the token itself is what proves it."""
HINT: Final = "hint"
"""A word that something changed at the source, which is then asked: `{"source": "slack:T1", "user": "U1"}`."""
_LOCK: Final = 4_707_034
_FOLLOWERS: Final = 4_707_035


class FeedRow(Base):
    """One version of a resource; without a body it is deleted. `token` is what the directory showed, sealed for the workers to check."""

    __tablename__ = "directory_feed"
    __table_args__ = (
        UniqueConstraint("resource", "version"),
        Index("ix_directory_feed_waiting", "n", postgresql_where=text("applied_at IS NULL")),
        Index("ix_directory_feed_user", text("lower(body ->> 'userName')")),
    )

    n: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    resource: Mapped[UUID]
    kind: Mapped[str]
    version: Mapped[int]
    body: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    token: Mapped[bytes | None]
    received_at: Mapped[Stamp]
    applied_at: Mapped[datetime | None]
    refused: Mapped[str] = mapped_column(server_default=text("''"))


class DirectoryPersonRow(Base):
    """Whom a directory's user is here."""

    __tablename__ = "directory_people"

    resource: Mapped[Identifier]
    person: Mapped[str] = mapped_column(ForeignKey("people.name"))


class DirectoryRow(Base):
    """A source that is asked from time to time: when next, when it answered last, and why it does not."""

    __tablename__ = "directories"

    source: Mapped[str] = mapped_column(primary_key=True)
    due_at: Mapped[Stamp]
    read_at: Mapped[datetime | None]
    error: Mapped[str] = mapped_column(server_default=text("''"))


@dataclass(frozen=True)
class Resource:
    """A user or a group as the directory described it last. `created` and `changed` are when it was first and last heard of."""

    id: UUID
    kind: str
    version: int
    body: dict[str, Any]
    changed: datetime


@dataclass(frozen=True)
class Word:
    """One row of the feed that no worker has looked at. Without `body` the resource is deleted."""

    n: int
    resource: UUID
    kind: str
    body: dict[str, Any] | None
    token: bytes


async def lock_feed(session: WriteSession) -> None:
    """One change of the directory at a time, so that two that are based on the same version do not undo each other."""
    await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


async def lock_followers(session: WriteSession) -> None:
    """One worker at a time makes so what directories said, because it looks at all of it."""
    await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _FOLLOWERS})


async def add_word(session: WriteSession, kind: str, resource: UUID, body: Mapping[str, Any] | None, *, version: int, token: bytes) -> None:
    """Writes down what the directory said; a worker makes it so."""
    await session.execute(
        text(
            "INSERT INTO directory_feed (resource, kind, version, body, token)"
            " VALUES (:resource, :kind, :version, cast(:body AS jsonb), :token)"
        ),
        {"resource": resource, "kind": kind, "version": version, "body": None if body is None else Jsonb(dict(body)), "token": token},
    )


async def next_version(session: ReadSession, resource: UUID) -> int:
    row = await session.execute(text("SELECT max(version) FROM directory_feed WHERE resource = :resource"), {"resource": resource})
    return int(row.scalar_one() or 0) + 1


# What no worker has refused and nothing newer replaces.
_CURRENT: Final = (
    "FROM directory_feed f WHERE f.refused = '' AND f.body IS NOT NULL AND NOT EXISTS"
    " (SELECT FROM directory_feed n WHERE n.resource = f.resource AND n.version > f.version AND n.refused = '')"
)
_CONDITIONS: Final = {
    "id": "f.resource::text = lower(:{0})",
    "externalid": "f.body ->> 'externalId' = :{0}",
    "username": "lower(f.body ->> 'userName') = lower(:{0})",
    "displayname": "lower(f.body ->> 'displayName') = lower(:{0})",
    "active": "f.body ->> 'active' = lower(:{0})",
    "emails.value": "f.body -> 'emails' @> jsonb_build_array(jsonb_build_object('value', lower(:{0})))",
    "members.value": "f.body -> 'members' ? :{0}",
}
FILTERED: Final = frozenset(_CONDITIONS)


async def find_resource(session: ReadSession, kind: str, resource: UUID) -> Resource | None:
    """The resource as it was described last; None when there is none or it was deleted."""
    found, _ = await find_resources(session, kind, [("id", str(resource))], offset=0, limit=1)
    return found[0] if found else None


async def find_resources(
    session: ReadSession, kind: str, conditions: Sequence[tuple[str, str]], *, offset: int, limit: int
) -> tuple[list[Resource], int]:
    """The resources of a kind that meet all conditions (attribute of FILTERED, value), and how many there are without `limit`."""
    where = "".join(f" AND {_CONDITIONS[name].format(f'v{n}')}" for n, (name, _) in enumerate(conditions))
    values = {f"v{n}": value for n, (_, value) in enumerate(conditions)} | {"kind": kind}
    sql = f"{_CURRENT} AND f.kind = :kind{where}"
    total = (await session.execute(text(f"SELECT count(*) {sql}"), values)).scalar_one()
    rows = await session.execute(
        text(f"SELECT f.resource, f.kind, f.version, f.body, f.received_at {sql} ORDER BY f.resource LIMIT :limit OFFSET :offset"),
        values | {"limit": limit, "offset": offset},
    )
    return [Resource(row.resource, row.kind, row.version, row.body, row.received_at) for row in rows], int(total)


async def find_users_among(session: ReadSession, ids: Sequence[str]) -> set[str]:
    """Those of these ids that are users."""
    if not ids:
        return set()
    rows = await session.execute(
        text(f"SELECT f.resource::text AS id {_CURRENT} AND f.kind = 'User' AND f.resource = ANY(cast(:ids AS uuid[]))"),
        {"ids": list(ids)},
    )
    return {row.id for row in rows}


async def take_words(session: ReadSession, *, limit: int, kinds: Sequence[str] = (USER, GROUP)) -> list[Word]:
    """Rows of the feed that nobody has looked at, as they came; for whoever holds the followers' lock."""
    rows = await session.execute(
        text(
            "SELECT n, resource, kind, body, token FROM directory_feed WHERE applied_at IS NULL AND kind = ANY(:kinds)"
            " ORDER BY n LIMIT :limit"
        ),
        {"limit": limit, "kinds": list(kinds)},
    )
    return [Word(row.n, row.resource, row.kind, row.body, bytes(row.token or b"")) for row in rows]


async def take_hints(session: WriteSession) -> list[dict[str, Any]]:
    """Takes the hints out of the feed; each says what to ask its source about."""
    rows = await session.execute(text("DELETE FROM directory_feed WHERE applied_at IS NULL AND kind = 'hint' RETURNING body"))
    return [row.body or {} for row in rows]


async def settle_words(session: WriteSession, accepted: Sequence[int], refused: Sequence[int], *, because: str) -> None:
    """Marks rows as looked at, and forgets versions that newer accepted ones replace."""
    await session.execute(text("UPDATE directory_feed SET applied_at = countersign_now() WHERE n = ANY(:rows)"), {"rows": list(accepted)})
    await session.execute(
        text("UPDATE directory_feed SET applied_at = countersign_now(), refused = :because WHERE n = ANY(:rows)"),
        {"rows": list(refused), "because": because},
    )
    await session.execute(
        text(
            "DELETE FROM directory_feed old USING directory_feed new WHERE new.n = ANY(:rows) AND old.resource = new.resource"
            " AND old.version < new.version AND old.applied_at IS NOT NULL"
        ),
        {"rows": list(accepted)},
    )


async def find_all_resources(session: ReadSession, kind: str) -> dict[UUID, dict[str, Any] | None]:
    """What workers have accepted, newest version each, by id; None for what was deleted."""
    rows = await session.execute(
        text(
            "SELECT DISTINCT ON (resource) resource, body FROM directory_feed"
            " WHERE kind = :kind AND applied_at IS NOT NULL AND refused = '' ORDER BY resource, version DESC"
        ),
        {"kind": kind},
    )
    return {row.resource: row.body for row in rows}


async def find_directory_people(session: ReadSession) -> dict[UUID, str]:
    """Whom each of the directory's users is here."""
    rows = await session.execute(text("SELECT resource, person FROM directory_people"))
    return {row.resource: row.person for row in rows}


async def keep_directory_person(session: WriteSession, resource: UUID, person: str) -> None:
    await session.execute(
        text("INSERT INTO directory_people (resource, person) VALUES (:resource, :person) ON CONFLICT DO NOTHING"),
        {"resource": resource, "person": person},
    )


async def take_turn(session: WriteSession, source: str, *, seconds: float) -> bool:
    """Whether it is time to ask the source, and this caller's turn; the next one is in `seconds`."""
    row = await session.execute(
        text(
            "INSERT INTO directories (source, due_at) VALUES (:source, countersign_now() + cast(:wait AS interval))"
            " ON CONFLICT (source) DO UPDATE SET due_at = excluded.due_at WHERE directories.due_at <= countersign_now() RETURNING 1"
        ),
        {"source": source, "wait": f"{seconds} seconds"},
    )
    return row.first() is not None


async def note_reading(session: WriteSession, source: str, *, error: str = "", seconds: float | None = None) -> None:
    """Writes down that the source answered, or why it did not; `seconds` puts the next turn off."""
    await session.execute(
        text(
            "UPDATE directories SET error = :error, read_at = CASE WHEN :error = '' THEN countersign_now() ELSE read_at END,"
            " due_at = coalesce(countersign_now() + cast(:wait AS interval), due_at) WHERE source = :source"
        ),
        {"source": source, "error": error[:300], "wait": None if seconds is None else f"{seconds} seconds"},
    )


async def find_directories(session: ReadSession) -> list[Any]:
    """Every source that is asked from time to time: source, read_at, error."""
    return list((await session.execute(text("SELECT source, read_at, error FROM directories ORDER BY source"))).all())
