"""Files of runs: kept under a claim, replaced by name, bounded for each run, and never bytes without a row."""

import pytest

from countersign.runs import RunStatus
from store import artifacts
from store.artifacts import NewArtifact, RunIsFull, begin_artifact, find_artifact, find_artifacts, find_leftovers, note_stored
from store.databases import reading, transaction
from store.journals import LostClaim, Phase, StepKey
from store.runs import Move
from tests.store.tables import Tables


async def executing(tables: Tables) -> StepKey:
    run = await tables.run(RunStatus.planning, RunStatus.queued)
    (claim,) = await tables.claimed(run)
    await tables.moved(Move(run, RunStatus.running, by="w1", attempt=claim.attempt, keep_lease=True))
    return StepKey(run, 1, 0, Phase.do, claim.attempt)


async def kept(tables: Tables, key: StepKey, new: NewArtifact) -> bool:
    async with transaction(tables.worker) as session:
        id_ = await begin_artifact(session, key, new)
    if id_ is None:
        return False
    async with transaction(tables.worker) as session:
        await note_stored(session, key, id_, new.name)
    return True


def file(name: str = "a", sha256: str = "1", size: int = 3) -> NewArtifact:
    return NewArtifact(name, "text/plain", size, sha256)


async def test_the_same_name_replaces_and_the_same_bytes_stay(tables: Tables) -> None:
    key = await executing(tables)
    assert await kept(tables, key, file())
    assert not await kept(tables, key, file())
    assert await kept(tables, key, file(sha256="2"))
    assert await kept(tables, key, file("b"))
    async with reading(tables.web) as session:
        assert [(one.name, one.sha256) for one in await find_artifacts(session, key.run_id)] == [("a", "2"), ("b", "1")]
        assert await find_artifact(session, key.run_id, "c") is None


async def test_what_is_not_yet_stored_is_not_there(tables: Tables) -> None:
    key = await executing(tables)
    await kept(tables, key, file())
    async with transaction(tables.worker) as session:
        assert await begin_artifact(session, key, file(sha256="2"))
    async with reading(tables.web) as session:
        assert [one.sha256 for one in await find_artifacts(session, key.run_id)] == ["1"]


async def test_a_worker_whose_claim_has_ended_keeps_nothing(tables: Tables) -> None:
    key = await executing(tables)
    async with transaction(tables.worker) as session:
        id_ = await begin_artifact(session, key, file())
    assert id_ is not None
    await tables.execute("UPDATE runs SET attempt = attempt + 1 WHERE id = :run", run=key.run_id)
    for late in (begin_artifact, lambda session, key, new: note_stored(session, key, id_, new.name)):
        with pytest.raises(LostClaim):
            async with transaction(tables.worker) as session:
                await late(session, key, file("late"))
    async with reading(tables.web) as reader:
        assert await find_artifacts(reader, key.run_id) == []


async def test_a_run_keeps_so_many_files_and_so_many_bytes(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    key = await executing(tables)
    monkeypatch.setattr(artifacts, "RUN_COUNT", 2)
    monkeypatch.setattr(artifacts, "RUN_BYTES", 1024**2)
    with pytest.raises(RunIsFull, match="at most 1 MiB together"):
        await kept(tables, key, file(size=1024**2 + 1))
    assert await kept(tables, key, file())
    assert await kept(tables, key, file("b"))
    with pytest.raises(RunIsFull, match="at most 2 files"):
        await kept(tables, key, file("c"))


async def test_replaced_ones_and_ones_that_never_came_are_left_over_in_time(tables: Tables) -> None:
    key = await executing(tables)
    await kept(tables, key, file())
    await kept(tables, key, file(sha256="2"))
    async with transaction(tables.worker) as session:
        await begin_artifact(session, key, file("never"))

    async def left() -> int:
        async with reading(tables.worker) as reader:
            return len([one for one, key_ in await find_leftovers(reader, limit=100) if key_.startswith(str(key.run_id))])

    assert await left() == 0
    await tables.execute("UPDATE artifacts SET dropped_at = dropped_at - interval '2 hours' WHERE run_id = :run", run=key.run_id)
    assert await left() == 1
    await tables.execute("UPDATE artifacts SET at = at - interval '25 hours' WHERE run_id = :run", run=key.run_id)
    assert await left() == 2
