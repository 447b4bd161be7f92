"""Which runs are handed out: those with a label to workers that have it, the urgent first, lines in turn."""

import random
from collections import defaultdict
from uuid import UUID, uuid4

from countersign.runs import RunStatus
from store.claims import count_ready, find_due, find_lines
from store.databases import WriteDriver, driver_of, reading, transaction
from store.runs import Move, Take, create, find_run, move
from store.workers import find_labels, find_missed, note_worker

from .tables import Tables

S = RunStatus


def turns(waiting: list[tuple[UUID, int, str]]) -> list[UUID]:
    """The order by hand: by rank, and of each rank one of each line after the other, oldest first."""
    found: list[UUID] = []
    for rank in sorted({one[1] for one in waiting}, reverse=True):
        lines: dict[str, list[UUID]] = defaultdict(list)
        for run, own, line in waiting:
            if own == rank:
                lines[line].append(run)
        while lines:
            ages = {line: [one[0] for one in waiting].index(runs[0]) for line, runs in lines.items()}
            for line in sorted(lines, key=lambda one: ages[one]):
                found.append(lines[line].pop(0))
                if not lines[line]:
                    del lines[line]
    return found


async def handed_out(tables: Tables, label: str, *, limit: int = 1_000) -> list[UUID]:
    async with reading(tables.worker) as session:
        return await find_due(session, statuses=[S.submitted, S.queued], quiet=0, limit=limit, label=label)


async def test_runs_are_handed_out_as_by_hand(tables: Tables) -> None:
    seed = random.randrange(1_000_000)
    dice = random.Random(seed)
    for _ in range(8):
        label = f"l{uuid4().hex[:8]}"
        runs = [tables.new(label=label, rank=dice.randrange(3), line=dice.choice("abcd")) for _ in range(dice.randrange(40))]
        for one in runs:
            async with transaction(tables.web) as session:
                await create(session, [one])
        wanted = turns([(one.id, one.rank, one.line) for one in runs])
        assert await handed_out(tables, label) == wanted, seed
        assert await handed_out(tables, label, limit=5) == wanted[:5], seed


async def test_one_of_another_group_is_among_the_first_of_five_hundred(tables: Tables) -> None:
    label = f"l{uuid4().hex[:8]}"
    crowd, lone = [tables.new(label=label, line="devs") for _ in range(500)], tables.new(label=label, line="ops")
    async with transaction(tables.web) as session:
        await create(session, crowd)
        await create(session, [lone])
    assert lone.id in (await handed_out(tables, label, limit=16))[:2]
    async with reading(tables.worker) as session:
        assert await find_lines(session, [lone.id, crowd[0].id]) == {lone.id: (1, "ops"), crowd[0].id: (1, "devs")}


async def test_what_is_planned_and_not_taken_is_counted_up_to_what_is_enough(tables: Tables) -> None:
    async with tables.worker.connect() as connection:
        driver = WriteDriver(await driver_of(connection))
        before = await count_ready(driver, most=1_000)
        runs = [await tables.run(S.planning, S.queued) for _ in range(5)]
        await tables.run(S.planning)
        assert await count_ready(driver, most=1_000) == before + 5
        assert await count_ready(driver, most=before + 3) == before + 3
        assert await tables.claimed(runs[0])
        assert await count_ready(driver, most=1_000) == before + 4


async def test_a_run_with_a_label_is_left_to_workers_that_have_it(tables: Tables) -> None:
    label = f"l{uuid4().hex[:8]}"
    run, plain = await tables.run(label=label), await tables.run()

    async def taken(one: UUID, *labels: str) -> bool:
        async with transaction(tables.worker) as session:
            take = Take("w1", 60.0, ("c1",), labels=labels)
            return bool(await move(session, [Move(one, S.planning, by="countersign", take=take)]))

    assert not await tables.claimed(run)
    assert not await taken(run)
    assert not await taken(run, "other")
    assert run not in await handed_out(tables, "")
    assert await taken(run, "other", label)
    assert await taken(plain, label)


async def test_code_that_only_workers_without_the_label_have_does_not_hold_it_up(tables: Tables) -> None:
    label, version = f"l{uuid4().hex[:8]}", uuid4().hex
    run = await tables.run(label=label, code_version=version)
    async with transaction(tables.worker) as session:
        await note_worker(session, name=f"plain {label}", role="executing", versions=[version])
        take = Take("w1", 60.0, ("another",), labels=(label,))
        assert await move(session, [Move(run, S.planning, by="countersign", take=take)])


async def test_it_is_told_while_nobody_has_offered_the_label_for_a_minute(tables: Tables) -> None:
    label = f"l{uuid4().hex[:8]}"
    run, plain = await tables.run(label=label), await tables.run()

    async def missed(one: UUID) -> bool:
        async with reading(tables.worker) as session:
            return await find_missed(session, one) is not None

    assert await missed(run)
    assert not await missed(plain)
    async with transaction(tables.worker) as session:
        await note_worker(session, name=f"at {label}", role="executing", versions=[], labels=[label])
        assert label in await find_labels(session)
    assert not await missed(run)
    await tables.execute("UPDATE workers SET seen_at = seen_at - interval '61 seconds' WHERE name = :name", name=f"at {label}")
    assert await missed(run)
    async with reading(tables.worker) as later:
        assert label not in await find_labels(later)
        row = await find_run(later, run)
        assert row is not None
        assert row.label == label
