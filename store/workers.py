"""Living workers, the code versions and the labels they offer, and the refreshed values of choices."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import text
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base, Stamp
from .databases import ReadSession, WriteSession
from .messages import Priority, telling

OFFERED_SECONDS: Final = 60.0


class WorkerRow(Base):
    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str]
    versions: Mapped[list[Any]]
    labels: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    started_at: Mapped[Stamp]
    seen_at: Mapped[Stamp]


class ChoiceRow(Base):
    __tablename__ = "choices"

    name: Mapped[str] = mapped_column(primary_key=True)
    values: Mapped[list[Any]]
    refreshed_at: Mapped[Stamp]


_LIVE: Final = "k.role <> 'housekeeping' AND k.seen_at > countersign_now() - {seconds} * interval '1 second'"


def offered(seconds: str) -> str:
    """SQL: whether a worker has offered the code of the run `r` in the last `seconds`, an expression. Until then no other looks at it."""
    return (
        "EXISTS (SELECT FROM workers k WHERE k.versions ? r.code_version AND (r.label = '' OR k.labels ? r.label)"
        f" AND {_LIVE.format(seconds=seconds)})"
    )


_LABELLED: Final = f"EXISTS (SELECT FROM workers k WHERE k.labels ? r.label AND {_LIVE.format(seconds=60)})"
_SHOW: Final = text(f"""
WITH shown AS (UPDATE messages m SET {telling(Priority.progress)} FROM runs r
               WHERE r.id = m.run_id AND r.label <> '' AND r.due_at IS NOT NULL AND r.lease_until IS NULL AND m.kind <> 'reply' RETURNING 1)
SELECT pg_notify('countersign_work', 'messages') FROM shown LIMIT 1
""")  # noqa: S608  built from constants


_TOLD_AT_ONCE: Final = 200


def waking(kind: str, rows: str) -> str:
    """The part of a statement that makes the notices, `kind ID ID …` or `kind@LABEL ID ID …`, of rows with `id` and `label`.

    There are as many notices as it takes: one is at most 8,000 bytes. Where only the first 200 were told of, the others of 2,000 that were
    asked for at once stood still for a second, until the sweep found them.
    """
    return (
        f"SELECT '{kind}' || CASE label WHEN '' THEN ' ' ELSE '@' || label || ' ' END"  # noqa: S608  built from constants
        " || string_agg(id::text, ' ') AS w"
        f" FROM (SELECT id, label, (row_number() OVER (PARTITION BY label) - 1) / {_TOLD_AT_ONCE} AS part FROM {rows}) AS parts"
        " GROUP BY label, part"
    )


async def note_worker(session: WriteSession, *, name: str, role: str, versions: Sequence[str], labels: Sequence[str] = ()) -> None:
    """Says that this worker lives and which code versions and labels it offers; forgets workers unseen for a day."""
    await session.execute(
        text(
            "INSERT INTO workers (name, role, versions, labels) VALUES (:name, :role, cast(:versions AS jsonb), cast(:labels AS jsonb))"
            " ON CONFLICT (name) DO UPDATE SET seen_at = countersign_now(), versions = excluded.versions, labels = excluded.labels"
        ),
        {"name": name, "role": role, "versions": Jsonb(list(versions)), "labels": Jsonb(list(labels))},
    )
    await session.execute(text("DELETE FROM workers WHERE seen_at < countersign_now() - interval '1 day'"))


NOTE_PLAIN: Final = "INSERT INTO workers (name, role, versions) VALUES (%(name)s, %(role)s, '[]') ON CONFLICT DO NOTHING"
"""Says that this worker has its place, before it knows what it can offer."""


async def find_workers(session: ReadSession, *, within: float) -> list[Any]:
    """Workers seen in the last `within` seconds: name, role, versions, started_at, seen_at."""
    rows = await session.execute(
        text(
            "SELECT name, role, versions, started_at, seen_at FROM workers"
            " WHERE seen_at > countersign_now() - cast(:within AS interval) ORDER BY name"
        ),
        {"within": f"{within} seconds"},
    )
    return list(rows.all())


async def find_labels(session: ReadSession) -> tuple[str, ...]:
    """The labels that living workers offer."""
    query = f"SELECT DISTINCT jsonb_array_elements_text(k.labels) AS label FROM workers k WHERE {_LIVE.format(seconds=60)} ORDER BY 1"  # noqa: S608
    rows = await session.execute(text(query))
    return tuple(row.label for row in rows)


async def find_missed(session: ReadSession, run_id: UUID) -> datetime | None:
    """Since when this run could go on, if no living worker offers its label; else None."""
    row = await session.execute(
        text(
            "SELECT due_at FROM runs r WHERE id = :run AND label <> '' AND due_at <= countersign_now()"  # noqa: S608  built from constants
            f" AND (lease_until IS NULL OR lease_until < countersign_now()) AND NOT {_LABELLED}"
        ),
        {"run": run_id},
    )
    since: datetime | None = row.scalar()
    return since


async def show_labelled(session: WriteSession) -> None:
    """Has the cards of runs that wait for a worker with a label shown anew."""
    await session.execute(_SHOW)


async def save_choices(session: WriteSession, values: Mapping[str, Sequence[str]]) -> None:
    """Keeps the refreshed values of choice sources, by source name."""
    for name, one in values.items():
        await session.execute(
            text(
                'INSERT INTO choices (name, "values") VALUES (:name, cast(:values AS jsonb))'
                ' ON CONFLICT (name) DO UPDATE SET "values" = excluded."values", refreshed_at = countersign_now()'
            ),
            {"name": name, "values": Jsonb(list(one))},
        )


async def find_choices(session: ReadSession) -> dict[str, tuple[str, ...]]:
    """The refreshed values by source name."""
    return {row.name: tuple(row.values) for row in await session.execute(text('SELECT name, "values" FROM choices'))}
