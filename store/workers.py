"""Living workers and the code versions they offer, and the refreshed values of choices."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from psycopg.types.json import Jsonb
from sqlalchemy import text
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base, Stamp
from .databases import ReadSession, WriteSession

OFFERED_SECONDS: Final = 60.0


class WorkerRow(Base):
    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str]
    versions: Mapped[list[Any]]
    started_at: Mapped[Stamp]
    seen_at: Mapped[Stamp]


class ChoiceRow(Base):
    __tablename__ = "choices"

    name: Mapped[str] = mapped_column(primary_key=True)
    values: Mapped[list[Any]]
    refreshed_at: Mapped[Stamp]


def offered(seconds: str) -> str:
    """SQL: whether a worker has offered the code of the run `r` in the last `seconds`, an expression. Until then no other looks at it."""
    return (
        "EXISTS (SELECT FROM workers k WHERE k.versions ? r.code_version AND k.role <> 'housekeeping'"
        f" AND k.seen_at > countersign_now() - {seconds} * interval '1 second')"
    )


async def note_worker(session: WriteSession, *, name: str, role: str, versions: Sequence[str]) -> None:
    """Says that this worker lives and which code versions it offers; forgets workers unseen for a day."""
    await session.execute(
        text(
            "INSERT INTO workers (name, role, versions) VALUES (:name, :role, cast(:versions AS jsonb))"
            " ON CONFLICT (name) DO UPDATE SET seen_at = countersign_now(), versions = excluded.versions"
        ),
        {"name": name, "role": role, "versions": Jsonb(list(versions))},
    )
    await session.execute(text("DELETE FROM workers WHERE seen_at < countersign_now() - interval '1 day'"))


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
