"""Calls that are in doubt, and an author who said how to look: what becomes of them without a worker's death, and while one may live."""

from pathlib import Path

import pytest

from automations import inquiring
from kit.bots import Bot, Member
from store.databases import reading
from store.runs import search_runs
from tests.automations.carts import traced
from tests.automations.test_deaths import died

LOOKS = '''

from countersign import happened


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
