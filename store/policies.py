"""The policy in force: one row with a digest, named by every decision; older ones stay for the record."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base, Stamp
from .databases import ReadSession, WriteSession


class PolicyRow(Base):
    __tablename__ = "policies"
    __table_args__ = (Index("uq_policies_in_force", "in_force", unique=True, postgresql_where=text("in_force")),)

    digest: Mapped[str] = mapped_column(primary_key=True)
    body: Mapped[str]
    in_force: Mapped[bool] = mapped_column(server_default=text("false"))
    applied_at: Mapped[Stamp]
    applied_by: Mapped[str]


@dataclass(frozen=True)
class StoredPolicy:
    """The YAML text that was applied and its SHA-256."""

    digest: str
    body: str
    applied_at: datetime
    applied_by: str


async def find_policy(session: ReadSession) -> StoredPolicy | None:
    """The policy in force; None before the first boot has seeded one."""
    row = (await session.execute(text("SELECT digest, body, applied_at, applied_by FROM policies WHERE in_force"))).first()
    return StoredPolicy(row.digest, row.body, row.applied_at, row.applied_by) if row else None


async def find_earlier(session: ReadSession, *, limit: int = 5) -> list[StoredPolicy]:
    """Policies that were in force before, the last one first."""
    rows = await session.execute(
        text("SELECT digest, body, applied_at, applied_by FROM policies WHERE NOT in_force ORDER BY applied_at DESC LIMIT :limit"),
        {"limit": limit},
    )
    return [StoredPolicy(row.digest, row.body, row.applied_at, row.applied_by) for row in rows]


async def find_texts(session: ReadSession, digests: Iterable[str]) -> dict[str, str]:
    """The texts of these policies by digest, those that are known."""
    rows = await session.execute(
        text("SELECT digest, body FROM policies WHERE digest = ANY(:digests) ORDER BY digest"), {"digests": list(digests)}
    )
    return {row.digest: row.body for row in rows}


async def find_digest(session: ReadSession) -> str | None:
    """The digest of the policy in force, to see cheaply whether it changed."""
    digest: str | None = (await session.execute(text("SELECT digest FROM policies WHERE in_force"))).scalar_one_or_none()
    return digest


async def apply_policy(session: WriteSession, *, digest: str, body: str, by: str) -> None:
    """Puts this policy in force; applying the one in force again changes nothing."""
    await session.execute(text("UPDATE policies SET in_force = false WHERE in_force AND digest <> :digest"), {"digest": digest})
    await session.execute(
        text(
            "INSERT INTO policies (digest, body, in_force, applied_by) VALUES (:digest, :body, true, :by)"
            " ON CONFLICT (digest) DO UPDATE SET in_force = true, applied_at = countersign_now(), applied_by = excluded.applied_by"
            " WHERE NOT policies.in_force"
        ),
        {"digest": digest, "body": body, "by": by},
    )
