"""A plugin in two versions on disk: one file that differs between them, and one that does not."""

from pathlib import Path
from typing import Final

VERSIONS: Final = ("one", "two")
LOADS: Final = 10
_MOVING: Final = '''
"""What this file does depends on its version."""

import asyncio
import os
import urllib.request

from countersign import Approval, Context, Plan, PlanningContext, command, step

VERSION = {version!r}


@step(timeout="20s")
async def carry(ctx: Context, name: str, planned: str) -> None:
    await asyncio.sleep(0.2)
    await asyncio.to_thread(_post, f"once/{{name}}.{{planned}}.{{VERSION}}")


@command("ship", permission="freight:run", risk="high", approval=Approval(by="freight:approve", count=1))
async def ship(ctx: PlanningContext, name: str) -> Plan:
    """Make a call that must not be repeated, by this version alone."""
    return Plan(f"ship {{name}} by version {{VERSION}}", carry(name, VERSION))


def _post(path):
    request = urllib.request.Request(os.environ["FREIGHT_LEDGER"] + "/" + path, method="POST", data=b"")
    with urllib.request.urlopen(request, timeout=10) as response:
        response.read()
'''
_STEADY: Final = '''
"""The same in both versions."""

import asyncio
import os
import urllib.request

from countersign import Approval, Context, Plan, PlanningContext, command, each, step


@step(idempotent=True, timeout="20s")
async def note(ctx: Context, name: str) -> None:
    await asyncio.to_thread(_post, f"idempotent/{{name}}.once")


@step(timeout="20s")
async def pay_one(ctx: Context, name: str, seconds: float) -> None:
    await asyncio.to_thread(_post, f"once/{{name}}")
    await asyncio.sleep(seconds)


@command("book", permission="freight:run", risk="low")
async def book(ctx: PlanningContext, name: str) -> Plan:
    """Make a call that may be repeated."""
    return Plan(f"book {{name}}", note(name))


@command("pay", permission="freight:run", risk="high", approval=Approval(by="freight:approve", count=1))
async def pay(ctx: PlanningContext, name: str) -> Plan:
    """Make a call that must not be repeated."""
    return Plan(f"pay {{name}}", pay_one(f"{{name}}.once", 0.2))


@command("haul", permission="freight:run", risk="low")
async def haul(ctx: PlanningContext, name: str) -> Plan:
    """Make many calls that must not be repeated, one after the other: longer than a worker that ends is given."""
    return Plan(f"haul {{name}}", each([f"{{name}}.{{n}}" for n in range({loads})], lambda one: pay_one(one, {pause})))


@command("stay", permission="freight:run", risk="low")
async def stay(ctx: PlanningContext, name: str) -> Plan:
    """Make one call that takes longer than a worker that ends is given."""
    return Plan(f"stay {{name}}", pay_one(f"{{name}}.once", 15.0))


def _post(path):
    request = urllib.request.Request(os.environ["FREIGHT_LEDGER"] + "/" + path, method="POST", data=b"")
    with urllib.request.urlopen(request, timeout=10) as response:
        response.read()
'''


def write_freight(folder: Path, *, pause: float) -> dict[str, Path]:
    """The plugin's folder by version. A haul's calls take `pause` seconds each."""
    made = {}
    for version in VERSIONS:
        made[version] = folder / f"commands-{version}"
        made[version].mkdir()
        (made[version] / "moving.py").write_text(_MOVING.format(version=version))
        (made[version] / "steady.py").write_text(_STEADY.format(loads=LOADS, pause=pause))
    return made
