"""Roles granted to a person or a group (`@group`) at run time, each by an approved run. A grant can end by itself; its history stays."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base, Identifier, Stamp
from .databases import ReadSession, WriteSession


class How(StrEnum):
    """How a grant ended."""

    expired = "expired"
    returned = "returned"
    revoked = "revoked"
    undone = "undone"
    left = "left"


class GrantRow(Base):
    __tablename__ = "grants"
    __table_args__ = (
        Index("ix_grants_subject", "subject", postgresql_where=text("ended_at IS NULL")),
        Index("ix_grants_history", "subject", "number"),
        Index("ix_grants_due", "next_due", postgresql_where=text("next_due IS NOT NULL")),
    )

    id: Mapped[Identifier]
    subject: Mapped[str]
    role: Mapped[str]
    until: Mapped[datetime | None]
    run_id: Mapped[UUID | None] = mapped_column(ForeignKey("runs.id"))
    granted_at: Mapped[Stamp]
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None]
    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True), unique=True)
    approved_by: Mapped[list[str]] = mapped_column(ARRAY(TEXT), server_default=text("'{}'"))
    ended_how: Mapped[str | None]
    next_due: Mapped[datetime | None]


class ExtensionRow(Base):
    __tablename__ = "grant_extensions"
    __table_args__ = (Index("ix_grant_extensions_grant_id", "grant_id"),)

    id: Mapped[Identifier]
    grant_id: Mapped[UUID] = mapped_column(ForeignKey("grants.id"))
    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"))
    was: Mapped[datetime]
    until: Mapped[datetime]
    approved_by: Mapped[list[str]] = mapped_column(ARRAY(TEXT), server_default=text("'{}'"))
    extended_at: Mapped[Stamp]


@dataclass(frozen=True)
class Grant:
    """One grant with the run that gave it. `until` None means until it is revoked; `extensions` are (run number, approvers), in order.

    `live` says whether it is held now, `over` that its time is up and nobody has closed it yet, `remaining` how long it still is.
    """

    id: UUID
    number: int
    subject: str
    role: str
    granted_at: datetime
    until: datetime | None
    ended_at: datetime | None
    ended_by: str | None
    ended_how: str | None
    approved_by: tuple[str, ...]
    run_id: UUID | None
    run: int | None
    asker: str | None
    reason: str
    place: dict[str, Any]
    extensions: tuple[tuple[int, tuple[str, ...]], ...]
    live: bool
    over: bool
    remaining: timedelta | None

    @property
    def name(self) -> str:
        """`G12`, by which people refer to it."""
        return f"G{self.number}"


_LIVE: Final = "g.ended_at IS NULL AND (g.until IS NULL OR g.until > moment.now)"
_GRANTS: Final = f"""
WITH moment AS MATERIALIZED (SELECT countersign_now() AS now)
SELECT g.id, g.number, g.subject, g.role, g.granted_at, g.until, g.ended_at, g.ended_by, g.ended_how, g.approved_by, g.run_id,
       r.number AS run, r.asker, coalesce(r.reason, '') AS reason, coalesce(r.place, '{{}}') AS place,
       ARRAY(SELECT jsonb_build_array(n.number, to_jsonb(e.approved_by)) FROM grant_extensions e JOIN runs n ON n.id = e.run_id
             WHERE e.grant_id = g.id ORDER BY e.extended_at) AS extensions,
       {_LIVE} AS live, g.ended_at IS NULL AND coalesce(g.until <= moment.now, false) AS over,
       g.until - moment.now AS remaining
FROM moment CROSS JOIN grants g LEFT JOIN runs r ON r.id = g.run_id
"""  # noqa: S608  built from constants
_NEXT_DUE: Final = "CASE WHEN {until} - interval '10 minutes' > {now} THEN {until} - interval '10 minutes' ELSE {until} END"
_GIVE = text(f"""
WITH moment AS MATERIALIZED (SELECT countersign_now() AS now),
wanted AS (SELECT now, now + cast(:length AS interval) AS until FROM moment)
INSERT INTO grants (id, subject, role, granted_at, until, run_id, approved_by, next_due)
SELECT :id, :subject, :role, now, until, :run, :approved_by, {_NEXT_DUE.format(until="until", now="now")} FROM wanted
ON CONFLICT (id) DO NOTHING RETURNING 1
""")  # noqa: S608  built from constants
_EXTEND = text(f"""
WITH moment AS MATERIALIZED (SELECT countersign_now() AS now),
longer AS (UPDATE grants g SET until = g.until + cast(:length AS interval),
                  next_due = {_NEXT_DUE.format(until="(g.until + cast(:length AS interval))", now="moment.now")}
           FROM moment WHERE g.id = :grant AND g.until = :was AND {_LIVE} AND NOT EXISTS (SELECT FROM grant_extensions WHERE id = :id)
           RETURNING g.id, g.until)
