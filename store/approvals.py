"""Approval requests and the decisions on them. The rule is frozen into the request when it is made."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import ARRAY, ForeignKey, Index, UniqueConstraint, Uuid, any_, bindparam, func, literal, select, text, update
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Mapped, mapped_column

from countersign.tallies import Decision, Verdict

from .bases import Base, Identifier, Stamp
from .databases import ReadSession, WriteSession


class ApprovalRequestRow(Base):
    __tablename__ = "approval_requests"
    __table_args__ = (
        UniqueConstraint("run_id", "revision"),
        Index("ix_approval_requests_open", "expires_at", postgresql_where=text("state = 'open'")),
        Index("ix_approval_requests_due", "next_due", postgresql_where=text("state = 'open'")),
        Index("ix_approval_requests_audience", "audience", "expires_at", "run_id", postgresql_where=text("state = 'open'")),
        Index("ix_approval_requests_uncounted", "closed_at", postgresql_where=text("state <> 'open' AND NOT counted")),
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
    next_due: Mapped[datetime | None]
    stage: Mapped[int] = mapped_column(server_default=text("0"))
    reminded_at: Mapped[datetime | None]
    first_vote_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    valid_until: Mapped[datetime | None]
    via: Mapped[str] = mapped_column(server_default=text("''"))
    audience: Mapped[UUID | None]
    voters: Mapped[str | None]
    counted: Mapped[bool] = mapped_column(server_default=text("false"))


class DecisionRow(Base):
    __tablename__ = "decisions"
    __table_args__ = (
        Index("uq_decisions_request_id_person", "request_id", "person", unique=True, postgresql_where=text("withdrawn_at IS NULL")),
        Index("ix_decisions_run_id", "run_id"),
        Index("ix_decisions_request_id", "request_id"),
        Index("ix_decisions_person", "person", "decided_at"),
    )

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
    stage: Mapped[int] = mapped_column(server_default=text("0"))
    on_behalf: Mapped[str] = mapped_column(server_default=text("''"))
    proof: Mapped[dict[str, Any] | None]
    withdrawn_at: Mapped[datetime | None]


# Made once: each click asks them, and making one takes SQLAlchemy longer than Postgres takes to answer.
_LATEST: Final = (
    select(ApprovalRequestRow)
    .where(ApprovalRequestRow.run_id == bindparam("run"))
    .order_by(ApprovalRequestRow.revision.desc())
    .limit(1)
    .execution_options(populate_existing=True)
)
_LOCKED: Final = _LATEST.with_for_update()
_DECISIONS: Final = (
    select(DecisionRow)
    .where(DecisionRow.request_id == any_(bindparam("requests", type_=ARRAY(Uuid))))
    .order_by(DecisionRow.decided_at, DecisionRow.id)
    .execution_options(populate_existing=True)
)
_STANDING: Final = _DECISIONS.where(DecisionRow.withdrawn_at.is_(None))


@dataclass(frozen=True)
class NewRequest:
    """An approval request about to be opened. `expires` and `due`, when something has to happen first, are in seconds from now.

    `audience` is whom it waits for; without one everybody's inbox has to look whether it waits for them.
    """

    id: UUID
    run_id: UUID
    revision: int
    digest: str
    rule: dict[str, Any]
    policy: str
    expires: float
    due: float | None = None
    state: str = "open"
    via: str = ""
    valid: float | None = None
    audience: UUID | None = None
    plan: dict[str, Any] | None = None


class RequestPlanRow(Base):
    """The plan that a request is about. Whether it is that plan, its digest says, which the record holds."""

    __tablename__ = "request_plans"

    request_id: Mapped[UUID] = mapped_column(ForeignKey("approval_requests.id"), primary_key=True)
    plan: Mapped[dict[str, Any]]


async def find_asked(session: ReadSession, run_id: UUID) -> dict[int, tuple[ApprovalRequestRow, dict[str, Any] | None]]:
    """Every request of a run by its revision, with its plan if it was kept."""
    query = select(ApprovalRequestRow, RequestPlanRow.plan).outerjoin(RequestPlanRow, RequestPlanRow.request_id == ApprovalRequestRow.id)
    rows = await session.execute(query.where(ApprovalRequestRow.run_id == run_id).order_by(ApprovalRequestRow.revision))
    return {request.revision: (request, plan) for request, plan in rows}


async def open_requests(session: WriteSession, requests: Sequence[NewRequest]) -> None:
    """Opens requests; one already open for the same run and revision is left as it is."""
    for one in requests:
        await session.execute(
            text(
                "WITH old AS (UPDATE approval_requests SET state = 'superseded', closed_at = countersign_now()"
                " WHERE run_id = :run AND revision < :revision AND state = 'open')"
                ", moment AS MATERIALIZED (SELECT countersign_now() AS now)"
                ", opened AS (INSERT INTO approval_requests (id, run_id, revision, digest, rule, policy, opened_at, expires_at, next_due,"
                " state, via, audience, valid_until)"
                " SELECT :id, :run, :revision, :digest, cast(:rule AS jsonb), :policy, now, now + cast(:expires AS interval),"
                " now + cast(:due AS interval), :state, :via, :audience,"
                " greatest(now, (SELECT start_at FROM runs WHERE id = :run)) + cast(:valid AS interval) FROM moment"
                " ON CONFLICT (run_id, revision) DO NOTHING RETURNING id)"
                " INSERT INTO request_plans (request_id, plan) SELECT id, cast(:plan AS jsonb) FROM opened"
                " WHERE cast(:plan AS jsonb) IS NOT NULL"
            ),
            {
                "id": one.id,
                "plan": None if one.plan is None else Jsonb(one.plan),
                "run": one.run_id,
                "revision": one.revision,
                "digest": one.digest,
                "rule": Jsonb(one.rule),
                "policy": one.policy,
                "expires": f"{one.expires} seconds",
                "state": one.state,
                "via": one.via,
                "audience": one.audience,
                "valid": None if one.valid is None else f"{one.valid} seconds",
                "due": f"{one.expires if one.due is None else one.due} seconds",
            },
        )


async def find_request(session: ReadSession, run_id: UUID) -> ApprovalRequestRow | None:
    """The latest request of a run, open or not."""
    return (await session.scalars(_LATEST, {"run": run_id})).first()


async def find_requests(session: ReadSession, run_ids: Collection[UUID]) -> dict[UUID, ApprovalRequestRow]:
    """The latest request of each of these runs that has one, open or not."""
    if not run_ids:
        return {}
    row = ApprovalRequestRow
    latest = select(row).ext(distinct_on(row.run_id)).where(row.run_id == any_(literal(list(run_ids), ARRAY(Uuid))))
    query = latest.order_by(row.run_id, row.revision.desc()).execution_options(populate_existing=True)
    return {one.run_id: one for one in await session.scalars(query)}


async def lock_request(session: WriteSession, run_id: UUID) -> ApprovalRequestRow | None:
    """The latest request, locked until the transaction ends: clicks at the same instant are decided one after the other."""
    return (await session.scalars(_LOCKED, {"run": run_id})).first()


async def find_decisions(session: ReadSession, request_id: UUID, *, withdrawn: bool = False) -> list[DecisionRow]:
    """The decisions on one request, first to last; those taken back only when `withdrawn` says so."""
    return list(await session.scalars(_DECISIONS if withdrawn else _STANDING, {"requests": [request_id]}))


async def find_standing(session: ReadSession, request_ids: Collection[UUID]) -> dict[UUID, list[DecisionRow]]:
    """The decisions on these requests that were not taken back, first to last."""
    found: dict[UUID, list[DecisionRow]] = {one: [] for one in request_ids}
    for row in await session.scalars(_STANDING, {"requests": list(found)}) if found else ():
        found[row.request_id].append(row)
    return found


async def find_decided_by(session: ReadSession, person: str, *, limit: int) -> list[UUID]:
    """The runs that this person decided on last, newest first; what was taken back counts as well."""
    query = select(DecisionRow.run_id).where(DecisionRow.person == person).order_by(DecisionRow.decided_at.desc()).limit(limit)
    return list(await session.scalars(query))


async def add_decision(session: WriteSession, decision: DecisionRow) -> bool:
    """Records what a person said, and tells the row when that was; False when they have already decided on this request."""
    names = ("id", "request_id", "run_id", "person", "verdict", "reason", "digest", "door", "policy", "stage", "on_behalf")
    voted = await session.execute(
        text(
            "WITH voted AS (INSERT INTO decisions"
            " (id, request_id, run_id, person, verdict, reason, digest, door, policy, stage, on_behalf, proof)"
            " VALUES (:id, :request_id, :run_id, :person, :verdict, :reason, :digest, :door, :policy, :stage, :on_behalf,"
            " cast(:proof AS jsonb)) ON CONFLICT (request_id, person) WHERE withdrawn_at IS NULL DO NOTHING"
            " RETURNING request_id, decided_at),"
            " first AS (UPDATE approval_requests r SET first_vote_at = v.decided_at FROM voted v"
            " WHERE r.id = v.request_id AND r.first_vote_at IS NULL) SELECT decided_at FROM voted"
        ),
        {name: getattr(decision, name) for name in names} | {"proof": None if decision.proof is None else Jsonb(decision.proof)},
    )
    if (row := voted.first()) is None:
        return False
    decision.decided_at = row.decided_at
    return True


async def take_back(session: WriteSession, request_id: UUID, *, person: str) -> DecisionRow | None:
    """Marks this person's decision as taken back and returns it; None when there is none."""
    rows = await session.scalars(
        update(DecisionRow)
        .where(DecisionRow.request_id == request_id, DecisionRow.person == person, DecisionRow.withdrawn_at.is_(None))
        .values(withdrawn_at=func.countersign_now())
        .returning(DecisionRow)
    )
    return rows.first()


