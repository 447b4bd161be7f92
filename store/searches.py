"""What runs and events are found by: words of theirs in two tables that a housekeeper fills in the order of the sealed record.

Births and moves write nothing here. What was recorded since the housekeeper's last turn is looked at as it is, so that a search misses
nothing; it only takes longer while the housekeeper is behind.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, Index, text
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base
from .databases import ReadSession, WriteSession

BLOCKS: Final = 5
"""How many sealed blocks, of at most 1,000 events each, are taken in at a time."""


class MarkRow(Base):
    """How far something that follows the record has come: its last block, that block's last moment in microseconds, and when."""

    __tablename__ = "audit_marks"

    name: Mapped[str] = mapped_column(primary_key=True)
    block: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    at_us: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    noted_at: Mapped[datetime] = mapped_column(server_default=text("countersign_now()"))


class RunSearchRow(Base):
    """The words of a run as it is; see migration 0027 for which."""

    __tablename__ = "run_searches"
    __table_args__ = (Index("ix_run_searches_words", "words", postgresql_using="gin"),)

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    created_at: Mapped[datetime]
    words: Mapped[str] = mapped_column(TSVECTOR)


class EventSearchRow(Base):
    """The words of an event."""

    __tablename__ = "event_searches"
    __table_args__ = (Index("ix_event_searches_words", "words", postgresql_using="gin"),)

    at_us: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    words: Mapped[str] = mapped_column(TSVECTOR)


@dataclass(frozen=True)
class Words:
    """What is looked for. `typed` is as people type it: every word must begin one of what is found, `name=value` be an argument of it.

    Of each of `exact`, which are lexemes without quotes (`=status:failed`), one must be there.
    """

    typed: str = ""
    exact: Sequence[Sequence[str]] = ()

    def __bool__(self) -> bool:
        return bool(self.typed.split() or self.exact)

    def values(self) -> dict[str, Any]:
        """The parameters of QUERY."""
        words = [_shortened(one) for one in self.typed.lower().split()[:20]]
        parsed = [one.replace("\0", "") for one in words if not _PLAIN.fullmatch(one) and "=" not in one]
        given = " & ".join(map(_lexeme, words))
        same = " & ".join(_lexeme(one) for one in words if _PLAIN.fullmatch(one) or "=" in one)
        exact = " & ".join(f"({' | '.join(map(_quoted, one))})" for one in self.exact)
        return {"given": given, "parsed": parsed, "same": same, "exact": exact}


# A word as it was typed may be a whole lexeme (`ada@example.test`), or be taken apart by the parser of texts (`ops-12`).
QUERY: Final = """(cast(:exact AS tsquery) && (cast(:given AS tsquery)
    || (cast(:same AS tsquery) && countersign_parts_query(cast(:parsed AS text[])))))"""


async def index_blocks(session: WriteSession) -> int:
    """Takes in the next sealed blocks, and counts the half hours whose runs they tell of anew; returns how many blocks.

    Of several processes one does it, the others take none.
    """
    taken = (await session.execute(_INDEX, {"most": BLOCKS})).one()
    if taken.slots:
        await session.execute(text("SELECT countersign_count_slots(:slots)"), {"slots": taken.slots})
    return int(taken.blocks)


async def find_lag(session: ReadSession) -> float:
    """By how many seconds what is found by words is behind what is recorded."""
    return float((await session.execute(_LAG)).scalar_one())


async def find_numbers(
    session: ReadSession,
    words: Words,
    *,
    before: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int,
) -> list[int]:
    """The numbers of runs with these words, newest first; born from `since` on and before `until`."""
    values: Mapping[str, Any] = {"before": before, "since": since, "until": until, "limit": limit}
    return list(await session.scalars(_RUNS, {**words.values(), **values}))


async def matching(session: ReadSession, numbers: Sequence[int], typed: str) -> set[int]:
    """Those of a few runs that have these words, as they are now."""
    rows = await session.scalars(_MATCHING, {**Words(typed).values(), "numbers": list(numbers)})
    return set(rows)


async def find_places(
    session: ReadSession, words: Words, *, before: tuple[int, int] | None, since_us: int | None, until_us: int | None, limit: int
) -> list[tuple[int, int]]:
    """The places of events with these words in the order of time, newest first: microseconds and order of insertion."""
    at_us, seq = before or (_LAST, _LAST)
    values = {"at_us": at_us, "seq": seq, "since": since_us or 0, "until": _LAST if until_us is None else until_us, "limit": limit}
    return [(row.at_us, row.seq) for row in await session.execute(_EVENTS, {**words.values(), **values})]


