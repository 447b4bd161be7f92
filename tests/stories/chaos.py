"""The commands of the chaos story: one that may be repeated, and one that must not."""

import asyncio
import os
import urllib.request

from countersign import Approval, Context, Plan, PlanningContext, command, parallel, step


@step(idempotent=True, timeout="20s")
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
    request = urllib.request.Request(f"{os.environ['CHAOS_LEDGER']}/{path}", method="POST", data=b"")  # noqa: S310
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        response.read()
