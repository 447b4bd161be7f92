"""Four schedulers at once, over both changes of two clocks: each of a thousand slots is asked for once, and no other is."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import text

from automations.housekeeping.scheduling import schedule_always
from automations.services import Services, open_services
from commands.scheduling import cadence_of
from countersign.calendars import zone_of
from countersign.moments import instant
from kit.bots import Bot
from kit.fixtures import open_bot
from store.databases import reading, transaction
from store.embedded import DatabaseUrls
from store.schedules import ScheduleRow, find_pause, find_schedules, pause_schedule, resume_schedule, write_schedule
from store.settings import Settings
from tests.automations.carts import write_cart
from tests.commands.test_cadences import oracle

ZONES = ("Europe/Berlin", "America/New_York")
CRONS = ("*/15 * * * *", "0 * * * *", "30 2 * * *", "15,45 1-3 * * *")
CHANGES = ("2027-03-14 UTC", "2027-03-28 UTC", "2027-10-31 UTC", "2027-11-07 UTC")
HOURS = 24
STEP = 4
SCHEDULERS = 4


async def write(bot: Bot) -> None:
    """Each expression by each clock, and an interval."""
    wanted = [(cron, zone) for cron in CRONS for zone in ZONES] + [("every 37m", "UTC")]
    async with bot.services.transaction() as session:
        for n, (cadence, zone) in enumerate(wanted):
            terms: dict[str, Any] = {
                "account": "svc-cart",
                "owner": "ada",
                "command": "cart",
                "arguments": {"how": "gone"},
                "cadence": cadence,
            }
            terms |= {"zone": zone, "overlap": "allow", "catch_up": "6h", "pause_after": 0, "channel": "", "reason": ""}
            anchor = instant("2027-01-01 00:00 UTC")
            await write_schedule(session, schedule=uuid4(), name=f"s{n}", terms=terms, anchor=anchor, next_at=None)
        for one in await find_schedules(session):
            await pause_schedule(session, one.id, by="ada", because="not yet")


async def move_to(bot: Bot, at: datetime) -> None:
    async with transaction(bot.owner) as session:
        await session.execute(text("UPDATE clock SET shift = shift + (cast(:at AS timestamptz) - countersign_now())"), {"at": at})


async def over_one_change(bot: Bot, begin: datetime, woken: Sequence[asyncio.Event]) -> dict[str, list[datetime]]:
    """Lets the hours around a change pass, some at a time; returns what should have been due."""
    await move_to(bot, begin)
    async with bot.services.transaction() as session:
        rows = await find_schedules(session)
        for one in rows:
            await resume_schedule(session, one.id, next_at=next(cadence_of(one).slots(begin), None))
    end = begin
    for _ in range(HOURS // STEP):
        end += timedelta(hours=STEP)
        await move_to(bot, end)
        for each in woken:
            each.set()
        await nothing_due(bot)
    async with bot.services.transaction() as session:
        for one in rows:
            await pause_schedule(session, one.id, by="ada", because="until the next change")
    return {one.name: _due(one, begin, end) for one in rows}


async def nothing_due(bot: Bot) -> None:
    async with asyncio.timeout(60), reading(bot.services.engine) as session:
        pause, _ = await find_pause(session)
        while pause is None or pause < timedelta(0):
            await asyncio.sleep(0.05)
            pause, _ = await find_pause(session)


def _due(row: ScheduleRow, begin: datetime, end: datetime) -> list[datetime]:
    if row.cadence.startswith("every"):
        return list(cadence_of(row).within(begin, end))
    return oracle(row.cadence, zone_of(row.zone), begin, end)


@asynccontextmanager
async def schedulers(urls: DatabaseUrls, folder: Path) -> AsyncIterator[list[asyncio.Event]]:
    """Each with an engine and a rulebook of its own; their events wake them."""
    settings = Settings.read(data_dir=folder, database_url=urls.worker, commands=folder / "commands")
    async with AsyncExitStack() as stack:
        woken = [asyncio.Event() for _ in range(SCHEDULERS)]
        tasks = []
        for n, one in enumerate(woken):
            services: Services = open_services(settings, name=f"scheduler{n}", pool=3)
            stack.push_async_callback(services.close)
            tasks.append(asyncio.create_task(schedule_always(services, one)))
        yield woken
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_each_of_a_thousand_slots_is_asked_for_once_by_four_schedulers(database: DatabaseUrls, tmp_path: Path) -> None:
    write_cart(tmp_path)
    async with open_bot(database, tmp_path, commands=tmp_path / "commands") as bot:
        bot.cast("ada", may=["cart:fill"])
        bot.policy(service_accounts={"svc-cart": {"groups": ["robots"]}}, roles={"carter": ["cart:fill"]}, groups={"robots": ["carter"]})
        await bot.person("ada")
        await write(bot)
        wanted: dict[str, list[datetime]] = {}
        async with schedulers(database, tmp_path) as woken:
            for change in CHANGES:
                begin = instant(change.replace(" ", " 00:00 ")) - timedelta(hours=6)
                for name, due in (await over_one_change(bot, begin, woken)).items():
                    wanted[name] = [*wanted.get(name, []), *due]
        async with reading(bot.owner) as session:
            rows = await session.execute(
                text(
                    "SELECT s.name, l.slot, r.source FROM schedule_slots l JOIN schedules s ON s.id = l.schedule_id"
                    " LEFT JOIN runs r ON r.id = l.run_id WHERE l.state = 'sent' ORDER BY 1, 2"
                )
            )
            asked = [(row.name, row.slot) for row in rows if row.source == f"schedule {row.name}"]
            runs = (await session.execute(text("SELECT count(*) FROM runs"))).scalar_one()
            born = (await session.execute(text("SELECT count(*) FROM audit_events WHERE kind = 'run:submitted'"))).scalar_one()
            others = (await session.execute(text("SELECT count(*) FROM schedule_slots WHERE state <> 'sent'"))).scalar_one()
    expected = sorted((name, at) for name, due in wanted.items() for at in due)
    assert asked == expected
    assert runs == born == len(expected)
    assert len(expected) >= 1_000
    assert others == 0
