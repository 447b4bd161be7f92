"""Views: filters of a list under a name, whoever saved them, and the group that they are shared with."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from psycopg.types.json import Jsonb
from sqlalchemy import ForeignKey, Index, UniqueConstraint, select, text
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base, Identifier, new_id
from .databases import ReadSession, WriteSession
from .people import PersonRow

MOST: Final = 50


class ViewRow(Base):
    """`first`: it is what its owner sees when they open the page without filters."""

    __tablename__ = "views"
    __table_args__ = (
        UniqueConstraint("owner", "page", "name", name="uq_views_owner_page_name"),
        Index("uq_views_first", "owner", "page", unique=True, postgresql_where=text("first")),
        Index("ix_views_shared_with", "shared_with", "page", postgresql_where=text("shared_with <> ''")),
    )

    id: Mapped[Identifier]
    owner: Mapped[str] = mapped_column(ForeignKey("people.name"))
    page: Mapped[str]
    name: Mapped[str]
    query: Mapped[dict[str, Any]]
    shared_with: Mapped[str] = mapped_column(server_default=text("''"))
    first: Mapped[bool] = mapped_column(server_default=text("false"))
    saved_at: Mapped[datetime] = mapped_column(server_default=text("countersign_now()"))


_SAVE: Final = text(f"""
INSERT INTO views (id, owner, page, name, query, shared_with, first)
SELECT :id, :owner, :page, :name, :query, :shared_with, :first
WHERE (SELECT count(*) FROM views WHERE owner = :owner AND name <> :name) < {MOST}
ON CONFLICT (owner, page, name) DO UPDATE SET query = excluded.query, shared_with = excluded.shared_with, first = excluded.first,
  saved_at = countersign_now() RETURNING 1
""")  # noqa: S608  built from constants


async def save_view(
    session: WriteSession, *, owner: str, page: str, name: str, query: Mapping[str, str], shared_with: str, first: bool
) -> bool:
    """Saves it, over one of the same name; False when its owner has MOST others already."""
    if first:
        await session.execute(text("UPDATE views SET first = false WHERE owner = :owner AND page = :page"), {"owner": owner, "page": page})
    values = {"id": new_id(), "owner": owner, "page": page, "name": name, "shared_with": shared_with, "first": first}
    return (await session.execute(_SAVE, values | {"query": Jsonb(dict(query))})).first() is not None


async def remove_view(session: WriteSession, *, owner: str, page: str, name: str) -> bool:
    """Removes one's own view; False when there is none of this name."""
    values = {"owner": owner, "page": page, "name": name}
    rows = await session.execute(text("DELETE FROM views WHERE owner = :owner AND page = :page AND name = :name RETURNING 1"), values)
    return rows.first() is not None


async def find_views(session: ReadSession, owner: str, groups: Sequence[str], *, page: str = "") -> list[ViewRow]:
    """One's own views and those that active colleagues share with these groups, of one page or of all; one's own first, by name."""
    shared = ViewRow.shared_with.in_(list(groups)) & ViewRow.owner.in_(select(PersonRow.name).where(PersonRow.active))
    query = select(ViewRow).where((ViewRow.owner == owner) | shared).order_by(ViewRow.owner != owner, ViewRow.page, ViewRow.name)
    return list(await session.scalars((query.where(ViewRow.page == page) if page else query).limit(4 * MOST)))
