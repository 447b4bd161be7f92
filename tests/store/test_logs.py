"""A run's log: kept in chunks, read line by line, and a reader who goes on misses none and sees none twice."""

import asyncio
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as some

from countersign.runs import RunStatus
from store.databases import reading, transaction
from store.journals import Phase, StepKey
from store.logs import LETTERS_A_CHUNK, LINES_A_CHUNK, _chunks, add_lines, find_lines, read_on
from store.runs import Move
from tests.store.tables import Tables


async def executing(tables: Tables) -> StepKey:
    run = await tables.run(RunStatus.planning, RunStatus.queued)
    (claim,) = await tables.claimed(run)
    await tables.moved(Move(run, RunStatus.running, by="w1", attempt=claim.attempt, keep_lease=True))
    return StepKey(run, 1, 0, Phase.do, claim.attempt)


async def written(tables: Tables, key: StepKey, *lines: str) -> None:
    async with transaction(tables.worker) as session:
        await add_lines(session, key, lines)


async def read(tables: Tables, run: UUID, *, limit: int) -> list[str]:
    """All of it, a page at a time."""
    found: list[str] = []
    after = 0
    while True:
        async with reading(tables.web) as session:
            page = await read_on(session, run, after=after, limit=limit)
        if not page:
            return found
        found += [one.line for one in page]
        after = page[-1].n


@pytest.mark.parametrize("limit", [1, 3, 1_000])
async def test_whoever_reads_on_misses_nothing(tables: Tables, limit: int) -> None:
    key = await executing(tables)
    wanted = [f"line {n}" for n in range(7)]
    await written(tables, key, *wanted[:4])
    await written(tables, key, *wanted[4:])
    assert await read(tables, key.run_id, limit=limit) == wanted
    async with reading(tables.web) as session:
        last = await find_lines(session, key.run_id, last=2)
        assert [one.line for one in last] == wanted[-2:]
        assert await find_lines(session, key.run_id, after=last[-1].n) == []


async def test_steps_that_write_side_by_side_are_numbered_as_they_are_seen(tables: Tables) -> None:
    key = await executing(tables)
    seen: list[int] = []

    async def look() -> None:
        while len(seen) < 40:
            async with reading(tables.web) as session:
                seen.extend(one.n for one in await read_on(session, key.run_id, after=seen[-1] if seen else 0, limit=100))

    async with asyncio.timeout(60):
        await asyncio.gather(look(), *(written(tables, key, f"{n} a", f"{n} b") for n in range(20)))
    assert len(set(seen)) == 40


async def test_many_lines_are_few_rows(tables: Tables) -> None:
    key = await executing(tables)
    await written(tables, key, *["x" * 100] * 5_000)
    (rows,) = await tables.execute("SELECT count(*) AS n FROM log_chunks WHERE run_id = :run", run=key.run_id)
    assert rows.n == 5
    assert len(await read(tables, key.run_id, limit=1_000)) == 5_000


@given(some.lists(some.text(alphabet="ab", max_size=4_000), max_size=300))
def test_chunks_are_bounded_and_lose_nothing(lines: list[str]) -> None:
    chunks = _chunks(lines)
    assert [line for chunk in chunks for line in chunk] == lines
    assert all(0 < len(chunk) <= LINES_A_CHUNK and sum(map(len, chunk)) <= LETTERS_A_CHUNK for chunk in chunks)
