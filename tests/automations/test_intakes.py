"""What waits in a worker: the urgent first, lines in turn, nothing twice and nothing forgotten."""

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automations.intakes import Intake, Lines
from tests.hubs import until

STEPS = st.lists(st.one_of(st.tuples(st.integers(0, 2), st.sampled_from("abc")), st.just("take")), max_size=60)


class Model:
    """The same by hand: each line remembers when it was last served, and a line that runs empty is forgotten."""

    def __init__(self) -> None:
        self.waiting: list[tuple[int, int, str]] = []
        self.turns: dict[tuple[int, str], int] = {}
        self.clock = 0

    def add(self, number: int, rank: int, line: str) -> None:
        self.clock += 1
        self.turns.setdefault((rank, line), self.clock)
        self.waiting.append((number, rank, line))

    def take(self) -> int:
        self.clock += 1
        top = max(rank for _, rank, _ in self.waiting)
        line = min((line for _, rank, line in self.waiting if rank == top), key=lambda one: self.turns[top, one])
        found = next(one for one in self.waiting if one[1:] == (top, line))
        self.waiting.remove(found)
        if any(one[1:] == (top, line) for one in self.waiting):
            self.turns[top, line] = self.clock
        else:
            del self.turns[top, line]
        return found[0]


@given(STEPS)
def test_lines_take_turns_as_in_the_model(steps: Sequence[tuple[int, str] | str]) -> None:
    lines, model = Lines(), Model()
    for number, one in enumerate(steps):
        if isinstance(one, tuple):
            lines.add(UUID(int=number), *one)
            lines.add(UUID(int=number), 0, "elsewhere")  # hinted at twice: keeps its place
            model.add(number, *one)
        elif model.waiting:
            assert lines.take() == UUID(int=model.take())
        assert len(lines) == len(model.waiting)


class Site:
    """Work in one pair of hands, which goes on when it is told to."""

    def __init__(self, places: Mapping[UUID, tuple[int, str]]) -> None:
        self.places, self.asked = places, 0
        self.begun: list[UUID] = []
        self.go = asyncio.Event()
        self.intake = Intake(self.work, batch=1, hands=lambda: 1, places=self.find)

    async def work(self, ids: Sequence[UUID]) -> int:
        self.begun += ids
        await self.go.wait()
        return len(ids)

    async def find(self, ids: Sequence[UUID]) -> Mapping[UUID, tuple[int, str]]:
        self.asked += 1
        return {one: self.places[one] for one in ids}

    async def end(self) -> None:
        self.go.set()
        await self.idle()
        await self.intake.close(seconds=1)

    async def idle(self) -> None:
        async def done() -> bool:
            return not self.intake.busy

        await until(done)


async def test_one_groups_five_hundred_do_not_hold_up_anothers_one() -> None:
    crowd, lone, urgent = [uuid4() for _ in range(500)], uuid4(), uuid4()
    site = Site(dict.fromkeys(crowd, (1, "devs")) | {lone: (1, "ops"), urgent: (2, "devs")})
    site.intake.offer(crowd[:300])
    await asyncio.sleep(0)
    site.intake.offer([*crowd[200:], lone])
    site.intake.offer([urgent])
    await site.end()
    assert site.begun.index(urgent) <= 1
    assert site.begun.index(lone) <= 3
    assert sorted(site.begun) == sorted([*crowd, lone, urgent])
    assert [one for one in site.begun if one in set(crowd)] == crowd


async def test_nobody_asks_about_lines_while_all_can_be_begun() -> None:
    one, other = uuid4(), uuid4()
    site = Site({one: (1, "a"), other: (1, "b")})
    site.go.set()
    for run in (one, other):
        site.intake.offer([run])
        await site.idle()
    await site.end()
    assert site.begun == [one, other]
    assert not site.asked


async def test_without_postgres_it_is_one_line() -> None:
    ids = [uuid4() for _ in range(5)]
    site = Site({})

    async def away(_: Sequence[UUID]) -> Mapping[UUID, tuple[int, str]]:
        raise OSError

    site.intake = Intake(site.work, batch=1, hands=lambda: 1, places=away)
    site.intake.offer(ids)
    await site.end()
    assert site.begun == ids


