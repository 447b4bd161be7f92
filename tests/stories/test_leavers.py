"""People come and go where they live: a directory over SCIM, Slack, the policy. Within 60 s nothing of theirs is left; it is measured."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from commands.registries import load_registry
from commands.seed import seed
from kit.servers import Servers
from store.databases import reading, transaction
from store.people import Person, find_person, save_people
from store.rosters import find_memberships
from store.runs import RunRow, find_run
from store.secrets import Keys
from store.tokens import issue_token
from tests.automations.carts import write_cart
from tests.bot.slack.doors import slack_of
from tests.bot.webs import Web, web_of
from tests.hubs import World, disposing, until

SECONDS: Final = 60.0
PEOPLE = """
people:
  ada: {email: ada@example.test, groups: [developers]}
  lin: {email: lin@example.test, groups: [leads]}
  max: {email: max@example.test, groups: [admins]}
"""
POLICY = f"""
profile: strict
{PEOPLE}
identity: {{slack: {{link_by_email: true}}}}
roles: {{deployer: ["cart:fill"], approver: ["cart:approve"], admin: ["*:*"]}}
groups: {{developers: [deployer], leads: [deployer, approver], admins: [admin], sre: [approver]}}
directories:
  scim: {{groups: {{Cart leads: leads}}}}
  slack: {{groups: {{S0SRE: sre}}}}
