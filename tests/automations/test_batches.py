"""What is wanted in the same moment is written at once, and each who waits hears what became of his own."""

import asyncio
from collections.abc import Sequence

import pytest

from automations import batches
from automations.batches import Batches


class Desk:
    """Writes numbers, and their doubles are what becomes of them; when it may."""

    def __init__(self) -> None:
        self.written: list[list[int]] = []
        self.go, self.ready = asyncio.Event(), asyncio.Event()
        self.ready.set()
        self.batches = Batches(self.write, first=self.first)

    async def first(self) -> None:
        await self.ready.wait()

    async def write(self, numbers: Sequence[int]) -> list[int]:
        self.written.append([*numbers])
        await self.go.wait()
        if 13 in numbers:
            raise ValueError
        return [2 * one for one in numbers]

    def want(self, *numbers: int) -> "list[asyncio.Task[int]]":
        return [asyncio.create_task(self.batches.add(one)) for one in numbers]


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_first_is_written_at_once_and_all_that_come_meanwhile_together() -> None:
    desk = Desk()
    wanted = desk.want(1)
    await turn()
    assert desk.written == [[1]]
    wanted += desk.want(2, 3, 4)
    await turn()
    assert desk.written == [[1]]
    desk.go.set()
    assert await asyncio.gather(*wanted) == [2, 4, 6, 8]
    assert desk.written == [[1], [2, 3, 4]]
    assert await asyncio.gather(*desk.want(5)) == [10]


async def test_nobody_fails_because_of_another() -> None:
    desk = Desk()
    desk.go.set()
    found = await asyncio.gather(*desk.want(12, 13, 14), return_exceptions=True)
    assert [found[0], found[2]] == [24, 28]
    assert isinstance(found[1], ValueError)
    assert desk.written == [[12, 13, 14], [12], [13], [14]]


async def test_what_takes_long_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "PATIENCE_SECONDS", 0.01)
    desk = Desk()
    stuck = desk.want(1)
    await turn()
    desk.go = asyncio.Event()  # the first waits for one that nobody sets
    desk.go.set()
    assert await asyncio.gather(*desk.want(2)) == [4]
    assert not stuck[0].done()
    stuck[0].cancel()
    await asyncio.gather(*stuck, return_exceptions=True)


async def test_a_batch_is_made_up_when_the_time_has_come_of_those_who_still_wait() -> None:
    desk = Desk()
    desk.ready.clear()
    desk.go.set()
    wanted = desk.want(1, 2, 3)
    await turn()
    assert desk.written == []
    wanted[1].cancel()
    await turn()
    desk.ready.set()
    assert await wanted[0] == 2
    assert desk.written == [[1, 3]]


async def test_when_nobody_waits_any_more_nothing_is_left_under_way() -> None:
    desk = Desk()
    wanted = desk.want(1, 2)
    await turn()
    wanted += desk.want(3)
    await turn()
    for one in wanted:
        one.cancel()
    await asyncio.gather(*wanted, return_exceptions=True)
    await turn()
    assert [one for one in asyncio.all_tasks() if one is not asyncio.current_task()] == []
    desk.go.set()
    assert await asyncio.gather(*desk.want(4)) == [8]
    assert desk.written == [[1, 2], [4]]


async def test_whoever_closes_it_waits_until_connections_are_back() -> None:
    back = False

    async def write(ones: Sequence[int]) -> Sequence[int]:
        nonlocal back
        try:
            await asyncio.Event().wait()
            return ones
        finally:
            await turn()  # as a connection is returned
            back = True

    async def at_once() -> None:
        pass

    writing = Batches(write, first=at_once)
    waiting = asyncio.create_task(writing.add(1))
    await turn()
    waiting.cancel()
    await writing.close()
    assert back
    assert waiting.cancelled()
