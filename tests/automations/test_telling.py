"""Senders hear of what runs do beside the moves, so that no run waits for another's: once for many, and never for nothing."""

import asyncio

import psycopg
import pytest

from automations import telling
from automations.executing import execute_runs
from automations.telling import Teller
from kit.bots import Bot, Member
from store.databases import plain_url


async def test_what_becomes_due_in_one_moment_is_told_at_once_and_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "PAUSE_SECONDS", 0.01)
    spoken: list[str] = []

    async def speak() -> None:
        spoken.append("due")

    teller = Teller(speak)
    teller.tell()
    await asyncio.sleep(0)
    assert spoken == ["due"], "the first word waits for nothing"
    for _ in range(20):
        teller.tell()
    await teller.close()
    assert spoken == ["due", "due"]


async def test_a_word_that_could_not_be_spoken_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "PAUSE_SECONDS", 0.0)
    tries = iter([psycopg.OperationalError("gone"), None])

    async def speak() -> None:
        if error := next(tries):
            raise error

    teller = Teller(speak)
    teller.tell()
    await teller.close()
    teller.tell()
    await teller.close()
    assert next(tries, "all were tried") == "all were tried"


async def test_no_move_of_a_run_that_is_carried_out_notifies_and_senders_are_told_all_the_same(
    crew: Bot, ada: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(crew.services.teller, "tell", lambda: told.append("due"))
    async with crew.held(), await psycopg.AsyncConnection.connect(plain_url(crew.services.settings.database_url), autocommit=True) as ear:
        run = await ada.say("course how='once only'")
        await ear.execute("LISTEN countersign_work")
        assert await execute_runs(crew.services, [run.id]) == 1
        await ear.execute("NOTIFY countersign_work, 'and that was all'")
        heard = [notice.payload async for notice in ear.notifies(timeout=60, stop_after=1)]
    await crew.refresh()
    assert (run.succeeded, heard) == (True, ["and that was all"])
    assert told == ["due", "due"], "as it begins, and as it ends"
