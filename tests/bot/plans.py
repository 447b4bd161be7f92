"""What workers would do, done by hand: a run gets its plan and its approval request, so that doors can be tested without workers."""

from typing import Any
from uuid import UUID

from uuid6 import uuid7

from countersign.plans import plan_digest
from countersign.runs import RunStatus
from store.approvals import NewRequest, open_requests
from store.databases import transaction
from store.runs import Move, move
from tests.bot.webs import Web
from tests.hubs import World, disposing

COMMANDS = '''
"""Commands for the tests of doors."""

from countersign import Context, Plan, Secret, action, command, step


@step(idempotent=True)
async def turn(ctx: Context, valve: str, code: Secret) -> None:
    """Turn it."""


@command("open valve", permission="valves:open", risk="medium")
async def open_valve(ctx: Context, valve: str, code: Secret, turns: int = 1) -> Plan:
    """Open a valve with its code."""
    return Plan(f"{valve} is opened", turn(valve, code))


@command("look inside", permission="valves:look", risk="medium", visibility="private", owner="plumbers")
async def look_inside(ctx: Context, valve: str = "main") -> Plan:
    """Look at something private."""
    return Plan(f"{valve} is looked at", turn(valve, Secret("x")))
'''


async def plan_by_hand(world: World, run: str, *, by: str = "deploy:approve", count: int = 1, digest: str = "", **plan: Any) -> str:
    """Moves a submitted run to awaiting_approval, as a planning worker does; returns the digest."""
    digest = digest or "d" * 64
    whole = {"summary": "something will happen", "steps": [], "watched": {}, "fields": [], "preview": "", "warning": ""} | plan
    async with disposing(world.engine()) as engine, transaction(engine) as session:
        await move(session, [Move(UUID(run), RunStatus.planning, by="countersign")])
        wanted = Move(UUID(run), RunStatus.awaiting_approval, by="countersign", plan=whole, digest=digest, revision=1)
        assert await move(session, [wanted])
        rule = {"by": by, "count": count}
        await open_requests(session, [NewRequest(UUID(bytes=uuid7().bytes), UUID(run), 1, digest, rule, "p", 3600, plan=whole)])
    return digest


async def ask_and_plan(web: Web, world: World, *, reason: str) -> tuple[str, str]:
    """Max asks for a grant, and its plan has the digest that a worker would give it; the run's id and that digest."""
    body = {"command": "grant", "arguments": {"person": "eve", "role": "deployer"}, "reason": reason}
    async with await web.caller("max") as caller:
        run = (await caller.post("/api/v1/runs", json=body)).json()
        code = (await caller.get(f"/api/v1/runs/{run['id']}")).json()["code_version"]
    signed = plan_digest({"steps": [], "watched": {}}, command="grant", code_version=code, arguments=run["arguments"])
    return run["id"], await plan_by_hand(world, run["id"], digest=signed)


async def move_by_hand(world: World, run: str, *to: RunStatus, **more: Any) -> None:
    """Moves a run along, as workers do."""
    async with disposing(world.engine()) as engine, transaction(engine) as session:
        for one in to:
            assert await move(session, [Move(UUID(run), one, by="countersign", **more)]), one
