"""Calls that are in doubt, and an author who said how to look: what becomes of them without a worker's death, and while one may live."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest
from sqlalchemy import text

from automations import executing, inquiring
from automations.redactions import DOTS
from kit.bots import Bot, Member
from store.databases import reading, transaction
from store.runs import search_runs
from tests.automations.carts import traced
from tests.automations.test_deaths import died
from tests.hubs import until

CODE: Final = "cn8f31c7e2a4b5"
_TABLES: Final = text("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'")

LOOKS = '''

from countersign import Secret, happened

CODE = "cn8f31c7e2a4b5"


@step(timeout="0.2s")
async def hang(ctx: Context, what: str) -> str:
    """Takes too long, having done it or not."""
    trace("~" + what + " " + ctx.key.rpartition(":")[2])
    await asyncio.sleep(30)
    return what


@step(reads=True)
async def look_for(ctx: Context, what: str, says: str) -> object:
    """Says what it was told to."""
    trace("o" + what + " " + ctx.key.rpartition(":")[2])
    if says == "broken":
        raise StepFailed("it is broken")
    return {"yes": happened("found " + what), "no": False, "plain": True, "late": True}.get(says)


@step()
async def stay(ctx: Context) -> None:
    """Is under way for long."""
    trace("?a")
    await asyncio.sleep(30)


@step()
async def stumble(ctx: Context) -> None:
    """Fails the first time."""
    if trace("~") == 1:
        raise StepFailed("it stumbles")


@step(timeout="1s")
async def stall(ctx: Context) -> None:
    """Takes too long, and somebody has time to do something meanwhile."""
    trace("?s")
    await asyncio.sleep(30)


@step(timeout="0.2s")
async def fetch(ctx: Context, code: Secret) -> Secret:
    """Takes too long."""
    await asyncio.sleep(30)
    return code


@step(reads=True)
async def peek(ctx: Context, code: Secret, says: str) -> object:
    """Tells everybody what it should tell nobody."""
    await ctx.log("the code is " + code.reveal())
    if says == "broken":
        raise StepFailed("who knows " + code.reveal())
    return happened(Secret("fresh-" + code.reveal()))


@step(idempotent=True)
async def use(ctx: Context, code: Secret) -> None:
    """Uses what was fetched."""
    trace("used " + code.reveal())


COURSES["sealed"] = lambda: [kept := stay().looked_up_by(peek(Secret(CODE), "yes"), after="0.05s"), use(kept.result)]


@command("secretly", permission="cart:fill", risk="medium")
async def secretly(ctx: PlanningContext, says: str, code: Secret) -> Plan:
    """Fetch something secret with something secret."""
    fetched = fetch(code).looked_up_by(peek(code, says), after="0.05s")
    return Plan("fetches it", fetched, use(fetched.result))


@command("stalled", permission="cart:fill", risk="medium")
async def stalled(ctx: PlanningContext) -> Plan:
    """Do something slow whose outcome has to be looked up."""
    return Plan("stalls", stall().looked_up_by(look_for("s", "yes"), after="0.05s"))


@command("later", permission="cart:fill", risk="medium")
async def later(ctx: PlanningContext) -> Plan:
    """Get to something that has to be looked up only when it is gone on with."""
    return Plan("stumbles", stumble(), hang("x").looked_up_by(look_for("x", "yes"), after="0.05s"))


@command("doubt", permission="cart:fill", risk="medium")
async def doubt(ctx: PlanningContext, says: str, back: bool = False) -> Plan:
    """Do something whose outcome has to be looked up."""
    if back:
        return Plan("goes back", put("a").undone_by(hang("a").looked_up_by(look_for("a", says), after="0.05s")), fail())
    hung = hang("x").looked_up_by(look_for("x", says), after="0.05s")
    return Plan("hangs", put("a").undone_by(take("a")), hung.undone_by(take("x")), put(hung.result) if says == "yes" else put("b"))
'''


@pytest.fixture
def trace(trace: Path) -> Path:
    source = trace.parent / "commands" / "carts.py"
    stayed = '"once only": lambda: [stay().looked_up_by(look_for("a", "no"), after="0.05s")],\n'
    there = source.read_text()
    head, _, rest = there.partition('    "once only":')
    assert rest
    source.write_text(f"{head}    {stayed}{rest.partition(chr(10))[2]}{LOOKS}")
    return trace


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inquiring, "AGAIN_SECONDS", (0.05, 0.05))


async def test_what_took_too_long_and_has_happened_is_done(ada: Member, trace: Path) -> None:
    run = await ada.say("doubt yes")
    assert run.succeeded, run.outcome
    assert traced(trace) == ["+a", "~x do", "ox do", "+found x"]
    assert run.trail[-5:] == ["step:done", "step:looked_up", "step:done", "step:done", "run:succeeded"]


async def test_what_took_too_long_and_has_not_happened_has_failed(ada: Member, trace: Path) -> None:
    run = await ada.say("doubt no")
    assert run.status == "rolled_back"
    assert "hang: took longer than 0.2s, and look_for(what=x, says=no) says: it did not happen" in run.outcome
    assert traced(trace) == ["+a", "~x do", "ox do", "ox do", "-a"], "asked again after the time that a call may be on its way"


@pytest.mark.parametrize(("says", "why"), [("nothing", ""), ("broken", " (it is broken)")])
async def test_what_nobody_can_say_is_for_a_person(ada: Member, trace: Path, says: str, why: str) -> None:
    run = await ada.say(f"doubt {says}")
    assert run.status == "interrupted"
    told = f"hang(what=x) took longer than 0.2s, and look_for(what=x, says={says}) says: it cannot say{why}; it may have happened."
    assert run.outcome == told
    assert traced(trace).count("ox do") == 4
    await ada.resume(run, "happened")
    assert run.succeeded


async def test_an_undo_in_doubt_is_looked_up_too(ada: Member, trace: Path) -> None:
    run = await ada.say("doubt plain back=true")
    assert run.status == "rolled_back"
    assert traced(trace) == ["+a", "!", "~a undo", "oa undo"]


async def test_while_the_worker_that_made_the_call_may_be_alive_a_no_is_not_believed(crew: Bot, ada: Member, trace: Path) -> None:
    """Its lease has ended, but nobody saw it die: it may be stopped, and go on with its call after we have made it again."""
    run = await died(crew, ada, trace, "once only", "?a")
    assert run.status == "interrupted"
    assert "it did not happen so far, but the worker that made the call may be alive" in run.outcome
    assert traced(trace).count("?a") == 1


async def test_what_is_left_of_a_run_is_looked_up_as_it_was_signed(crew: Bot, ada: Member, trace: Path) -> None:
    run = await ada.say("later")
    assert run.status == "failed"
    async with reading(crew.services.engine) as session:
        (row,) = await search_runs(session, asker="ada", command="later", limit=1)
    goes_on = await ada.say(f"resume {row.number}")
    assert goes_on.succeeded, goes_on.outcome
    assert traced(trace) == ["~", "~", "~x do", "ox do"]


@pytest.fixture
async def stops(crew: Bot) -> AsyncIterator[Callable[[str], Awaitable[object]]]:
    """Stops a command by its kill switch, until the test is over."""
    (max_,) = crew.cast("max", may=["countersign:stop-command"])
    yield lambda name: max_.ask(f"stop command {name}")
    async with transaction(crew.owner) as session:
        await session.execute(text("DELETE FROM switches"))


async def as_it_was_before(_services: object, ids: Sequence[UUID], **_: Any) -> list[UUID]:
    """What `without_held` says when the switch is turned just after it was asked."""
    return list(ids)


async def everything_of(crew: Bot) -> str:
    """Every row of every table."""
    async with reading(crew.owner) as session:
        tables = list(await session.scalars(_TABLES))
        return "\n".join([str((await session.execute(text(f'SELECT array_agg(t::text) FROM "{one}" t'))).scalar()) for one in tables])  # noqa: S608


async def test_nobody_asks_for_a_run_that_a_kill_switch_stops(ada: Member, trace: Path, stops: Callable[[str], Awaitable[object]]) -> None:
    asking = asyncio.create_task(ada.say("stalled"))

    async def under_way() -> bool:
        return traced(trace) == ["?s"]

    await until(under_way, what="the call is under way")
    await stops("stalled")
    run = await asking
    assert run.status == "interrupted"
    assert run.outcome == "stall() took longer than 1s; it may have happened."
    assert traced(trace) == ["?s"]
    assert "step:looked_up" not in run.trail


async def test_nor_for_one_that_is_stopped_just_as_it_is_taken_over(
    crew: Bot, ada: Member, trace: Path, stops: Callable[[str], Awaitable[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executing, "without_held", as_it_was_before)
    run = await died(crew, ada, trace, "once only", "?a", meanwhile=lambda: stops("course"))
    assert run.status == "interrupted"
    assert run.outcome == "stay() was under way when its worker died; it may have happened."
    assert traced(trace) == ["?a"]


@pytest.mark.parametrize("says", ["yes", "broken"])
async def test_a_secret_stays_one_when_it_is_looked_up(
    crew: Bot, ada: Member, trace: Path, caplog: pytest.LogCaptureFixture, says: str
) -> None:
    run = await ada.submit("secretly", says=says, code=CODE)
    assert run.status == ("succeeded" if says == "yes" else "interrupted"), run.outcome
    assert traced(trace) == ([f"used fresh-{CODE}"] if says == "yes" else [])
    assert run.log == [f"the code is {DOTS}"] * (1 if says == "yes" else 4)
    assert (f"who knows {DOTS}" in run.outcome) == (says == "broken")
    assert CODE not in await everything_of(crew) + caplog.text


async def test_a_secret_that_a_dead_workers_call_left_stays_one(
    crew: Bot, ada: Member, trace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = await died(crew, ada, trace, "sealed", "?a")
    assert run.succeeded, run.outcome
    assert traced(trace) == ["?a", f"used fresh-{CODE}"]
    assert CODE not in await everything_of(crew) + caplog.text
