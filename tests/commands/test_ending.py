"""Grants over time: whatever is given, extended, given back, revoked and tended, a role is held exactly as long as a grant of it is."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import ClassVar, TypeVar
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from commands.ending import tend_grants
from store.databases import WriteSession, open_engine, transaction
from store.embedded import DatabaseUrls
from store.grants import How, end, extend, find_grant, find_grants, give
from store.people import deactivate, find_people, save_people
from store.rosters import POLICY
from store.runs import NewRun, create

T = TypeVar("T")
CAST = {name: {"email": f"{name}@example.test"} for name in ("ada", "lin")}
FAR = timedelta(days=400)

people, roles = st.sampled_from(sorted(CAST)), st.sampled_from(["deployer", "reader"])
lengths = st.sampled_from([1, 5, 9, 10, 11, 50, 60, 180]).map(lambda minutes: timedelta(minutes=minutes))
picks = st.integers(0, 20)


@dataclass(frozen=True)
class Expected:
    """A grant as it has to be; `ended` says how, once somebody or something has ended it."""

    id: UUID
    person: str
    role: str
    until: datetime | None
    ended: How | None = None
    extended: int = 0

    def live(self, now: datetime) -> bool:
        return self.ended is None and (self.until is None or self.until > now)

    def written_down(self, now: datetime) -> "Expected":
        """After housekeeping."""
        return replace(self, ended=How.expired) if self.ended is None and not self.live(now) else self


class GrantsMachine(RuleBasedStateMachine):
    """One example: two people, the grants they get, and the clock."""

    loop: ClassVar[asyncio.Runner]
    worker: ClassVar[AsyncEngine]
    owner: ClassVar[AsyncEngine]
    seen: ClassVar[Counter[str]]

    def __init__(self) -> None:
        super().__init__()
        self.grants: list[Expected] = []
        self._owned(_emptied)
        self.run = self._new_run()

    @rule(person=people, role=roles, length=st.one_of(lengths, lengths, st.none()))
    def gives(self, person: str, role: str, length: timedelta | None) -> None:
        grant = uuid4()

        async def given(session: WriteSession) -> tuple[bool, bool, datetime, datetime | None]:
            fresh = await give(session, grant=grant, subject=person, role=role, length=length, run=self.run, approved_by=["max"])
            again = await give(session, grant=grant, subject=person, role=role, length=length, run=self.run, approved_by=["max"])
            stored = await find_grant(session, grant)
            assert stored is not None
            return fresh, again, stored.granted_at, stored.until

        fresh, again, since, until = self._do(given)
        assert (fresh, again) == (True, False), "a step that is repeated gives nothing more"
        assert until == (None if length is None else since + length)
        self.grants.append(Expected(grant, person, role, until))

    @rule(pick=picks, length=lengths, old=st.booleans())
    def extends(self, pick: int, length: timedelta, old: bool) -> None:
        """`old` is an approval of an end that has been moved since."""
        if not (one := self._picked(pick)):
            return
        was = (one.until or self._now()) - (timedelta(seconds=1) if old else timedelta())

        async def moved(session: WriteSession) -> bool:
            return await extend(session, extension=uuid4(), grant=one.id, was=was, length=length, run=self.run, approved_by=["max"])

        before, extended = self._now(), self._do(moved)
        self._certainly(before, lambda now: extended == (not old and one.until is not None and one.live(now)))
        if extended and one.until:
            self._changed(replace(one, until=one.until + length, extended=one.extended + 1))

    @rule(pick=picks, how=st.sampled_from([How.returned, How.revoked, How.undone]))
    def ends(self, pick: int, how: How) -> None:
        if not (one := self._picked(pick)):
            return

        async def ended(session: WriteSession) -> bool:
            return await end(session, [one.id], by="somebody", how=how) == [one.id]

        before, done = self._now(), self._do(ended)
        self._certainly(before, lambda now: done == one.live(now))
        if done:
            self._changed(replace(one, ended=how))

    @rule(length=lengths, housekeeping=st.booleans())
    def time_passes(self, length: timedelta, housekeeping: bool) -> None:
        self._owned(lambda session: _forward(session, length))
        if housekeeping:
            self._tended()

    @rule(pick=picks)
    def nearly_over(self, pick: int) -> None:
        """The clock goes to where one's holder is told."""
        one = self._picked(pick)
        if one and one.ended is None and one.until and (left := one.until - self._now() - timedelta(minutes=5)) > timedelta():
            self._owned(lambda session: _forward(session, left))
            self._tended()

    @rule(person=people)
    def leaves_and_comes_back(self, person: str) -> None:
        """What was granted does not come back with them."""
        self._do(lambda session: deactivate(session, person, source=POLICY))
        before = self._tended()
        self._do(lambda session: save_people(session, CAST))
        for one in self.grants:
            if one.person == person and one.live(before):
                self._changed(replace(one, ended=How.left))

    @invariant()
    def a_role_is_held_exactly_as_long_as_a_grant_is(self) -> None:
        before = self._now()
        held = {name: set(one.roles) for name, one in self._do(lambda session: find_people(session, sorted(CAST))).items()}
        self._certainly(before, lambda now: held == {name: self._wanted(name, now) for name in CAST})

    def teardown(self) -> None:
        """In the end all that had an end is over, told once and written down once, with how and when it ended."""
        self._owned(lambda session: _forward(session, FAR))
        self._tended()
        stored = {row.id: row for row in self._do(lambda session: find_grants(session, ended=True))}
        events, words = self._owned(_told)
        for one in self.grants:
            row = stored[one.id]
            assert (row.ended_how, row.until, len(row.extensions)) == (one.ended, one.until, one.extended)
            assert row.live == (one.ended is None)
            assert events[row.name] == (one.ended is How.expired)
            assert words[row.name] <= 1 + one.extended
            if one.ended is How.expired:
                assert (row.ended_at, row.ended_by) == (one.until, "countersign")
            self.seen[str(one.ended)] += 1
        self.seen["told"] += sum(words.values())

    def _tended(self) -> datetime:
        """Housekeeping, on two hosts at the same time; returns a moment just before it."""

        async def both() -> None:
            await asyncio.gather(*(_tend(self.worker) for _ in range(2)))

        before = self._now()
        self.loop.run(both())
        self.grants = [one.written_down(before) for one in self.grants]
        return before

    def _wanted(self, person: str, now: datetime) -> set[str]:
        return {one.role for one in self.grants if one.person == person and one.live(now)}

    def _certainly(self, before: datetime, holds: Callable[[datetime], bool]) -> None:
        """What was asked happened at some moment since `before`; a grant that ended in this moment may have been there or not."""
        assert holds(before) or holds(self._now())

    def _picked(self, pick: int) -> Expected | None:
        return self.grants[pick % len(self.grants)] if self.grants else None

    def _changed(self, one: Expected) -> None:
        self.grants = [one if other.id == one.id else other for other in self.grants]

    def _new_run(self) -> UUID:
        run = NewRun(
            key=str(uuid4()), command="access request", code_version="c1", risk=3, visibility="staff", asker="ada", door="api",
            place={"platform": "room"}, arguments={}, origins={}, policy="p",
        )  # fmt: skip
        self._do(lambda session: create(session, [run]))
        return run.id

    def _now(self) -> datetime:
        return self._owned(_time)

    def _do(self, work: Callable[[WriteSession], Awaitable[T]]) -> T:
        return self.loop.run(_in_transaction(self.worker, work))

    def _owned(self, work: Callable[[WriteSession], Awaitable[T]]) -> T:
        return self.loop.run(_in_transaction(self.owner, work))


