"""Integrations as workers find them: whether each is set up and answers, its last error and its last use; names of settings, no value."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from psycopg.types.json import Jsonb
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base
from .databases import ReadSession, WriteSession


class IntegrationRow(Base):
    """`problem` is why it cannot be used now, empty when it can, which it can since `well_since`; `error` is what was last wrong."""

    __tablename__ = "integrations"

    name: Mapped[str] = mapped_column(primary_key=True)
    scopes: Mapped[list[Any]] = mapped_column(JSONB, server_default=text("'[]'"))
    variables: Mapped[list[Any]] = mapped_column(JSONB, server_default=text("'[]'"))
    configured: Mapped[bool] = mapped_column(server_default=text("true"))
    problem: Mapped[str] = mapped_column(server_default=text("''"))
    checked_at: Mapped[datetime | None]
    well_since: Mapped[datetime | None]
    failed_at: Mapped[datetime | None]
    error: Mapped[str] = mapped_column(server_default=text("''"))
    used_at: Mapped[datetime | None]


_NOTE: Final = text("""
INSERT INTO integrations AS i (name, scopes, variables, configured, problem, checked_at, well_since, failed_at, error)
SELECT name, scopes, variables, configured, problem, countersign_now(), CASE WHEN problem = '' THEN countersign_now() END,
       CASE WHEN configured AND problem <> '' THEN countersign_now() END, CASE WHEN configured THEN problem ELSE '' END
FROM jsonb_to_recordset(cast(:looks AS jsonb)) AS l(name text, scopes jsonb, variables jsonb, configured bool, problem text)
ON CONFLICT (name) DO UPDATE
SET scopes = excluded.scopes, variables = excluded.variables, configured = excluded.configured, problem = excluded.problem,
    checked_at = excluded.checked_at, failed_at = coalesce(excluded.failed_at, i.failed_at),
    error = coalesce(nullif(excluded.error, ''), i.error),
    well_since = CASE WHEN excluded.well_since IS NOT NULL THEN coalesce(i.well_since, excluded.well_since) END
""")
_USED: Final = text("""
INSERT INTO integrations (name, used_at) SELECT name, countersign_now() FROM unnest(cast(:names AS text[])) AS u(name)
ON CONFLICT (name) DO UPDATE SET used_at = excluded.used_at
""")


async def note_looks(session: WriteSession, looks: Sequence[Mapping[str, Any]]) -> None:
    """Keeps how integrations were found: of each `name`, `scopes`, `variables`, `configured` and `problem`. Only workers do."""
    if looks:
        await session.execute(_NOTE, {"looks": Jsonb([dict(one) for one in looks])})


async def note_used(session: WriteSession, names: Sequence[str]) -> None:
    """These were used just now. Only workers do."""
    if names:
        await session.execute(_USED, {"names": list(names)})


async def find_integrations(session: ReadSession) -> list[IntegrationRow]:
    """All that any worker has found, by name."""
    query = select(IntegrationRow).order_by(IntegrationRow.name).execution_options(populate_existing=True)
    return list(await session.scalars(query))
