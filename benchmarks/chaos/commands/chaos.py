"""The commands that are asked for: one whose calls may be repeated, and one that calls what must not be."""

import asyncio
import os
import signal
import urllib.error
import urllib.request
from pathlib import Path

from countersign import Approval, Context, Plan, PlanningContext, Retry, command, parallel, step


class Unanswered(Exception):
    """The outside system took the call, or did not; nobody knows."""


@step(idempotent=True, timeout="20s", retry=Retry(attempts=6, wait="0.2s", factor=1.5, on=(Unanswered,)))
async def book(ctx: Context, name: str) -> str:
    await asyncio.to_thread(_post, f"idempotent/{name}")
    return name


@step(timeout="20s")
async def pay(ctx: Context, name: str) -> str:
    await asyncio.to_thread(_post, f"once/{name}")
    return name


@command("book", permission="chaos:run", risk="low")
async def booking(ctx: PlanningContext, name: str) -> Plan:
    """Make two calls beside each other that may be repeated."""
    return Plan(f"book {name}", parallel(book(f"{name}-a"), book(f"{name}-b")))


@command("pay", permission="chaos:run", risk="high", approval=Approval(by="chaos:approve", count=1))
async def paying(ctx: PlanningContext, name: str) -> Plan:
    """Make a call that must not be repeated."""
    return Plan(f"pay {name}", pay(name))


def _post(path: str) -> None:
    _mine("before the call")
    request = urllib.request.Request(f"{os.environ['CHAOS_LEDGER']}/{path}", method="POST", data=b"")  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            response.read()
    except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
        raise Unanswered(str(error)) from None
    _mine("after the call")


def _mine(place: str) -> None:
    """A crash point; `benchmarks.chaos.mines` says how likely, and reads the file of those that went off."""
    if int.from_bytes(os.urandom(4)) < float(os.environ.get("CHAOS_CALL_MINES", "0")) * 2**32:
        with Path(os.environ["CHAOS_MINES_FILE"]).open("a") as file:
            file.write(f"{place}\n")
        os.kill(os.getpid(), signal.SIGKILL)