"""
TWO = """
rules:
- {name: two, command: cart, approve: {by: "cart:approve", count: 2}}
"""


@dataclass
class Company:
    """A hub with workers, and the directory of its people."""

    world: World
    web: Web
    hr: httpx.AsyncClient

    async def person(self, name: str) -> Person | None:
        async with disposing(self.world.engine()) as engine, reading(engine) as session:
            return await find_person(session, name)

    async def run(self, run_id: str) -> RunRow:
        async with disposing(self.world.engine()) as engine, reading(engine) as session:
            found = await find_run(session, UUID(run_id))
        assert found is not None
        return found

    async def rows(self, sql: str, **values: Any) -> list[Any]:
        async with disposing(self.world.engine(role="owner")) as engine, reading(engine) as session:
            return list((await session.execute(text(sql), values)).all())

    async def becomes(self, name: str, *groups: str, active: bool = True) -> Person:
        async def look() -> Person | None:
            found = await self.person(name)
            return found if found and found.active is active and (not active or found.groups == set(groups)) else None

        found = await until(look, what=f"{name} is {'in ' + str(groups) if active else 'gone'}")
        assert isinstance(found, Person)
        return found

    async def ask(self, client: httpx.AsyncClient) -> str:
        """A run that waits for two approvals."""
        asked = await client.post("/api/v1/runs", json={"text": "cart how='all well'"})
        assert asked.status_code == 201, asked.text
        run_id = str(asked.json()["id"])

        async def waits() -> bool:
            return (await self.run(run_id)).status == "awaiting_approval"

        await until(waits, what="the run waits for approval")
        return run_id

    async def approve(self, client: httpx.AsyncClient, run_id: str) -> httpx.Response:
        digest = (await self.run(run_id)).digest
        return await client.post(f"/api/v1/runs/{run_id}/decisions", json={"verdict": "approve", "digest": digest})

    async def user(self, name: str, **more: Any) -> str:
        made = await self.hr.post("Users", json={"userName": f"{name}@example.test", **more})
        assert made.status_code == 201, made.text
        return str(made.json()["id"])


@pytest.fixture
async def company(servers: Servers, redis_url: str, tmp_path: Path) -> AsyncIterator[Company]:
    async with _company(World(servers.fresh_database(), redis_url, tmp_path)) as made:
        yield made


@asynccontextmanager
async def _company(world: World) -> AsyncIterator[Company]:
    write_cart(world.folder)
    commands = world.folder / "commands"
    world.extra["COUNTERSIGN_COMMANDS"] = str(commands)
    Keys.prepared(world.folder / "keys")
    async with disposing(world.engine(role="owner")) as engine, transaction(engine) as session:
        await seed(session, POLICY + TWO, commands=load_registry(folder=commands, runbooks=None).commands)
        token = await issue_token(session, kind="scim", person=None, label="hr", scopes=(), lifetime=600)
    headers = {"authorization": f"Bearer {token}", "content-type": "application/scim+json"}
    with world.workers():
        async with web_of(world) as web, web.client(headers) as hr:
            hr.base_url = httpx.URL(str(hr.base_url).rstrip("/") + "/scim/v2/")
            yield Company(world, web, hr)


async def measured(what: str, gone: Callable[[], Awaitable[bool]]) -> None:
    began = time.monotonic()
    await until(gone, seconds=SECONDS, what=what)
    took = time.monotonic() - began
    print(f"{what}: {took:.1f} s")
    assert took < SECONDS


async def test_who_the_directory_brings_works_and_who_it_lets_go_leaves_nothing(company: Company) -> None:
    zoe = await company.user("zoe", emails=[{"value": "zoe@example.test"}], timezone="Europe/Berlin")
    yan = await company.user("yan")
    manager = {"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"manager": {"value": zoe}}}
    ada = await company.user("ada", **manager)
    group = await company.hr.post("Groups", json={"displayName": "Cart leads", "members": [{"value": one} for one in (zoe, yan, ada)]})
    assert group.status_code == 201, group.text
    found = await company.becomes("zoe", "leads")
    assert (found.email, found.timezone) == ("zoe@example.test", "Europe/Berlin")
    assert (await company.becomes("ada", "developers", "leads")).manager == "zoe", "the same person, known by her address"
    async with await company.web.caller("zoe") as zoes, await company.web.caller("ada") as adas:
        own, other = await company.ask(zoes), await company.ask(adas)
        assert (await company.approve(zoes, other)).status_code == 200
        whoami = (await zoes.post("/api/v1/runs", json={"text": "whoami"})).json()
        assert "leads (from the directory)" in str(whoami)
        assert (await company.hr.delete(f"Users/{zoe}")).status_code == 204

        async def is_gone() -> bool:
            told = await zoes.get("/api/v1/runs")
            votes = await company.rows("SELECT 1 FROM decisions WHERE person = 'zoe' AND withdrawn_at IS NULL")
            return told.status_code == 401 and (await company.run(own)).status == "cancelled" and not votes

        await measured("deleted in the directory, gone here", is_gone)
        assert (await company.run(own)).outcome == (
            "zoe does not belong to this company any more, so this will not happen; nothing was done."
        )
        assert (await company.run(other)).status == "awaiting_approval"
    async with await company.web.caller("yan") as yans, await company.web.caller("lin") as lins:
        await company.approve(yans, other)
        assert (await company.run(other)).status == "awaiting_approval", "one of the two approvals was zoe's"
        await company.approve(lins, other)

        async def is_done() -> bool:
            return (await company.run(other)).status == "succeeded"

        await until(is_done)
    kinds = {row.kind for row in await company.rows("SELECT kind FROM audit_events")}
    assert kinds >= {"directory:user_made", "directory:user_deleted", "membership:added", "person:gone", "person:let_go", "decision:lost"}


async def test_one_source_never_takes_back_what_another_said(company: Company) -> None:
    lin = await company.user("lin")
    group = (await company.hr.post("Groups", json={"displayName": "Cart leads", "members": [{"value": lin}]})).json()
    await company.becomes("lin", "leads")

    async def sources() -> list[str]:
        async with disposing(company.world.engine()) as engine, reading(engine) as session:
            return [one.source for one in await find_memberships(session, "lin")]

    async def both() -> bool:
        return await sources() == ["policy", "scim"]

    await until(both)
    assert (await company.hr.delete(f"Groups/{group['id']}")).status_code == 204

    async def only_policy() -> bool:
        return await sources() == ["policy"]

    await until(only_policy)
    await company.becomes("lin", "leads")
    patch = {"Operations": [{"op": "replace", "path": "active", "value": False}]}
    assert (await company.hr.patch(f"Users/{lin}", json=patch)).status_code == 200
    await company.becomes("lin", active=False)
    async with disposing(company.world.engine()) as engine, transaction(engine) as session:
        await save_people(session, {"lin": {"email": "lin@example.test", "groups": ["leads"]}})
    found = await company.person("lin")
    assert found is not None
    assert not found.active, "a policy that still names her does not bring back whom the directory let go"
    patch["Operations"][0]["value"] = True
    await company.hr.patch(f"Users/{lin}", json=patch)
    await company.becomes("lin", "leads")


async def test_a_taken_over_web_process_brings_nobody_in(company: Company) -> None:
    before = len(await company.rows("SELECT 1 FROM people"))
    async with disposing(company.world.engine(role="web")) as engine, transaction(engine) as session:
        for body, kind in (('{"userName": "mallory@example.test"}', "User"), ('{"displayName": "Cart leads", "members": []}', "Group")):
            await session.execute(
                text(
                    "INSERT INTO directory_feed (resource, kind, version, body, token)"
                    " VALUES (gen_random_uuid(), :kind, 1, cast(:body AS jsonb), 'forged')"
                ),
                {"kind": kind, "body": body},
            )

    async def refused() -> bool:
        return bool(await company.rows("SELECT 1 FROM audit_events WHERE kind = 'directory:refused'"))

    await until(refused)
    assert len(await company.rows("SELECT 1 FROM people")) == before
    assert (await company.hr.get("Users")).json()["totalResults"] == 0


async def test_who_the_policy_lets_go_leaves_nothing(company: Company) -> None:
    async with await company.web.caller("lin") as lins, await company.web.caller("ada") as adas:
        own, other = await company.ask(lins), await company.ask(adas)
        assert (await company.approve(lins, other)).status_code == 200
        async with disposing(company.world.engine()) as engine, transaction(engine) as session:
            await save_people(session, {"ada": {"groups": ["developers"]}, "max": {"groups": ["admins"]}})

        async def is_gone() -> bool:
            votes = await company.rows("SELECT 1 FROM decisions WHERE person = 'lin' AND withdrawn_at IS NULL")
            told = await lins.get("/api/v1/runs")
            return told.status_code == 401 and (await company.run(own)).status == "cancelled" and not votes

        await measured("left out of the policy, gone", is_gone)


async def test_slack_says_who_is_in_a_group_and_who_left(servers: Servers, redis_url: str, tmp_path: Path) -> None:
    world = World(servers.fresh_database(), redis_url, tmp_path, policy=POLICY)
    await world.prepare()
    async with slack_of(world) as slack:
        slack.fake.add_usergroup("S0SRE", handle="sre", users=["U0LIN", "U0EVE"])
        await slack.person("lin").slash("/cs", "whoami", channel="C_OPS")
        with world.workers():

            async def in_sre() -> bool:
                return bool(
                    await slack.rows("SELECT 1 FROM memberships WHERE person = 'lin' AND \"group\" = 'sre' AND source LIKE 'slack:%'")
                )

            await until(in_sre, what="lin is in the group that policy names")
            await slack.person("lin").slash("/cs", "whoami", channel="C_OPS")
            await slack.fake.wait_ephemeral("U0LIN", containing="sre (from Slack)")
            run = await slack.rows("SELECT 1 FROM memberships WHERE person = 'eve'")
            assert run == [], "nobody here"
            await slack.person("lin").leave()

            async def is_gone() -> bool:
                row = await slack.rows("SELECT active FROM people WHERE name = 'lin'")
                return not row[0].active

            await measured("deactivated in Slack, gone here", is_gone)
            assert [one["source"] for one in await slack.audit("person:gone")] == [f"slack:{slack.fake.world.team}"]
