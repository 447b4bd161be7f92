"""Who may, what was asked, and what happened."""

from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import ForeignKey, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """The tables of this stack."""


class Grant(Base):
    """One permission of one Slack user."""

    __tablename__ = "grants"

    user_id: Mapped[str] = mapped_column(primary_key=True)
    permission: Mapped[str] = mapped_column(primary_key=True)


class Run(Base):
    """One slash command that was asked."""

    __tablename__ = "runs"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    user_id: Mapped[str] = mapped_column(index=True)
    channel_id: Mapped[str]
    command: Mapped[str]
    text: Mapped[str]
    response_url: Mapped[str]
    status: Mapped[str] = mapped_column(index=True, default="submitted")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    # Without a relationship the unit of work would not know to insert the run before its events.
    events: Mapped[list["AuditEvent"]] = relationship(back_populates="run")


class AuditEvent(Base):
    """One fact about a run."""

    __tablename__ = "audit_events"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"))
    kind: Mapped[str]
    actor: Mapped[str]
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    run: Mapped[Run] = relationship(back_populates="events")
