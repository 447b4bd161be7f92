"""Schedules read through REST: their terms, what is due next, and what became of their slots."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from store.databases import transaction
from store.schedules import SlotKind, SlotState, add_slots, pause_schedule, write_schedule
from tests.bot.webs import Web
from tests.hubs import World

TERMS: dict[str, Any] = {
    "account": "svc-cart",
    "owner": "ada",
    "command": "passkey list",
    "arguments": {"person": "lin"},
    "zone": "Europe/Berlin",
    "overlap": "skip",
    "catch_up": "1d",
    "pause_after": 3,
    "channel": "ops",
    "reason": "",
}
SOON = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)


@pytest.fixture
async def crowded(web: Web, world: World) -> AsyncIterator[Web]:
    """An hourly schedule with a past, and one that is paused."""
    engines = [world.engine(role=role) for role in ("owner", "worker")]
    async with transaction(engines[0]) as session:
        await session.execute(text("INSERT INTO people (name, service) VALUES ('svc-cart', true)"))
    hourly, paused = uuid4(), uuid4()
    async with transaction(engines[1]) as session:
        for id_, name, cadence in ((hourly, "hourly", "0 * * * *"), (paused, "idle", "every 15m")):
            terms = TERMS | {"cadence": cadence}
            await write_schedule(session, schedule=id_, name=name, terms=terms, anchor=SOON, next_at=SOON)
        await pause_schedule(session, paused, by="kim", because="we move")
        slot = SOON - timedelta(hours=1)
        await add_slots(session, hourly, [slot], kind=SlotKind.due, state=SlotState.skipped, because="an earlier run had not ended")
    yield web
    for one in engines:
        await one.dispose()


async def test_they_are_listed_and_shown_with_what_is_to_come(crowded: Web) -> None:
    async with await crowded.caller("lin", scopes=("read",)) as lin:
        hourly, idle = (await lin.get("/api/v1/schedules")).json()["items"]
        one = (await lin.get("/api/v1/schedules/hourly")).json()
        coming = (await lin.get("/api/v1/coming", params={"limit": 3})).json()["items"]
        unknown = await lin.get("/api/v1/schedules/never")
    assert (hourly["name"], hourly["when"], hourly["zone"], hourly["account"]) == ("hourly", "0 * * * *", "Europe/Berlin", "svc-cart")
    assert hourly["next_at"] == SOON.isoformat()
    assert (idle["paused"]["by"], idle["paused"]["because"], idle["next_at"]) == ("kim", "we move", None)
    assert len(one["coming"]) == 10
    assert (one["slots"][0]["state"], one["slots"][0]["because"]) == ("skipped", "an earlier run had not ended")
    hours = [(SOON + timedelta(hours=n)).isoformat() for n in range(3)]
    assert [(each["at"], each["schedule"]) for each in coming] == [(at, "hourly") for at in hours]
    assert (unknown.status_code, unknown.json()["detail"]) == (404, "There is no such schedule.")