def run_machine(urls: DatabaseUrls, *, examples: int, steps: int) -> Counter[str]:
    """Runs the machine; returns how many grants ended how, so that one sees that it is not about nothing."""
    chosen = settings(max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck))
    with asyncio.Runner() as loop:
        engines = [open_engine(url, name="grants", pool=3, door=False) for url in (urls.worker, urls.owner)]
        try:
            GrantsMachine.loop, (GrantsMachine.worker, GrantsMachine.owner), GrantsMachine.seen = loop, engines, Counter()
            loop.run(_in_transaction(GrantsMachine.owner, lambda session: save_people(session, CAST)))
            run_state_machine_as_test(GrantsMachine, settings=chosen)
        finally:
            for engine in engines:
                loop.run(engine.dispose())
    return GrantsMachine.seen


def test_a_role_is_held_as_long_as_a_grant_is(database: DatabaseUrls) -> None:
    assert sum(run_machine(database, examples=20, steps=25).values()) > 20


@pytest.mark.long
def test_a_role_is_held_as_long_as_a_grant_is_for_long(database: DatabaseUrls) -> None:
    seen = run_machine(database, examples=1_000, steps=60)
    assert {*map(str, How), "None", "told"} <= set(seen), seen


async def _in_transaction(engine: AsyncEngine, work: Callable[[WriteSession], Awaitable[T]]) -> T:
    async with transaction(engine) as session:
        return await work(session)


async def _tend(engine: AsyncEngine) -> None:
    async with transaction(engine) as session:
        await tend_grants(session, chat="room")


async def _time(session: WriteSession) -> datetime:
    now: datetime = (await session.execute(text("SELECT countersign_now()"))).scalar_one()
    return now


async def _forward(session: WriteSession, length: timedelta) -> None:
    await session.execute(text("UPDATE clock SET shift = shift + cast(:length AS interval)"), {"length": length})


async def _emptied(session: WriteSession) -> None:
    for table in ("grant_extensions", "grants", "messages"):
        await session.execute(text(f"DELETE FROM {table}"))  # noqa: S608  three names of our own


async def _told(session: WriteSession) -> tuple[Counter[str], Counter[str]]:
    """How often each grant's end was written down, and how often its holder was told that it is near."""
    ends = await session.execute(
        text("SELECT audit_detail(canonical, payload) ->> 'grant' AS name FROM audit_events WHERE kind = 'grant:expired'")
    )
    words = await session.execute(text("SELECT card #>> '{card,fields,0,value}' AS name FROM messages WHERE card #>> '{card,title}' <> ''"))
    return Counter(row.name for row in ends), Counter(row.name for row in words)
