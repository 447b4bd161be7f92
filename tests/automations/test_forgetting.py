"""Logs and files go when their time is over, and the record says so; what is not over stays."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import text

from automations.housekeeping.forgetting import forget_old
from countersign.runs import RunStatus
from kit.bots import Bot, RunHandle
from store.artifacts import find_artifacts
from store.databases import reading, transaction
from store.logs import find_lines
from tests.automations.test_artifacts import bot as bot

_AGED = (
    "UPDATE runs SET moved_at = moved_at - :by WHERE id = :run",
    "UPDATE log_chunks SET at = at - :by WHERE run_id = :run",
    "UPDATE artifacts SET stored_at = stored_at - :by, dropped_at = dropped_at - :by WHERE run_id = :run",
)
_LOGGED = "INSERT INTO log_chunks (run_id, position, size, lines) SELECT :run, 0, 2, ARRAY['a', 'b'] FROM generate_series(1, 2)"


async def aged(bot: Bot, run: UUID, days: float) -> None:
    async with transaction(bot.owner) as session:
        for one in _AGED:
            await session.execute(text(one), {"run": run, "by": timedelta(days=days)})


async def reported(bot: Bot) -> RunHandle:
    """A run with a log and a file, that has ended."""
    (ada,) = bot.cast("ada", may=["report:run"])
    run = await ada.say("report box")
    async with transaction(bot.owner) as session:
        await session.execute(text(_LOGGED), {"run": run.id})
    return run


async def left(bot: Bot, run: RunHandle) -> tuple[int, int]:
    """How many lines and files one sees."""
    async with reading(bot.services.engine) as session:
        return len(await find_lines(session, run.id)), len(await find_artifacts(session, run.id))


def on_disk(bot: Bot, run: RunHandle) -> int:
    assert bot.services.objects.folder is not None
    return len(list((bot.services.objects.folder / str(run.id)).iterdir()))


async def test_what_is_over_goes_and_the_record_says_so(bot: Bot) -> None:
    old, new, unfinished = await reported(bot), await reported(bot), await reported(bot)
    async with transaction(bot.owner) as session:
        await session.execute(
            text("UPDATE runs SET status = :status WHERE id = :run"), {"status": RunStatus.interrupted, "run": unfinished.id}
        )
    for run, days in ((old, 91), (new, 89), (unfinished, 91)):
        await aged(bot, run.id, days)
    assert await forget_old(bot.services) >= 2
    assert [await left(bot, one) for one in (old, new, unfinished)] == [(0, 0), (5, 1), (5, 1)]
    assert on_disk(bot, old) == 1, "a download that has begun ends well"
    noted = {one.kind: one.detail for one in await bot.trail(old) if one.kind.endswith(":forgotten")}
    assert noted == {"log:forgotten": {"lines": 5, "days": 90}, "artifacts:forgotten": {"files": ["report.txt"], "days": 90}}
    await aged(bot, old.id, 1)
    while await forget_old(bot.services):
        pass
    assert (on_disk(bot, old), on_disk(bot, new)) == (0, 1)
    async with reading(bot.owner) as session:
        rows = await session.execute(text("SELECT count(*) FROM artifacts WHERE run_id = :run"), {"run": old.id})
        assert rows.scalar_one() == 0
