"""Service levels of approvals: how soon people answered, counted once for every request that has ended; and what is open now."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import BigInteger, Double, text
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base
from .databases import ReadSession, WriteSession

BOUNDS: Final = (10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 28_800.0, 86_400.0, 259_200.0, float("inf"))
"""Upper bounds of the histograms, in seconds: from ten seconds to three days."""
FIRST_VOTE: Final = "first_vote"
DECISION: Final = "decision"
ENDED: Final = "ended:"
BATCH: Final = 500


class LevelRow(Base):
    """`figure` is `first_vote` or `decision`, with the smallest of BOUNDS that its times did not exceed, or `ended:STATE`, with bound 0."""

    __tablename__ = "service_levels"

    command: Mapped[str] = mapped_column(primary_key=True)
    asked: Mapped[str] = mapped_column(primary_key=True)
    figure: Mapped[str] = mapped_column(primary_key=True)
    bound: Mapped[float] = mapped_column(Double, primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)
    seconds: Mapped[float] = mapped_column(Double)


@dataclass(frozen=True)
class Level:
    """How many of the requests of `command`, asked of `asked`, have this figure; `seconds` is the sum of their times."""

    command: str
    asked: str
    figure: str
    bound: float
    count: int
    seconds: float


@dataclass(frozen=True)
class Open:
    """What is open now: how many requests, and for how many seconds the oldest."""

    command: str
    asked: str
    count: int
    oldest: float


async def count_ended(session: WriteSession) -> int:
    """Counts requests that have ended and were not counted yet, at most BATCH; returns how many. Any number of processes may do it."""
    counted = (await session.execute(_COUNT, {"bounds": list(BOUNDS), "batch": BATCH})).one()
    return int(counted.counted)


async def find_levels(session: ReadSession) -> list[Level]:
    """All that was counted, by command, whom it asked, figure and bound."""
    rows = await session.execute(
        text("SELECT command, asked, figure, bound, count, seconds FROM service_levels ORDER BY command, asked, figure, bound")
    )
    return [Level(*row) for row in rows]


async def find_open(session: ReadSession) -> list[Open]:
    """The open requests, by command and by whom they ask."""
    return [Open(command, asked, int(count), float(oldest)) for command, asked, count, oldest in await session.execute(_OPEN)]


# Whom a rule asks, as a label: `sre`, `deploy:approve`, `leads, person:max`.
_ASKED: Final = """left(coalesce(nullif(rule->>'by', ''), (
  SELECT string_agg(DISTINCT regexp_replace(one #>> '{}', '^(group|permission):', ''), ', ')
  FROM jsonb_path_query(rule, '$.stages[*].sets[*].of[*]') one), ''), 120)"""
_COUNT: Final = text(f"""
WITH chosen AS (SELECT id FROM approval_requests WHERE state <> 'open' AND NOT counted ORDER BY closed_at LIMIT :batch
                FOR UPDATE SKIP LOCKED),
ended AS (UPDATE approval_requests a SET counted = true FROM chosen c, runs r WHERE a.id = c.id AND r.id = a.run_id
          RETURNING r.command, a.rule, a.via, a.state, a.opened_at, a.first_vote_at, a.closed_at),
told AS (SELECT command, {_ASKED} AS asked, CASE WHEN via LIKE 'standing:%' THEN 'standing' ELSE state END AS state,
                extract(epoch FROM first_vote_at - opened_at)::float8 AS first_vote,
                CASE WHEN state IN ('approved', 'denied') AND via = ''
                     THEN extract(epoch FROM closed_at - opened_at)::float8 END AS decision
         FROM ended),
figures AS (SELECT command, asked, '{FIRST_VOTE}' AS figure, first_vote AS seconds FROM told WHERE first_vote IS NOT NULL
            UNION ALL SELECT command, asked, '{DECISION}', decision FROM told WHERE decision IS NOT NULL
            UNION ALL SELECT command, asked, '{ENDED}' || state, NULL FROM told),
added AS (INSERT INTO service_levels (command, asked, figure, bound, count, seconds)
          SELECT command, asked, figure, bound, count(*), coalesce(sum(seconds), 0) FROM (
            SELECT f.*, coalesce((SELECT min(b) FROM unnest(cast(:bounds AS float8[])) b WHERE b >= f.seconds), 0) AS bound
            FROM figures f) placed
          GROUP BY command, asked, figure, bound ORDER BY command, asked, figure, bound
          ON CONFLICT (command, asked, figure, bound) DO UPDATE SET count = service_levels.count + excluded.count,
          seconds = service_levels.seconds + excluded.seconds)
SELECT count(*) AS counted FROM ended
""")  # noqa: S608  built from constants
_OPEN: Final = text(f"""
SELECT command, asked, sum(n) AS count, greatest(0, extract(epoch FROM countersign_now() - min(first))) AS oldest FROM (
  SELECT x.asked->>'command' AS command, coalesce({_ASKED.replace("rule", "x.asked")}, '') AS asked, o.n, o.first
  FROM (SELECT audience, count(*) AS n, min(opened_at) AS first FROM approval_requests WHERE state = 'open' AND audience IS NOT NULL
        GROUP BY audience) o JOIN audiences x ON x.id = o.audience
  UNION ALL
  SELECT r.command, {_ASKED}, 1, a.opened_at FROM approval_requests a JOIN runs r ON r.id = a.run_id
  WHERE a.state = 'open' AND a.audience IS NULL) waiting
GROUP BY command, asked ORDER BY command, asked
""")  # noqa: S608  built from constants