class Crew:
    """Work in many hands, in batches of two, each of which ends when it is told to."""

    def __init__(self, *, patience: float, stocked: bool = False) -> None:
        self.begun: list[asyncio.Event] = []
        self.done: list[UUID] = []
        self.stocked, self.away = stocked, False
        self.intake = Intake(self.work, batch=2, hands=lambda: 4, places=self.find, patience=patience, stocked=self.enough)

    async def work(self, ids: Sequence[UUID]) -> int:
        self.begun.append(asyncio.Event())
        await self.begun[-1].wait()
        self.done += ids
        return len(ids)

    async def find(self, ids: Sequence[UUID]) -> Mapping[UUID, tuple[int, str]]:
        return {}

    async def enough(self) -> bool:
        if self.away:
            raise OSError("Postgres is away")
        return self.stocked

    async def hands(self, count: int) -> None:
        async def so_many() -> bool:
            return len(self.begun) >= count

        await until(so_many)


async def test_in_a_flood_the_next_batch_is_begun_when_the_one_before_has_ended() -> None:
    crew, ids = Crew(patience=3_600), [uuid4() for _ in range(10)]
    crew.intake.offer(ids)
    crew.intake.offer(ids)
    for number in range(1, 4):
        await crew.hands(number)
        assert len(crew.begun) == number
        crew.begun[-1].set()
    await crew.hands(5)  # what is left is no flood
    for one in crew.begun:
        one.set()
    await crew.intake.close(seconds=10)
    assert sorted(crew.done) == sorted(ids)


async def test_in_a_flood_who_has_enough_of_it_has_the_machine_for_a_while() -> None:
    crew, ids, loop = Crew(patience=3_600, stocked=True), [uuid4() for _ in range(6)], asyncio.get_running_loop()
    began = loop.time()
    crew.intake.offer(ids)
    await crew.hands(1)
    await asyncio.sleep(0.1)
    took = loop.time() - began
    crew.begun[0].set()
    await crew.hands(2)
    assert loop.time() - began > 3.9 * took
    for one in crew.begun:
        one.set()
    await crew.hands(3)
    crew.begun[-1].set()
    await crew.intake.close(seconds=10)
    assert sorted(crew.done) == sorted(ids)


@pytest.mark.parametrize("away", [False, True])
async def test_in_a_flood_nobody_rests_while_others_want_for_it_or_cannot_be_asked(away: bool) -> None:
    crew, ids, loop = Crew(patience=3_600), [uuid4() for _ in range(6)], asyncio.get_running_loop()
    crew.away = away
    began = loop.time()
    crew.intake.offer(ids)
    await crew.hands(1)
    await asyncio.sleep(0.3)
    took = loop.time() - began
    crew.begun[0].set()
    await crew.hands(2)
    assert loop.time() - began < 1.9 * took
    for one in crew.begun:
        one.set()
    await crew.hands(3)
    crew.begun[-1].set()
    await crew.intake.close(seconds=10)
    assert sorted(crew.done) == sorted(ids)


async def test_a_batch_that_takes_long_holds_nobody_up() -> None:
    crew, ids = Crew(patience=0.01), [uuid4() for _ in range(10)]
    crew.intake.offer(ids)
    await crew.hands(4)
    assert not crew.done
    for one in crew.begun:
        one.set()
    await crew.hands(5)
    crew.begun[-1].set()
    await crew.intake.close(seconds=10)
    assert sorted(crew.done) == sorted(ids)


async def test_what_is_no_flood_is_begun_at_once() -> None:
    crew, ids = Crew(patience=3_600), [uuid4() for _ in range(4)]
    crew.intake.offer(ids[:2])
    await crew.hands(1)
    crew.intake.offer(ids[2:])
    await crew.hands(2)
    for one in crew.begun:
        one.set()
    await crew.intake.close(seconds=10)
    assert sorted(crew.done) == sorted(ids)