def lexemes(name: str, values: Iterable[str]) -> list[str]:
    """Exact lexemes of one kind, any of which will do: `=status:failed`."""
    return [f"={name}:{one[:100]}" for one in values]


def _lexeme(word: str) -> str:
    """A word as a query of its lexeme: the beginning of it, but for an argument with its value."""
    name, _, value = word.partition("=")
    return _quoted(word) + ("" if name and value else ":*")


def _quoted(word: str) -> str:
    return "'" + word.replace("\\", "\\\\").replace("'", "''").replace("\0", "") + "'"


def _shortened(word: str) -> str:
    """Of a digest the beginning is kept."""
    return word[:16] if _DIGEST.fullmatch(word) else word[:200]


_LAST: Final = 2**62
_PLAIN: Final = re.compile(r"\w+")
_DIGEST: Final = re.compile(r"[0-9a-f]{17,64}")
# The sealer orders events by membership and not by time, so that a block once there is whole, and no event is missed for being late.
_INDEX: Final = text("""
WITH mark AS MATERIALIZED (SELECT block FROM audit_marks WHERE name = 'searched' FOR UPDATE SKIP LOCKED),
blocks AS MATERIALIZED (SELECT n, last_us FROM audit_blocks WHERE n > (SELECT block FROM mark) ORDER BY n LIMIT :most),
events AS MATERIALIZED (SELECT e.* FROM blocks b JOIN audit_leaves l ON l.block = b.n JOIN audit_events e ON e.id = l.event_id),
told AS (INSERT INTO event_searches (at_us, seq, words)
         SELECT at_us, seq, countersign_event_words(kind, actor, audit_detail(canonical, payload)) FROM events
         ON CONFLICT DO NOTHING),
touched AS MATERIALIZED (SELECT r.created_at FROM (SELECT DISTINCT run_id FROM events) e JOIN runs r ON r.id = e.run_id),
kept AS (INSERT INTO run_searches AS s (number, created_at, words)
         SELECT r.number, r.created_at, countersign_run_words(r) FROM (SELECT DISTINCT run_id FROM events) e JOIN runs r ON r.id = e.run_id
         ON CONFLICT (number) DO UPDATE SET words = excluded.words WHERE s.words <> excluded.words),
noted AS (UPDATE audit_marks SET block = b.block, at_us = greatest(at_us, b.last_us), noted_at = countersign_now()
          FROM (SELECT max(n) AS block, max(last_us) AS last_us FROM blocks) b WHERE name = 'searched' AND b.block IS NOT NULL)
SELECT count(*) AS blocks, ARRAY(SELECT DISTINCT date_bin('30 minutes', created_at, '2000-01-01 00:00:00+00') FROM touched ORDER BY 1)
       AS slots FROM blocks
""")
_LAG: Final = text("""
SELECT greatest(0, (SELECT max(at_us) FROM audit_events) - (SELECT at_us FROM audit_marks WHERE name = 'searched')) / 1000000.0
       * ((SELECT max(n) FROM audit_blocks) IS DISTINCT FROM (SELECT block FROM audit_marks WHERE name = 'searched')
          OR EXISTS (SELECT FROM audit_unsealed))::int
""")
_RUNS: Final = text(f"""
SELECT * FROM countersign_search_runs({QUERY}, least(cast(:before AS bigint),
        CASE WHEN cast(:until AS timestamptz) IS NULL THEN 9223372036854775807
             ELSE countersign_number_at(cast(:until AS timestamptz) + interval '1 minute') END),
    CASE WHEN cast(:since AS timestamptz) IS NULL THEN 0 ELSE countersign_number_at(cast(:since AS timestamptz) - interval '1 minute') END,
    coalesce(cast(:since AS timestamptz), '-infinity'), coalesce(cast(:until AS timestamptz), 'infinity'), :limit)
""")  # noqa: S608  built from constants
_MATCHING: Final = text(f"SELECT r.number FROM runs r WHERE r.number = ANY(:numbers) AND countersign_run_words(r) @@ {QUERY}")  # noqa: S608
_EVENTS: Final = text(f"SELECT at_us, seq FROM countersign_search_events({QUERY}, :at_us, :seq, :since, :until, :limit)")  # noqa: S608