async def close_request(session: WriteSession, request_id: UUID, *, state: str, via: str = "", valid: float | None = None) -> bool:
    """Ends an open request as approved, denied, expired or superseded; False when it had ended already.

    `via` names what approved it in the place of people. `valid` is how many seconds from now, or from the wanted start, it may wait for
    its execution.
    """
    row = await session.execute(
        text(
            "UPDATE approval_requests a SET state = :state, via = :via, closed_at = countersign_now(), next_due = NULL,"
            " valid_until = greatest(countersign_now(), r.start_at) + cast(:valid AS interval)"
            " FROM runs r WHERE r.id = a.run_id AND a.id = :id AND a.state = 'open' RETURNING 1"
        ),
        {"id": request_id, "state": state, "via": via, "valid": None if valid is None else f"{valid} seconds"},
    )
    return row.first() is not None


async def prolong(session: WriteSession, request_id: UUID, *, until: datetime) -> None:
    """Keeps an approval that is still valid so until then, because what it allows may not start before."""
    await session.execute(
        text(
            "UPDATE approval_requests SET valid_until = greatest(valid_until, :until)"
            " WHERE id = :id AND state = 'approved' AND valid_until > countersign_now()"
        ),
        {"id": request_id, "until": until},
    )


async def reopen_request(session: WriteSession, request_id: UUID) -> bool:
    """Opens an approved request again, because an approval was taken back; False when its time to decide is over by now."""
    row = await session.execute(
        text(
            "UPDATE approval_requests SET state = 'open', closed_at = NULL, valid_until = NULL, next_due = countersign_now(),"
            " audience = NULL, voters = NULL WHERE id = :id AND state = 'approved' RETURNING expires_at > countersign_now() AS in_time"
        ),
        {"id": request_id},
    )
    return bool(row.scalar_one_or_none())


