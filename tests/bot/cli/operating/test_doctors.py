"""`countersign doctor` finds what is wrong and says what to do."""

import json
from pathlib import Path

import pytest
from sqlalchemy import text

from bot.cli.operating.checks import examine
from bot.cli.operating.doctors import app
from bot.cli.operating.findings import Finding
from store.audits import AuditEvent, record
from store.databases import transaction
from store.messages import NewMessage, add_messages
from store.workers import note_worker
from tests.bot.cli.lines import called
from tests.fakes.slack import SlackFake
from tests.fakes.slack.tokens import BOT_SCOPES, Token
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


async def test_what_is_stuck_is_named_with_what_to_do(world: World) -> None:
    await see_workers(world)
    async with disposing(world.engine(role="owner")) as owner, transaction(owner) as session:
        await add_messages(session, [NewMessage(None, "reply", "slack", "T1", "C1", card={"text": "x"})])
        await session.execute(text("UPDATE messages SET dead_at = countersign_now(), error = 'is_archived'"))
        await session.execute(text("UPDATE promises SET count = 2, example = 'run 7' WHERE promise = 'doubled' AND what = 'step'"))
        await record(session, [AuditEvent("run:submitted", "ada", None, {})])
        await session.execute(text("UPDATE clock SET shift = '2 minutes'"))
        await session.execute(text("UPDATE workers SET seen_at = countersign_now()"))
    findings = await found(world)
    assert findings["messages"].said == "1 for slack cannot be delivered; ask: messages, mend it, then: messages resend all"
    assert findings["promises"].said.startswith("2 step doubled (run 7)")
    assert findings["work"].said.startswith("the record is not sealed since ")
    assert findings["clock"].said.startswith("the hub's time was set 0:02:00 apart")
    assert [findings[name].ok for name in ("messages", "promises", "work", "clock")] == [False] * 4
    assert [findings[name].ok for name in ("disk", "address", "rights", "workers")] == [True] * 4


async def test_a_role_with_too_few_rights_or_too_many_is_named(world: World) -> None:
    async with disposing(world.engine(role="owner")) as owner:
        async with transaction(owner) as session:
            await session.execute(text("REVOKE INSERT ON inbox FROM countersign_web"))
        assert "lacks INSERT on inbox; grant it countersign_web" in (await found(world))["rights"].said
        async with transaction(owner) as session:
            await session.execute(text("GRANT INSERT ON inbox TO countersign_web"))
            await session.execute(text("GRANT DELETE ON runs TO countersign_web"))
        assert "has DELETE on runs, which nobody may have; revoke it" in (await found(world))["rights"].said


async def test_a_host_left_behind_and_another_policy_in_the_file_are_said_and_not_wrong(world: World, tmp_path: Path) -> None:
    await see_workers(world)
    async with disposing(world.engine()) as engine, transaction(engine) as session:
        await note_worker(session, name="there:planning", role="planning", versions=["2"])
    (tmp_path / "other.yaml").write_text("profile: team\n")
    findings = await found(world, COUNTERSIGN_POLICY=str(tmp_path / "other.yaml"))
    assert findings["workers"].ok
    assert "they offer 2 different sets of commands" in findings["workers"].said
    assert findings["policy"].ok
    assert "other.yaml says something else" in findings["policy"].said


async def test_links_that_lead_nowhere_for_others_are_wrong(world: World) -> None:
    assert "set COUNTERSIGN_PUBLIC_URL" in (await found(world, COUNTERSIGN_HOST="0.0.0.0"))["address"].said  # noqa: S104  what is refused


async def test_an_app_that_may_not_upload_files_is_said_where_long_answers_should_be_files(world: World) -> None:
    async with SlackFake() as fake:
        fake.tokens.add(fake.bot_token, Token("bot", BOT_SCOPES - {"files:write"}))
        slack = {
            "COUNTERSIGN_SLACK_BOT_TOKEN": fake.bot_token,
            "COUNTERSIGN_SLACK_API_URL": fake.api_url,
            "COUNTERSIGN_SLACK_SIGNING_SECRET": fake.signing_secret,
        }
        plain = (await found(world, **slack))["slack"]
        assert (plain.ok, plain.said.endswith("so answers come without their pictures")) == (True, True)
        lacking = (await found(world, **slack, COUNTERSIGN_SLACK_LONG_ANSWERS="file"))["slack"]
        assert not lacking.ok
        assert lacking.said.startswith("the app may not upload files (files:write), so long answers come as links; update it from")
        fake.tokens.add(fake.bot_token, Token("bot", BOT_SCOPES))
        assert (await found(world, **slack, COUNTERSIGN_SLACK_LONG_ANSWERS="file"))["slack"].ok
