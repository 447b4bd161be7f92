"""What the record says, counted once for each event as its block is sealed: how steps and runs ended, how soon they were taken up."""

from typing import Final

from sqlalchemy import BigInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from countersign.runs import FINISHED, RunStatus

from .bases import Base
from .databases import WriteSession
from .journals import StepState

SOON: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, float("inf"))
"""Upper bounds of the histograms of starts, in seconds."""
STARTS: Final = {"run:planning": ("start:planning", "run:submitted"), "run:running": ("start:executing", "run:queued")}
"""Which event is a start, the figure it is counted as, and what has to have come before it: the time since then is what counts."""
ENDS: Final = tuple(sorted(f"run:{one}" for one in (*FINISHED, RunStatus.interrupted)))
STEPS: Final = tuple(f"step:{one}" for one in (StepState.done, StepState.failed, StepState.waiting, StepState.not_done))
RECLAIMED: Final = "run:reclaimed"
BLOCKS: Final = 20


class CountedRow(Base):
    """The last block whose events are counted; one row."""

    __tablename__ = "counted_blocks"

    block: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


async def count_blocks(session: WriteSession) -> int:
    """Counts the events of the next blocks, at most BLOCKS of them, into the service levels, and what was done twice into the promises.

    Returns how many blocks there were. Any number of processes may do it: one of them does.
    """
    values = {
        "blocks": BLOCKS,
        "counted": [*ENDS, *STEPS, RECLAIMED],
        "ends": list(ENDS),
        "finished": [f"run:{one}" for one in FINISHED],
        "bounds": list(SOON),
    }
    return int((await session.execute(_COUNT, values)).scalar_one())


_BEFORE: Final = """SELECT p.kind, p.at_us FROM audit_events p WHERE p.run_id = e.run_id AND p.kind LIKE 'run:%'
                    AND (p.at_us, p.seq) < (e.at_us, e.seq) ORDER BY p.at_us DESC, p.seq DESC LIMIT 1"""
_STARTED: Final = "\nUNION ALL ".join(
    f"""SELECT r.command, '{figure}' AS figure,
       greatest(0, (e.at_us - greatest(p.at_us, (extract(epoch FROM r.start_at) * 1000000)::bigint)) / 1000000.0)::float8 AS seconds
FROM events e JOIN runs r ON r.id = e.run_id CROSS JOIN LATERAL ({_BEFORE}) p WHERE e.kind = '{kind}' AND p.kind = '{before}'"""  # noqa: S608  built from constants
    for kind, (figure, before) in STARTS.items()
)
# The second `done` of one step, or the second end of one run: that is what doing a thing twice looks like in the record.
_COUNT: Final = text(f"""
WITH due AS MATERIALIZED (SELECT block FROM counted_blocks FOR UPDATE SKIP LOCKED),
span AS MATERIALIZED (SELECT d.block AS after, max(b.n) AS upto, count(*) AS n FROM due d CROSS JOIN LATERAL
        (SELECT n FROM audit_blocks WHERE n > d.block ORDER BY n LIMIT :blocks) b GROUP BY d.block),
events AS MATERIALIZED (SELECT e.seq, e.at_us, e.kind, e.run_id FROM span s JOIN audit_leaves l ON l.block > s.after AND l.block <= s.upto
        JOIN audit_events e ON e.id = l.event_id WHERE e.run_id IS NOT NULL AND left(e.kind, 4) IN ('run:', 'step')),
started AS ({_STARTED}),
told AS (SELECT r.command, e.kind AS figure, 0::float8 AS bound, 0::float8 AS seconds
         FROM events e JOIN runs r ON r.id = e.run_id WHERE e.kind = ANY(:counted)
         UNION ALL SELECT command, figure, (SELECT min(b) FROM unnest(cast(:bounds AS float8[])) b WHERE b >= seconds), seconds
         FROM started),
summed AS (SELECT command, figure, bound, count(*) AS n, sum(seconds) AS seconds FROM told GROUP BY command, figure, bound
           ORDER BY command, figure, bound),
kept AS (INSERT INTO service_levels AS s (command, asked, figure, bound, count, seconds)
         SELECT command, '', figure, bound, n, seconds FROM summed
         ON CONFLICT (command, asked, figure, bound)
         DO UPDATE SET count = s.count + excluded.count, seconds = s.seconds + excluded.seconds),
again AS (SELECT a.seq, a.run_id, a.kind, row_number() OVER (PARTITION BY a.run_id, a.sort ORDER BY a.at_us, a.seq) AS nth
          FROM (SELECT run_id FROM events WHERE kind = 'step:done' OR kind = ANY(:finished) GROUP BY run_id) t CROSS JOIN LATERAL
          (SELECT seq, at_us, run_id, kind, CASE WHEN kind = 'step:done' THEN jsonb_build_array(canonical::jsonb #> '{{detail,position}}',
                  canonical::jsonb #> '{{detail,phase}}') ELSE '[]' END AS sort
           FROM audit_events WHERE run_id = t.run_id AND (kind = 'step:done' OR kind = ANY(:finished))) a),
twice AS (SELECT CASE a.kind WHEN 'step:done' THEN 'step' ELSE 'end' END AS what, count(*) AS n, max(r.number) AS number
          FROM again a JOIN events e ON e.seq = a.seq JOIN runs r ON r.id = a.run_id WHERE a.nth > 1 GROUP BY 1),
broken AS (UPDATE promises p SET count = p.count + t.n, example = 'run ' || t.number, broken_at = countersign_now()
           FROM twice t WHERE p.promise = 'doubled' AND p.what = t.what),
done AS (UPDATE counted_blocks c SET block = s.upto FROM span s RETURNING s.n)
SELECT coalesce(sum(n), 0) FROM done
""")  # noqa: S608  built from constants