async def supersede_requests(session: WriteSession, run_id: UUID) -> None:
    """Voids the requests of a run, also one that is approved already: what they were about is not asked any more."""
    await session.execute(
        text(
            "UPDATE approval_requests SET state = 'superseded', closed_at = countersign_now(), next_due = NULL"
            " WHERE run_id = :run AND state IN ('open', 'approved')"
        ),
        {"run": run_id},
    )


async def note_stage(
    session: WriteSession, request_id: UUID, *, stage: int, next_due: datetime | None, audience: UUID, reminded: bool = False
) -> None:
    """Writes down which stage votes now, whom it waits for, and when something has to happen next."""
    await session.execute(
        text(
            "UPDATE approval_requests SET stage = :stage, next_due = :due, audience = :audience,"
            " voters = CASE WHEN audience = :audience THEN voters END,"
            " reminded_at = CASE WHEN :reminded THEN countersign_now() ELSE reminded_at END WHERE id = :id AND state = 'open'"
        ),
        {"id": request_id, "stage": stage, "due": next_due, "audience": audience, "reminded": reminded},
    )


async def call_for_tending(session: WriteSession, request_id: UUID) -> None:
    """Has an open request tended at the next sweep; until then everybody's inbox looks whether it waits for them."""
    await session.execute(
        text(
            "UPDATE approval_requests SET next_due = least(next_due, countersign_now()), audience = NULL, voters = NULL"
            " WHERE id = :id AND state = 'open'"
        ),
        {"id": request_id},
    )


async def find_due_requests(session: ReadSession, *, limit: int) -> list[UUID]:
    """Runs whose open request needs something now: a reminder, an escalation, a stage to be skipped, its end."""
    rows = await session.execute(
        text("SELECT run_id FROM approval_requests WHERE state = 'open' AND next_due <= countersign_now() ORDER BY next_due LIMIT :limit"),
        {"limit": limit},
    )
    return [row.run_id for row in rows]


async def leave_until_the_end(session: WriteSession, run_id: UUID) -> bool:
    """Has a request that nobody can read left alone until its time is over; False when that is so already."""
    row = await session.execute(
        text(
            "UPDATE approval_requests SET next_due = expires_at WHERE run_id = :run AND state = 'open'"
            " AND expires_at > countersign_now() RETURNING 1"
        ),
        {"run": run_id},
    )
    return row.first() is not None


def as_decision(row: DecisionRow) -> Decision:
    """The row as the pure rule reads it."""
    return Decision(row.person, Verdict(row.verdict), row.digest, row.decided_at, row.stage, row.on_behalf)


async def postpone(session: WriteSession, run_id: UUID, start_at: datetime) -> None:
    """Puts the start of a run that waits for an approval off; it never becomes an earlier one."""
    await session.execute(
        text("UPDATE runs SET start_at = greatest(start_at, :at) WHERE id = :id AND status = 'awaiting_approval'"),
        {"id": run_id, "at": start_at},
    )


async def note_outcome(session: WriteSession, run_id: UUID, sentence: str) -> None:
    """What a run that waits for an approval tells, for instance that nobody can give it; changes nothing else."""
    await session.execute(
        text("UPDATE runs SET outcome = :sentence WHERE id = :id AND status = 'awaiting_approval' AND outcome <> :sentence"),
        {"id": run_id, "sentence": sentence},
    )
