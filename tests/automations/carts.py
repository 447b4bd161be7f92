"""Commands whose steps write what they do into a file, so that their order and number can be read afterwards."""

from pathlib import Path

SOURCE = '''
"""Commands that leave a trace."""

import asyncio
from pathlib import Path

from countersign import Context, Plan, PlanningContext, StepFailed, command, step

TRACE = Path({trace!r})


def trace(line: str) -> int:
    with TRACE.open("a") as file:
        file.write(line + "\\n")
    return TRACE.read_text().splitlines().count(line)


@step(idempotent=True)
async def put(ctx: Context, what: str) -> str:
    """Puts it in."""
    trace("+" + what)
    return what


@step(idempotent=True)
async def take(ctx: Context, what: str) -> None:
    """Takes it out."""
    trace("-" + what)


@step(idempotent=True)
async def fail(ctx: Context, words: str = "it is broken") -> None:
    """Fails."""
    trace("!")
    raise StepFailed(words)


@step(timeout="0.3s")
async def once(ctx: Context, what: str) -> None:
    """Takes too long the first time."""
    if trace("~" + what) == 1:
        await asyncio.sleep(30)


@step(idempotent=True, timeout="0.3s")
async def often(ctx: Context, what: str) -> None:
    """Takes too long each time."""
    trace("~" + what)
    await asyncio.sleep(30)


@step()
async def listen(ctx: Context) -> None:
    """Goes on until somebody cancels, and then ends well by itself."""
    trace("listening")
    while not await ctx.cancelled():
        await asyncio.sleep(0.02)
    trace("heard")
    raise StepFailed("I was told to stop")


@step()
async def deaf(ctx: Context) -> None:
    """Never listens."""
    trace("listening")
    await asyncio.sleep(30)


def undone(what: str) -> object:
    return put(what).undone_by(take(what))


PLANS = {{
    "all well": lambda: [undone("a"), put("b")],
    "undone": lambda: [undone("a"), undone("b"), fail()],
    "some stays": lambda: [put("a"), undone("b"), fail()],
    "cannot be undone": lambda: [put("a"), put("b"), fail("no more room.")],
    "nothing done": lambda: [fail(), undone("a")],
    "bad undo": lambda: [undone("a"), put("b").undone_by(fail("it sticks")), undone("c"), fail()],
    "unclear": lambda: [undone("a"), once("x").undone_by(take("x")), put("c")],
    "unclear undo": lambda: [undone("a"), put("b").undone_by(once("b")), fail()],
    "slow": lambda: [undone("a"), often("x"), put("c")],
    "listening": lambda: [listen()],
    "deaf": lambda: [undone("a"), deaf()],
    "gone": lambda: [undone("a"), undone("b")],
}}


@command("cart", permission="cart:fill", risk="medium")
async def cart(ctx: PlanningContext, how: str) -> Plan:
    """Fill a cart."""
    return Plan(f"fills a cart: {{how}}", *PLANS[how]())
'''


def write_cart(folder: Path) -> Path:
    """The commands in the folder `commands`; returns the file their steps write to."""
    (folder / "commands").mkdir()
    (folder / "commands" / "carts.py").write_text(SOURCE.format(trace=str(folder / "trace")))
    (folder / "trace").touch()
    return folder / "trace"


def traced(trace: Path) -> list[str]:
    """What the steps have written, line by line."""
    return trace.read_text().splitlines()


def done(trace: Path) -> str:
    """The same in one line."""
    return " ".join(traced(trace))
