"""Commands whose plans have a shape, and steps that fail for a while; what they do is written into a file as in `carts`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.automations.carts import write_cart

SOURCE = '''
"""Commands whose plans have a shape."""

import asyncio

from carts import deaf, fail, once, put, take, trace, undone

from countersign import (
    Approval, Context, NothingDone, Plan, PlanningContext, Retry, StepFailed, branch, command, each, parallel, sequence, step, submit
)


@step(idempotent=True)
async def late(ctx: Context, what: str, after: float = 0.3) -> str:
    """Puts it in after a while."""
    trace("?" + what)
    await asyncio.sleep(after)
    trace("+" + what)
    return what


@step()
async def once_only(ctx: Context, what: str) -> None:
    """As late, but nobody may repeat it; and no sooner than it may."""
    trace("?" + what)
    await asyncio.sleep(0.3)
    while TRACE.with_name("held").exists():
        await asyncio.sleep(0.02)
    trace("+" + what)


@step(reads=True)
async def look(ctx: Context, at: str) -> dict[str, str]:
    """Looks."""
    return {"state": at}


@step(idempotent=True, retry=Retry(attempts=3, wait="0.02s"))
async def shaky(ctx: Context, until: int) -> str:
    """Fails until that try."""
    if trace("~") < until:
        raise StepFailed("it shakes")
    return "steady"


@step(retry=Retry(attempts=3, wait="0.02s"))
async def careful(ctx: Context, until: int, sure: bool) -> None:
    """Fails until that try, and says that it did nothing if it is sure."""
    if trace("~") < until:
        raise NothingDone("nothing happened") if sure else StepFailed("who knows")


@step(retry=Retry(attempts=3, wait="0.02s", on=(KeyError,)))
async def declared(ctx: Context, until: int) -> None:
    """Fails until that try in a way that it says is harmless."""
    if trace("~") < until:
        raise KeyError


@step(idempotent=True, timeout="0.1s", retry=Retry(attempts=2, wait="0.02s"))
async def dawdle(ctx: Context) -> None:
    """Takes too long the first time."""
    if trace("~") == 1:
        await asyncio.sleep(30)


@step(reads=True)
async def healthy(ctx: Context, until: int) -> bool:
    """Is healthy until that look."""
    return trace("o") < until


@step(idempotent=True, retry=Retry(attempts=2, wait="5s", jitter=0))
async def calm(ctx: Context) -> None:
    """Fails the first time, and has to wait for a while."""
    if trace("~") == 1:
        raise NothingDone("not yet")


@step(retry=Retry(attempts=2, wait="30s", jitter=0))
async def patient(ctx: Context) -> None:
    """Fails the first time."""
    if trace("~") == 1:
        raise NothingDone("not yet")


def guarded(until, failures=1):
    return undone("a").guarded(healthy(until), for_="10m", every="1m", failures=failures)


def children():
    child = submit("course", how="loop")
    return [undone("s"), child.undone_by(submit("cart", how="all well")), late(child.result["result"], 0.0)]


def half_beside():
    probe = look("green")
    chosen = branch(probe.result["state"].equals("green"), sequence(put("g"), careful(2, False)), put("r"))
    return [probe, parallel(put("a"), chosen), put("z")]


def green(at):
    probe = look(at)
    return [probe, branch(probe.result["state"].equals("green"), undone("a"), sequence(put("b"), put("c"))), put("d")]


COURSES = {
    "beside": lambda: [parallel(late("a"), late("b"), late("c"), at_once=2), put("d")],
    "one fails": lambda: [undone("a"), parallel(late("b").undone_by(take("b")), late("c", 0.1).undone_by(take("c")), fail()), put("d")],
    "one fails early": lambda: [parallel(fail(), undone("b"), undone("c"), at_once=1 + 1)],
    "two unclear": lambda: [undone("a"), parallel(once("x").undone_by(take("x")), once("y").undone_by(take("y")), undone("b"))],
    "fails and unclear": lambda: [undone("a"), parallel(once("x").undone_by(take("x")), fail())],
    "deaf beside": lambda: [undone("a"), parallel(deaf(), deaf(), late("b", 0.01).undone_by(take("b")))],
    "green": lambda: green("green"),
    "red": lambda: green("red"),
    "odd and empty": lambda: [one := undone("a"), branch(one.result["state"].is_true(), sequence())],
    "odd": lambda: [one := put("text"), branch(one.result["state"].is_true(), put("x"))],
    "loop": lambda: [each("abc", lambda x: sequence(undone(x), put(x + "!")))],
    "half": lambda: [one := put("a"), late(one.result, 0.0), careful(2, False), put("z")],
    "half beside": half_beside,
    "light": lambda: [each(range(40), lambda n: put(str(n)))],
    "slowly": lambda: [late("a").undone_by(take("a")), late("b")],
    "guarded": lambda: [guarded(99), put("b")],
    "guarded badly": lambda: [undone("z"), guarded(4), put("b")],
    "guarded at first": lambda: [guarded(1, failures=9), put("b")],
    "patient": lambda: [patient(), put("b")],
    "child": children,
    "child fails": lambda: [undone("s"), submit("cart", how="nothing done"), put("t")],
    "child undone": lambda: [*children(), fail()],
    "no such child": lambda: [undone("s"), submit("crat")],
    "child asks": lambda: [undone("s"), submit("weighty", how="x"), put("t")],
    "children beside": lambda: [undone("s"), parallel(submit("weighty", how="x"), submit("weighty", how="y"), late("b")), put("t")],
    "itself": lambda: [submit("course", how="itself")],
    "a control": lambda: [submit("whoami")],
    "loop beside": lambda: [each("abcd", lambda x: late(x), at_once=4)],
    "crowd": lambda: [each(range(24), lambda n: late(str(n), 0.05), at_once=8)],
    "shaky": lambda: [shaky(3)],
    "too shaky": lambda: [undone("a"), shaky(9)],
    "sure": lambda: [careful(3, True)],
    "unsure": lambda: [careful(3, False)],
    "declared": lambda: [declared(3)],
    "dawdle": lambda: [dawdle()],
    "left beside": lambda: [parallel(calm(), sequence(late("a"), put("b")))],
    "once only": lambda: [once_only("a")],
}


@command("course", permission="cart:fill", risk="medium")
async def course(ctx: PlanningContext, how: str) -> Plan:
    """Fill a cart in some order."""
    return Plan(f"fills a cart: {how}", *COURSES[how]())


@command("weighty", permission="cart:weigh", risk="medium", approval=Approval(by="cart:approve"))
async def weighty(ctx: PlanningContext, how: str) -> Plan:
    """Fill a cart when somebody agrees."""
    return Plan(f"fills a cart heavily: {how}", *([put("w"), careful(2, False)] if how == "half" else [undone("w" + how)]))


@command("guinea", permission="cart:weigh", risk="medium", approval=Approval(by="cart:approve"))
async def guinea(ctx: PlanningContext, how: str) -> Plan:
    """Fill a cart that falls over."""
    return Plan(f"fills a cart that falls over: {how}", undone(how), fail())


@command(
    "loader", permission="cart:fill", risk="medium", approval=Approval(by="cart:approve", when={"how": "prod"}), rehearsal={"how": "canary"}
)
async def loader(ctx: PlanningContext, how: str) -> Plan:
    """Fill a cart that is safe to empty again."""
    return Plan(f"loads {how}", undone(how), put("b"))


@command("leaker", permission="cart:fill", risk="medium", rehearsal={"how": "canary"})
async def leaker(ctx: PlanningContext, how: str) -> Plan:
    """Fill a cart that cannot be emptied."""
    return Plan(f"fills {how}", put(how).undone_by(fail()))


@command("hasty", permission="cart:fill", risk="medium", timeout="2s")
async def hasty(ctx: PlanningContext, beside: bool = False) -> Plan:
    """Fill a cart in two seconds."""
    slow = [undone("a"), late("b", 0.6).undone_by(take("b")), late("c", 30), put("d")]
    return Plan("fills a cart in time", parallel(*slow) if beside else sequence(*slow))
'''


@contextmanager
def held_up(trace: Path) -> Iterator[None]:
    """Meanwhile no call that nobody may repeat ends, however long it takes what happens beside it."""
    sign = trace.with_name("held")
    sign.touch()
    try:
        yield
    finally:
        sign.unlink()


def write_courses(folder: Path) -> Path:
    """The commands in the folder `commands`, beside those of `carts`; returns the file their steps write to."""
    trace = write_cart(folder)
    carts = (folder / "commands" / "carts.py").read_text()
    own = SOURCE.replace("from carts import deaf, fail, once, put, take, trace, undone\n", "")
    (folder / "commands" / "carts.py").write_text(carts + own)
    return trace
