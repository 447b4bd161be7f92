"""Secrets that careless commands log, raise, return and show are found nowhere: not in logs, tables, messages, answers."""

import asyncio
import base64
import json
import logging
import secrets
from collections.abc import AsyncIterator, Mapping
from io import StringIO
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from countersign.runs import FINISHED, RunStatus
from store.databases import reading
from tests.bot.webs import Web, web_of
from tests.hubs import World, disposing, until
from tests.stories.canaries import WAYS, Canary, write_commands

MOST_SECONDS = 60.0


def canary(*, tail: str | None = None) -> Canary:
    core = "cn" + secrets.token_hex(16)
    return Canary(core) if tail is None else Canary(core, tail)


@pytest.fixture
def settings_of_vault() -> dict[str, Canary]:
    return {"COUNTERSIGN_VAULT__CODE": canary(), "COUNTERSIGN_VAULT__TOKEN": canary()}


@pytest.fixture
def web_log() -> StringIO:
    return StringIO()


@pytest.fixture
async def vault(world: World, settings_of_vault: dict[str, Canary], web_log: StringIO) -> AsyncIterator[Web]:
    """A hub with careless commands and real workers."""
    write_commands(world.folder)
    world.extra |= {name: one.value for name, one in settings_of_vault.items()}
    world.extra |= {f"COUNTERSIGN_{one.upper()}": str(world.folder / one) for one in ("commands", "runbooks")}
    with world.workers():
        async with web_of(world) as web:
            for handler in logging.getLogger().handlers:
                if type(handler) is logging.StreamHandler:
                    handler.setStream(web_log)
            yield web


async def ask(client: httpx.AsyncClient, command: str, *, form: bool, dry_run: bool = False, **arguments: Any) -> str:
    """Asks through a form of the room or through the REST API; returns the run's id."""
    if form and not dry_run:
        answer = await client.post("/api/v1/room/form", json={"command": command, "answers": arguments, "channel": "ops"})
        found = answer.json()["run"]
    else:
        answer = await client.post("/api/v1/runs", json={"command": command, "arguments": arguments, "dry_run": dry_run})
        found = answer.json().get("id")
    assert found, answer.text
    return str(found)


async def ended(client: httpx.AsyncClient, run: str) -> str:
    """The run's status once nothing more will happen to it."""

    async def look() -> str:
        status = (await client.get(f"/api/v1/runs/{run}")).json()["status"]
        return str(status) if RunStatus(status) in FINISHED or status == "interrupted" else ""

    return str(await until(look, seconds=MOST_SECONDS, what=run))


async def everything_stored(world: World) -> dict[str, str]:
    """Every row of every table as text; binary columns in hexadecimal digits, and as the characters they hold."""
    found: dict[str, str] = {}
    async with disposing(world.engine(role="owner")) as engine, reading(engine) as session:
        tables = (await session.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))).scalars().all()
        for table in tables:
            rows = (await session.execute(text(f'SELECT t::text FROM "{table}" t'))).scalars().all()  # noqa: S608  a name from the catalog
            found[table] = "\n".join(rows)
        columns = await session.execute(
            text("SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' AND data_type = 'bytea'")
        )
        for table, column in columns.all():
            values = await session.execute(text(f'SELECT encode("{column}", \'escape\') FROM "{table}"'))  # noqa: S608
            found[f"{table}.{column}"] = "\n".join(one or "" for one in values.scalars())
    return found


async def everything_answered(client: httpx.AsyncClient, browser: httpx.AsyncClient, runs: list[str]) -> dict[str, str]:
    """What the API, the room and the page say about these runs."""
    paths = [f"/api/v1/runs/{run}{more}" for run in runs for more in ("", "/log")]
    paths += ["/api/v1/runs?limit=100", "/api/v1/audit?limit=100", "/api/v1/commands", "/api/v1/room/messages?channel=ops", "/metrics"]
    found = {path: (await client.get(path)).text for path in paths}
    for line in (f"run {runs[0]}", "runs", "audit"):
        found[line] = (await client.post("/api/v1/room/say", json={"text": line, "channel": "ops"})).text
    for run in runs:
        pressed = {"intent": "details", "target": run, "key": run}
        found[f"details {run}"] = (await client.post("/api/v1/room/press", json=pressed)).text
    found["page"] = (await browser.get("/?channel=ops")).text
    return found


def leaks(where: Mapping[str, str], canaries: Mapping[str, Canary]) -> list[str]:
    return [f"{how}: in {place}" for how, one in canaries.items() for place, said in where.items() if one.seen_in(said)]


async def test_secrets_are_found_nowhere(vault: Web, world: World, settings_of_vault: dict[str, Canary], web_log: StringIO) -> None:
    client, eve = await vault.caller("max"), await vault.caller("ada")
    browser = await vault.browser("max")
    canaries: dict[str, Canary] = dict(settings_of_vault)
    runs: dict[str, str] = {}
    for position, how in enumerate((*WAYS, *WAYS[: 50 - len(WAYS) - 8])):
        name = f"{how} {position}"
        canaries[name] = canary()
        runs[name] = await ask(client, "leak", form=position % 2 == 0, dry_run=how == "dry run", how=how, value=canaries[name].value)
    for position, name in enumerate(("good", "fail")):
        pair = canaries[f"script {name} value"], canaries[f"script {name} other"] = canary(tail='"\\é%+'), canary(tail="'&=☂")
        runs[f"script {name}"] = await ask(client, "leak-script", form=bool(position), name=name, value=pair[0].value, other=pair[1].value)
    runs["settings"] = await ask(client, "leak settings", form=False)
    for how, line in (("typed", "leak log value={}"), ("typed badly", 'leak "{}')):
        canaries[how] = canary(tail="")
        assert (await eve.post("/api/v1/room/say", json={"text": line.format(canaries[how].value), "channel": "ops"})).is_success
    assert len(canaries) >= 50

    statuses = {name: await ended(client, run) for name, run in runs.items()}
    assert set(statuses.values()) == {"succeeded", "failed", "answered", "rolled_back", "rollback_failed"}, statuses

    stored = await everything_stored(world)
    assert str(UUID(runs["settings"])) in stored["runs"]
    answered = await everything_answered(client, browser.client, list(runs.values()))
    logs = {"worker log": await asyncio.to_thread((world.folder / "workers.log").read_text), "web log": web_log.getvalue()}
    assert "raised" in logs["worker log"]
    assert "POST" in logs["web log"]
    found = leaks(stored | answered | logs, canaries)
    assert not found, "\n".join(found)
    assert "••••••" in json.dumps(answered, ensure_ascii=False)


def test_a_canary_that_got_out_is_seen() -> None:
    one = canary()
    raw = one.value.encode()
    outs = [f"x{one.value}y", quote(one.value), json.dumps(one.value), repr(raw), raw.hex()]
    outs += [base64.b64encode(b"x" * skipped + raw + b"yz").decode() for skipped in range(4)]
    assert all(one.seen_in(out) for out in outs)
    assert not canary().seen_in(" ".join(outs))
