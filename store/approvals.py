"""Approval requests and the decisions on them. The rule is frozen into the request when it is made."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import ForeignKey, Index, UniqueConstraint, select, text
from sqlalchemy.orm import Mapped, mapped_column

from countersign.approvals import Decision, Verdict

from .bases import Base, Identifier, Stamp
from .databases import ReadSession, WriteSession


class ApprovalRequestRow(Base):
    __tablename__ = "approval_requests"
    __table_args__ = (
        UniqueConstraint("run_id", "revision"),
        Index("ix_approval_requests_expires", "expires_at", postgresql_where=text("state = 'open'")),
    )

    id: Mapped[Identifier]
    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"))
    revision: Mapped[int]
    digest: Mapped[str]
    rule: Mapped[dict[str, Any]]
    policy: Mapped[str]
    state: Mapped[str] = mapped_column(server_default=text("'open'"))
    opened_at: Mapped[Stamp]
    expires_at: Mapped[datetime]


class DecisionRow(Base):
    __tablename__ = "decisions"
    __table_args__ = (UniqueConstraint("request_id", "person"),)

    id: Mapped[Identifier]
    request_id: Mapped[UUID] = mapped_column(ForeignKey("approval_requests.id"))
    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"))
    person: Mapped[str] = mapped_column(ForeignKey("people.name"))
    verdict: Mapped[str]
    reason: Mapped[str]
    digest: Mapped[str]
    door: Mapped[str]
    policy: Mapped[str]
    decided_at: Mapped[Stamp]


@dataclass(frozen=True)
class NewRequest:
    """An approval request about to be opened; `expires` is in seconds from now."""

    id: UUID
    run_id: UUID
    revision: int
    digest: str
    rule: dict[str, Any]
    policy: str
    expires: float


async def open_requests(session: WriteSession, requests: Sequence[NewRequest]) -> None:
    """Opens requests; one already open for the same run and revision is left as it is."""
    for one in requests:
        await session.execute(
            text(
                "WITH old AS (UPDATE approval_requests SET state = 'superseded'"
                " WHERE run_id = :run AND revision < :revision AND state = 'open')"
                " INSERT INTO approval_requests (id, run_id, revision, digest, rule, policy, expires_at)"
                " VALUES (:id, :run, :revision, :digest, cast(:rule AS jsonb), :policy, countersign_now() + cast(:expires AS interval))"
                " ON CONFLICT (run_id, revision) DO NOTHING"
            ),
            {
                "id": one.id,
                "run": one.run_id,
                "revision": one.revision,
                "digest": one.digest,
                "rule": Jsonb(one.rule),
                "policy": one.policy,
                "expires": f"{one.expires} seconds",
            },
        )


async def find_request(session: ReadSession, run_id: UUID) -> ApprovalRequestRow | None:
    """The latest request of a run, open or not."""
    query = select(ApprovalRequestRow).where(ApprovalRequestRow.run_id == run_id).order_by(ApprovalRequestRow.revision.desc()).limit(1)
    return (await session.scalars(query.execution_options(populate_existing=True))).first()


async def lock_request(session: WriteSession, run_id: UUID) -> ApprovalRequestRow | None:
    """The latest request, locked until the transaction ends: clicks at the same instant are decided one after the other."""
    query = select(ApprovalRequestRow).where(ApprovalRequestRow.run_id == run_id).order_by(ApprovalRequestRow.revision.desc()).limit(1)
    return (await session.scalars(query.with_for_update().execution_options(populate_existing=True))).first()


async def find_decisions(session: ReadSession, request_id: UUID) -> list[DecisionRow]:
    """The decisions on one request, first to last."""
    query = select(DecisionRow).where(DecisionRow.request_id == request_id).order_by(DecisionRow.decided_at, DecisionRow.id)
    return list(await session.scalars(query))


async def add_decision(session: WriteSession, decision: DecisionRow) -> bool:
    """Records what a person said; False when they have already decided on this request."""
    row = await session.execute(
        text(
            "INSERT INTO decisions (id, request_id, run_id, person, verdict, reason, digest, door, policy)"
            " VALUES (:id, :request_id, :run_id, :person, :verdict, :reason, :digest, :door, :policy)"
            " ON CONFLICT (request_id, person) DO NOTHING RETURNING 1"
        ),
        {
            name: getattr(decision, name)
            for name in ("id", "request_id", "run_id", "person", "verdict", "reason", "digest", "door", "policy")
        },
    )
    return row.first() is not None


async def close_request(session: WriteSession, request_id: UUID, *, state: str) -> bool:
    """Ends an open request as approved, denied, expired or superseded; False when it had ended already."""
    row = await session.execute(
        text("UPDATE approval_requests SET state = :state WHERE id = :id AND state = 'open' RETURNING 1"),
        {"id": request_id, "state": state},
    )
    return row.first() is not None


async def find_overdue(session: ReadSession, *, limit: int) -> list[UUID]:
    """Runs whose open request has expired."""
    rows = await session.execute(
        text(
            "SELECT run_id FROM approval_requests WHERE state = 'open' AND expires_at <= countersign_now() ORDER BY expires_at LIMIT :limit"
        ),
        {"limit": limit},
    )
    return [row.run_id for row in rows]


async def find_waiting(session: ReadSession, *, limit: int = 50) -> list[ApprovalRequestRow]:
    """Open requests that have not expired, the most urgent first."""
    query = (
        select(ApprovalRequestRow)
        .where(ApprovalRequestRow.state == "open", text("expires_at > countersign_now()"))
        .order_by(ApprovalRequestRow.expires_at)
        .limit(limit)
    )
    return list(await session.scalars(query))


def as_decision(row: DecisionRow) -> Decision:
    """The row as the pure rule reads it."""
    return Decision(person=row.person, verdict=Verdict(row.verdict), digest=row.digest, at=row.decided_at)
