"""What is due is hinted at again, whoever leads and whether or not the one who leads is still awake."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from automations.brokers import EXECUTING, PLANNING, WakingBroker
from automations.housekeeping.dispatching import MOST_IN_A_TURN, Dispatcher
from automations.housekeeping.sweeping import LEFT_LYING_SECONDS, hint_what_is_due
from automations.services import Services, open_services
from store.databases import transaction
from store.runs import NewRun, create
from tests.hubs import World, until

_LATER = text("UPDATE runs SET due_at = due_at - cast(:passed AS float) * interval '1 second'")


class _Heard:
    """A broker that only listens."""

    def __init__(self) -> None:
        self.hints: list[tuple[str, list[UUID]]] = []

    @property
    def ids(self) -> list[UUID]:
        """Those that are to be planned."""
        return [one for queue, ids in self.hints for one in ids if queue == PLANNING]

    def hint(self, queue: str, ids: Sequence[UUID]) -> None:
        self.hints.append((queue, list(ids)))


@dataclass
class _Sweeper:
    """One who does not lead."""

    services: Services
    heard: _Heard
    dispatcher: Dispatcher

    async def sweep(self) -> list[UUID]:
        """What has been hinted at by then."""
        await hint_what_is_due(self.services, self.dispatcher)
        return self.heard.ids

    async def create(self, count: int) -> list[UUID]:
        async with transaction(self.services.engine) as session:
            return [one.run_id for one in (await create(session, [_new(f"due {n}") for n in range(count)])).values()]

    async def pass_on(self, seconds: float) -> None:
        async with transaction(self.services.engine) as session:
            await session.execute(_LATER, {"passed": seconds})


@pytest.fixture
async def sweeper(world: World) -> AsyncIterator[_Sweeper]:
    services, heard = open_services(world.settings(role="worker"), name="sweeper", pool=2), _Heard()
    yield _Sweeper(services, heard, Dispatcher("", cast(WakingBroker, heard), asyncio.Event()))
    await services.close()


async def test_who_does_not_lead_hints_at_what_the_one_who_leads_has_left_lying(sweeper: _Sweeper) -> None:
    born = await sweeper.create(1)
    assert await sweeper.sweep() == [], "the one who leads has just been told"
    await sweeper.pass_on(LEFT_LYING_SECONDS + 1)
    for _ in range(2):
        assert await sweeper.sweep() == born, "once, and not again within the same seconds"


async def test_a_backlog_is_hinted_at_a_thousand_at_a_time(sweeper: _Sweeper) -> None:
    born = await sweeper.create(600)
    await sweeper.pass_on(LEFT_LYING_SECONDS + 1)
    assert sorted(await sweeper.sweep()) == sorted(born)


async def test_six_hundred_at_once_are_hinted_at_without_a_sweep_and_hold_nobody_up(sweeper: _Sweeper, world: World) -> None:
    dispatcher, begun = Dispatcher(world.urls.worker, cast(WakingBroker, sweeper.heard), asyncio.Event()), uuid4()

    async def leads() -> bool:
        return dispatcher.leads

    async def heard() -> bool:
        return sum(len(ids) for _, ids in sweeper.heard.hints) == 601

    listening = asyncio.create_task(dispatcher.run())
    await until(leads)
    async with transaction(sweeper.services.engine) as session:
        born = [one.run_id for one in (await create(session, [_new(f"due {n}") for n in range(600)])).values()]
        await session.execute(text("SELECT pg_notify('countersign_work', 'execute ' || :id)"), {"id": str(begun)})
    await until(heard)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    assert sorted(sweeper.heard.ids) == sorted(born)
    assert max(len(ids) for _, ids in sweeper.heard.hints) <= MOST_IN_A_TURN
    assert sweeper.heard.hints[-1][0] == PLANNING
    assert (EXECUTING, [begun]) in sweeper.heard.hints


def _new(key: str) -> Any:
    place = {"platform": "api", "team": "", "channel": "", "thread": "", "shared": False}
    return NewRun(
        key=key,
        command="help",
        code_version="0" * 64,
        risk=0,
        visibility="staff",
        asker="ada",
        door="api",
        place=place,
        arguments={},
        origins={},
        policy="",
    )
