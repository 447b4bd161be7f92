"""A hub with a critical command, a rule that wants a fresh login, and the people of both."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.cli.operating import passkeys
from store.embedded import DatabaseUrls
from tests.bot.cli.lines import Ended, called
from tests.holders import Lodge, open_lodge
from tests.hubs import World

COMMANDS = '''
from pathlib import Path

from countersign import Approval, Context, Plan, PlanningContext, command, step


@step(idempotent=True)
async def burn(ctx: Context, where: str, what: str) -> None:
    with Path(where).open("a") as file:
        file.write(what + "\\n")


@command("erase", permission="data:erase", risk="critical", approval=Approval(by="data:approve", count=2), may_loosen=True)
async def erase(ctx: PlanningContext, where: str, what: str) -> Plan:
    """Erase what must not be erased lightly."""
    return Plan(f"{what} is erased", burn(where, what))


@command("dim", permission="data:erase", risk="medium", approval=Approval(by="data:approve", step_up="login"))
async def dim(ctx: PlanningContext, where: str, what: str) -> Plan:
    """Dim something."""
    return Plan(f"{what} is dimmed", burn(where, what))
'''
POLICY = """
profile: strict
people:
  ada: {groups: [developers, leads]}
  zoe: {groups: [developers]}
  lin: {groups: [leads]}
  kim: {groups: [leads]}
  max: {groups: [admins]}
  moe: {groups: [admins]}
  eve: {groups: [staff]}
roles:
  eraser: [data:erase]
  approver: [data:approve, countersign:approve]
  admin: ["countersign:*"]
groups: {developers: [eraser], leads: [approver], admins: [admin], staff: []}
"""


@asynccontextmanager
async def open_vault(database: DatabaseUrls, redis_url: str, folder: Path, policy: str = POLICY, *, port: int = 0) -> AsyncIterator[Lodge]:
    """The hub, with nobody's passkey in it; its web process listens only on a port that is given."""
    (folder / "commands").mkdir()
    (folder / "commands" / "vault.py").write_text(COMMANDS)
    commands = str(folder / "commands")
    world = World(database, redis_url, folder, policy, {"COUNTERSIGN_COMMANDS": commands})
    world.extra |= {"COUNTERSIGN_PUBLIC_URL": f"http://localhost:{port}"} if port else {}
    await world.prepare()
    async with open_lodge(world, port=port) as lodge:
        yield lodge


async def accepted(lodge: Lodge, monkeypatch: pytest.MonkeyPatch, run: str | int, fingerprint: str) -> Ended:
    """`countersign passkey accept` on the hub's machine."""
    for name, value in lodge.world.environment(role="worker").items():
        monkeypatch.setenv(name, value)
    return await asyncio.to_thread(called, passkeys.app, str(run), fingerprint)


async def enrolled(lodge: Lodge, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """The first of these has a key that the machine accepted, the others keys that the first one signed."""
    first, *others = [await lodge.holder(name) for name in names]
    asked = await first.enrol()
    await lodge.settle()
    ended = await accepted(lodge, monkeypatch, asked["run"]["number"], asked["fingerprint"])
    assert ended.code == 0, ended.err
    for one in others:
        asked = await one.enrol()
        await lodge.settle()
        await first.decide(asked["run"]["id"])
        await lodge.settle()
        assert (await one.look(asked["run"]["id"]))["status"] == "succeeded"
