"""What people say about a run, in order; every card of the run shows it beneath itself, as replies in its thread."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, select, text
from sqlalchemy.orm import Mapped, aliased, mapped_column

from .bases import Base, Identifier, Stamp, new_id
from .databases import ReadSession, WriteSession
from .messages import Priority

SHOWN: Final = 200


class ConversationRow(Base):
    __tablename__ = "conversations"
    __table_args__ = (Index("ix_conversations_run_id", "run_id", "n"),)

    id: Mapped[Identifier]
    n: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"))
    kind: Mapped[str]
    person: Mapped[str] = mapped_column(ForeignKey("people.name"))
    said: Mapped[str]
    about: Mapped[UUID | None]
    at: Mapped[Stamp]


@dataclass(frozen=True)
class NewLine:
    """One line about to be said: `said` goes on after the person's name. `about` is the question that an answer belongs to."""

    run_id: UUID
    kind: str
    person: str
    said: str
    about: UUID | None = None
    id: UUID = field(default_factory=new_id)


@dataclass(frozen=True)
class Line:
    """One line as it was said."""

    kind: str
    person: str
    said: str
    at: datetime
    id: UUID
    about: UUID | None

    @property
    def whole(self) -> str:
        return f"{self.person} {self.said}"


_LINES: Final = """INSERT INTO messages (id, run_id, kind, platform, team, channel, person, remote_channel, card, follows, line, priority,
                                            due_at)
SELECT gen_random_uuid(), m.run_id, 'reply', m.platform, m.team, m.channel, m.person, m.remote_channel,
       jsonb_build_object('text', c.person || ' ' || c.said), m.id, c.n, {priority}, countersign_now()
FROM {cards} m JOIN {said} c ON c.run_id = m.run_id JOIN runs r ON r.id = m.run_id
WHERE m.kind <> 'reply' AND (m.person <> '' OR r.visibility = 'staff') ON CONFLICT DO NOTHING"""


def beneath(cards: str, said: str) -> str:
    """How a statement puts lines of `said` beneath `cards`, once in each place; a card that has to be told again goes first.

    A shared card of a private run shows nothing, so nothing stands beneath it.
    """
    return _LINES.format(cards=cards, said=said, priority=Priority.line)


_CARDS: Final = """(SELECT DISTINCT ON (platform, team, channel, person) * FROM messages WHERE run_id = :run_id AND kind <> 'reply'
 ORDER BY platform, team, channel, person, created_at DESC)"""

_SAY = text(f"""
WITH told AS (INSERT INTO conversations (id, run_id, kind, person, said, about)
              VALUES (:id, :run_id, :kind, :person, :said, :about) RETURNING run_id, person, said, n),
beneath AS ({beneath(_CARDS, "told")} RETURNING 1)
SELECT pg_notify('countersign_work', 'messages') FROM beneath LIMIT 1
""")  # noqa: S608  built from constants


async def say(session: WriteSession, line: NewLine) -> None:
    """Keeps the line and has it shown wherever the run is, beneath the newest card there.

    The caller holds the run or its request locked, so that lines have one order and a card that is just being added misses none.
    """
    await session.execute(_SAY, line.__dict__)


async def find_lines(session: ReadSession, run_id: UUID, *, last: int = SHOWN) -> list[Line]:
    """The last lines about a run, first to last."""
    query = select(ConversationRow).where(ConversationRow.run_id == run_id).order_by(ConversationRow.n.desc()).limit(last)
    return [_line(one) for one in reversed(list(await session.scalars(query)))]


async def count_lines(session: ReadSession, run_id: UUID, *, most: int) -> int:
    """How many lines there are about a run, counted up to `most`."""
    row = await session.execute(
        text("SELECT count(*) FROM (SELECT 1 FROM conversations WHERE run_id = :run LIMIT :most) AS counted"),
        {"run": run_id, "most": most},
    )
    return int(row.scalar_one())


async def find_question(session: ReadSession, question: UUID) -> tuple[UUID, Line] | None:
    """The run and the question with this id."""
    row = (await session.scalars(select(ConversationRow).where(ConversationRow.id == question, ConversationRow.kind == "question"))).first()
    return (row.run_id, _line(row)) if row else None


async def find_unanswered(session: ReadSession, run_id: UUID) -> list[Line]:
    """The questions about a run that nobody has answered, first to last."""
    asked, answer = aliased(ConversationRow), aliased(ConversationRow)
    answered = select(answer.id).where(answer.run_id == run_id, answer.about == asked.id)
    query = select(asked).where(asked.run_id == run_id, asked.kind == "question", ~answered.exists()).order_by(asked.n).limit(SHOWN)
    return [_line(one) for one in await session.scalars(query)]


def _line(row: ConversationRow) -> Line:
    return Line(row.kind, row.person, row.said, row.at, row.id, row.about)
