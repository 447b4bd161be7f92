"""What is due is hinted at again, whoever leads and whether or not the one who leads is still awake."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from sqlalchemy import text

from automations.brokers import PLANNING, WakingBroker
from automations.housekeeping.dispatching import Dispatcher
from automations.housekeeping.sweeping import LEFT_LYING_SECONDS, hint_what_is_due
from automations.services import open_services
from store.databases import transaction
from store.runs import NewRun, create
from tests.hubs import World

_LATER = text("UPDATE runs SET due_at = due_at - cast(:passed AS float) * interval '1 second'")


class _Heard:
    """A broker that only listens."""

    def __init__(self) -> None:
        self.ids: list[UUID] = []

    def hint(self, queue: str, ids: Sequence[UUID]) -> None:
        assert queue == PLANNING
        self.ids += ids


async def test_who_does_not_lead_hints_at_what_the_one_who_leads_has_left_lying(world: World) -> None:
    services = open_services(world.settings(role="worker"), name="sweeper", pool=2)
    heard = _Heard()
    dispatcher = Dispatcher("", cast(WakingBroker, heard), asyncio.Event())
    try:
        async with transaction(services.engine) as session:
            await create(session, [_new()])
            (born,) = (await session.execute(text("SELECT id FROM runs"))).scalars().all()
        await hint_what_is_due(services, dispatcher)
        assert not heard.ids, "the one who leads has just been told"
        async with transaction(services.engine) as session:
            await session.execute(_LATER, {"passed": LEFT_LYING_SECONDS + 1})
        for _ in range(2):
            await hint_what_is_due(services, dispatcher)
        assert heard.ids == [born], "once, and not again within the same seconds"
    finally:
        await services.close()


async def test_a_backlog_is_hinted_at_a_thousand_at_a_time(world: World) -> None:
    services = open_services(world.settings(role="worker"), name="sweeper", pool=2)
    heard = _Heard()
    dispatcher = Dispatcher("", cast(WakingBroker, heard), asyncio.Event())
    try:
        async with transaction(services.engine) as session:
            await create(session, [_new(f"due {n}") for n in range(600)])
            await session.execute(_LATER, {"passed": LEFT_LYING_SECONDS + 1})
        await hint_what_is_due(services, dispatcher)
        assert len({*heard.ids}) == len(heard.ids) == 600
    finally:
        await services.close()


def _new(key: str = "due") -> Any:
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
