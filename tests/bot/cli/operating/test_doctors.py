"""`countersign doctor` finds what is wrong and says what to do."""

import json

import pytest

from bot.cli.operating.checks import Finding, examine
from bot.cli.operating.doctors import app
from store.databases import transaction
from store.workers import note_worker
from tests.bot.cli.lines import called
from tests.hubs import World, disposing


async def found(world: World, **changes: str) -> dict[str, Finding]:
    world.extra = {"COUNTERSIGN_REDIS_URL": world.redis_url, "COUNTERSIGN_WORKER_DATABASE_URL": world.urls.worker} | changes
    with pytest.MonkeyPatch.context() as patch:
        for name, value in world.environment(role="web").items():
            patch.setenv(name, value)
        return {one.part: one for one in await examine(world.settings())}


async def see_workers(world: World) -> None:
    async with disposing(world.engine()) as engine, transaction(engine) as session:
        for role in ("planning", "executing", "housekeeping"):
            await note_worker(session, name=f"here:{role}", role=role, versions=["1"])


async def test_a_hub_without_workers_needs_care(world: World) -> None:
    findings = await found(world)
    wrong = [name for name, one in findings.items() if not one.ok]
    assert "workers" in wrong
    assert findings["workers"].said.startswith("none for planning and executing and housekeeping in the last 30 s; run: countersign worker")
    assert {name: findings[name].ok for name in ("commands", "keys", "database", "schema", "redis")} == dict.fromkeys(
        ("commands", "keys", "database", "schema", "redis"), True
    )


async def test_a_key_that_others_can_read_is_named(world: World) -> None:
    (world.folder / "keys" / "seal.private").chmod(0o644)
    findings = await found(world)
    assert findings["keys"].said.endswith("seal.private can be read by other accounts; chmod 600 it")


async def test_the_owner_may_not_run_a_hub(world: World) -> None:
    findings = await found(world, COUNTERSIGN_DATABASE_URL=world.urls.owner)
    assert not findings["database"].ok
    assert "use the role countersign_web or countersign_worker" in findings["database"].said
    assert "schema" not in findings or findings["schema"].ok


async def test_servers_that_do_not_answer_are_named(world: World) -> None:
    nowhere = {"COUNTERSIGN_DATABASE_URL": "postgresql://web:pw@127.0.0.1:9/x", "COUNTERSIGN_REDIS_URL": "redis://127.0.0.1:9/0"}
    findings = await found(world, **nowhere)
    assert (findings["database"].ok, findings["redis"].ok) == (False, False)
    assert "pw" not in findings["database"].said
    assert "policy" not in findings


async def test_workers_that_were_seen_are_well(world: World) -> None:
    await see_workers(world)
    assert (await found(world))["workers"] == Finding("workers", ok=True, said="seen for planning, executing, housekeeping")


def test_a_wrong_setting_is_the_only_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERSIGN_PORT", "door")
    ended = called(app, "--json", name="countersign doctor")
    report = json.loads(ended.out)
    assert ended.code == 1
    assert report["ok"] is False
    assert report["findings"][0]["said"].startswith("COUNTERSIGN_PORT: should be a valid integer")
    assert "1 of 1 parts need care: settings." in ended.err
