"""A worker is killed in the middle of payments: the bank is asked what became of each, and only what it cannot say is for a person."""

import os
import signal
from collections.abc import AsyncIterator

import pytest

from tests.hubs import World, until
from tests.stories.houses import House, executing, open_house

SOURCE = '''
"""Payments whose bank can be asked."""

import asyncio
from pathlib import Path

from countersign import Context, Integration, Plan, PlanningContext, StepFailed, acts, command, happened, reads, step

LEDGER, TRACE = Path({trace!r} + ".ledger"), Path({trace!r})


def put(line: str) -> None:
    with TRACE.open("a") as file:
        file.write(line + "\\n")


class Bank(Integration):
    @reads
    async def entry(self, key: str) -> str | None:
        """The number of the payment with this key, from the bank's own ledger."""
        for number, line in enumerate(LEDGER.read_text().splitlines() if LEDGER.exists() else []):
            if line.endswith(key):
                return f"entry {{number}}"
        return None

    @acts(repeat="queryable")
    async def send(self, to: str, key: str) -> str:
        """Pays."""
        if to in ("baker", "grocer"):
            with LEDGER.open("a") as file:
                file.write(f"{{to}} {{key}}\\n")
        put(f"sent {{to}}")
        if TRACE.read_text().count(f"sent {{to}}") == 1:
            await asyncio.sleep(60)
        with LEDGER.open("a") as file:
            file.write(f"{{to}} {{key}}\\n")
        return "entry"


@step()
async def send(ctx: Context, to: str) -> str:
    """Pays."""
    return await ctx.use(Bank).send(to, ctx.key)


@step(reads=True)
async def find(ctx: Context, to: str) -> object:
    """Asks the bank."""
    if to == "grocer":
        raise StepFailed("the bank is closed")
    number = await ctx.use(Bank).entry(ctx.key)
    return happened(number) if number else False


@step(idempotent=True)
async def note(ctx: Context, what: str) -> None:
    """Notes it."""
    put(f"noted {{what}}")


@command("pay", permission="house:pay", risk="low")
async def pay(ctx: PlanningContext, to: str) -> Plan:
    """Pay somebody."""
    sent = send(to).looked_up_by(find(to), after="0.3s")
    return Plan(f"pays the {{to}}", sent, note(sent.result))
'''
POLICY = """
profile: strict
people: {ada: {groups: [staff]}}
roles: {payer: ["house:pay"]}
groups: {staff: [payer]}
"""
_ENDS = "SELECT (arguments->>'to') || ' ' || status FROM runs ORDER BY 1"
_OUTCOME = "SELECT outcome FROM runs WHERE status = 'interrupted'"
_SAID = """
SELECT (r.arguments->>'to') || ': ' || (audit_detail(a.canonical, a.payload)->>'said')
FROM audit_events a JOIN runs r ON r.id = a.run_id WHERE a.kind = 'step:looked_up' ORDER BY 1
"""


@pytest.fixture
async def house(world: World) -> AsyncIterator[House]:
    async with open_house(world, SOURCE, POLICY, LEASE_SECONDS="3") as house:
        yield house


async def test_the_bank_has_it_or_not_or_does_not_answer(house: House) -> None:
    with house.world.workers() as supervisor:
        for to in ("baker", "butcher", "grocer"):
            await house.ask(f"pay {to}")

        async def all_sent() -> bool:
            return house.trace.read_text().count("sent") == 3

        await until(all_sent, what="three payments under way")
        for pid in executing(supervisor.pid):
            os.kill(pid, signal.SIGKILL)

        async def ended() -> bool:
            return await house.rows(_ENDS) == ["baker succeeded", "butcher succeeded", "grocer interrupted"]

        try:
            await until(ended)
        except AssertionError:
            raise AssertionError("\n".join(await house.rows("SELECT row(arguments, status, outcome)::text FROM runs"))) from None
    paid = [line.partition(" ")[0] for line in (house.trace.parent / "trace.ledger").read_text().splitlines()]
    assert sorted(paid) == ["baker", "butcher", "grocer"], "each was paid once"
    lines = house.trace.read_text().splitlines()
    assert (lines.count("sent baker"), lines.count("sent butcher"), lines.count("sent grocer")) == (1, 2, 1)
    assert any(line.startswith("noted entry ") for line in lines), "the step after it was given what the bank said"
    told = "send(to=grocer) was under way when its worker died; it may have happened."
    assert await house.rows(_OUTCOME) == [f"{told} find(to=grocer) says: it cannot say (the bank is closed)."]
    assert await house.rows(_SAID) == ["baker: it happened", "butcher: it did not happen", "grocer: it cannot say"]