INSERT INTO grant_extensions (id, grant_id, run_id, was, until, approved_by)
SELECT :id, id, :run, :was, until, :approved_by FROM longer RETURNING 1
""")  # noqa: S608  built from constants
_END = text(f"""
WITH moment AS MATERIALIZED (SELECT countersign_now() AS now)
UPDATE grants g SET ended_at = moment.now, ended_by = :by, ended_how = :how, next_due = NULL
FROM moment WHERE g.id = ANY(:ids) AND {_LIVE} RETURNING g.id
""")  # noqa: S608  built from constants
_SHORTEN = text(f"""
UPDATE grants g SET until = e.was, next_due = {_NEXT_DUE.format(until="e.was", now="countersign_now()")} FROM grant_extensions e
WHERE e.run_id = :run AND g.id = e.grant_id AND g.until = e.until AND g.ended_at IS NULL RETURNING g.id
""")  # noqa: S608  built from constants
_EXPIRE = text(
    "UPDATE grants SET ended_at = until, ended_by = 'countersign', ended_how = 'expired', next_due = NULL"
    " WHERE id = ANY(:ids) AND ended_at IS NULL AND until <= countersign_now()"
)


async def give(
    session: WriteSession, *, grant: UUID, subject: str, role: str, length: timedelta | None, run: UUID, approved_by: Sequence[str] = ()
) -> bool:
    """Gives the role from now on, for `length` or until it is revoked; the same grant id again changes nothing and returns False."""
    values = {"id": grant, "subject": subject, "role": role, "length": length, "run": run, "approved_by": list(approved_by)}
    return (await session.execute(_GIVE, values)).first() is not None


async def extend(
    session: WriteSession, *, extension: UUID, grant: UUID, was: datetime, length: timedelta, run: UUID, approved_by: Sequence[str]
) -> bool:
    """Moves the end of a live grant from exactly `was` on by `length`.

    False when the grant has ended meanwhile or its end was moved by somebody else, and when this extension was made before.
    """
    values = {"id": extension, "grant": grant, "was": was, "length": length, "run": run, "approved_by": list(approved_by)}
    return (await session.execute(_EXTEND, values)).first() is not None


async def is_extended(session: ReadSession, extension: UUID) -> bool:
    """Whether this extension was made."""
    return (await session.execute(text("SELECT 1 FROM grant_extensions WHERE id = :id"), {"id": extension})).first() is not None


async def shorten(session: WriteSession, run: UUID) -> list[UUID]:
    """Takes back what this run extended, unless the end was moved again since; returns which grant that was, if any."""
    return [row.id for row in await session.execute(_SHORTEN, {"run": run})]


async def end(session: WriteSession, ids: Sequence[UUID], *, by: str, how: How) -> list[UUID]:
    """Ends those of these grants that are live; returns which."""
    rows = await session.execute(_END, {"ids": list(ids), "by": by, "how": how})
    return [row.id for row in rows]


async def find_grants(session: ReadSession, *, subject: str | None = None, role: str | None = None, ended: bool = False) -> list[Grant]:
    """The latest 200 grants, newest first: live ones, or with `ended` all that there ever were."""
    wanted = [_LIVE] if not ended else []
    wanted += ["g.subject = :subject"] if subject is not None else []
    wanted += ["g.role = :role"] if role is not None else []
    where = f"WHERE {' AND '.join(wanted)}" if wanted else ""
    rows = await session.execute(text(f"{_GRANTS} {where} ORDER BY g.number DESC LIMIT 200"), {"subject": subject, "role": role})
    return [_grant(row) for row in rows]


async def find_live_of(session: ReadSession, subjects: Sequence[str]) -> list[Grant]:
    """The live grants to these people, by person, oldest first."""
    rows = await session.execute(
        text(f"{_GRANTS} WHERE g.subject = ANY(:subjects) AND {_LIVE} ORDER BY g.subject, g.number"), {"subjects": list(subjects)}
    )
    return [_grant(row) for row in rows]


async def find_grant(session: ReadSession, reference: int | UUID) -> Grant | None:
    """The grant with this number or id, live or not."""
    column = "g.number" if isinstance(reference, int) else "g.id"
    row = (await session.execute(text(f"{_GRANTS} WHERE {column} = :reference"), {"reference": reference})).first()
    return _grant(row) if row else None


async def take_due(session: WriteSession, *, limit: int) -> list[Grant]:
    """Locks grants whose end is near (their holder is to be told) or past (`over`), the longest due first."""
    rows = await session.execute(
        text(f"{_GRANTS} WHERE g.next_due <= moment.now ORDER BY g.next_due LIMIT :limit FOR UPDATE OF g SKIP LOCKED"), {"limit": limit}
    )
    return [_grant(row) for row in rows]


async def mark_told(session: WriteSession, ids: Sequence[UUID]) -> None:
    """Their holders know that the end is near; nothing is due before it."""
    if ids:  # a statement that changes no row announces a change of people all the same
        await session.execute(text("UPDATE grants SET next_due = until WHERE id = ANY(:ids)"), {"ids": list(ids)})


async def expire(session: WriteSession, ids: Sequence[UUID]) -> None:
    """Closes grants that are over, at the instant they were over: nobody has held them since."""
    if ids:
        await session.execute(_EXPIRE, {"ids": list(ids)})


async def end_of_leavers(session: WriteSession) -> list[Grant]:
    """Ends the live grants of people who are not active any more, so that coming back does not bring them back; returns them."""
    rows = await session.execute(
        text(
            "SELECT g.id FROM grants g JOIN people p ON p.name = g.subject WHERE NOT p.active AND g.ended_at IS NULL"
            " AND (g.until IS NULL OR g.until > countersign_now()) FOR UPDATE OF g SKIP LOCKED"
        )
    )
    leaving = [row.id for row in rows]
    ended = await end(session, leaving, by="countersign", how=How.left) if leaving else []
    found = [await find_grant(session, one) for one in ended]
    return [one for one in found if one]


def _grant(row: Any) -> Grant:
    values = dict(row._mapping)
    extensions = tuple((int(run), tuple(names)) for run, names in values.pop("extensions"))
    return Grant(**values | {"approved_by": tuple(row.approved_by), "extensions": extensions})
