"""The deploy story in Slack, over signed HTTP and over Socket Mode, with real workers and a real site behind it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import pytest

from countersign_deploys.demos import prepare
from countersign_deploys.sites import Env, Site
from kit.servers import Servers
from store.databases import reading
from store.verify_audit import verify
from tests.bot.slack.doors import Slack, slack_of
from tests.fakes.slack import Message
from tests.fakes.slack.worlds import elements
from tests.hubs import World, disposing, until
from tests.stories.sites import serving_site

POLICY = """
profile: team
people:
  ada: {email: ada@example.test, groups: [developers]}
  lin: {email: lin@example.test, groups: [leads]}
  kim: {email: kim@example.test, groups: [leads]}
  max: {email: max@example.test, groups: [admins]}
  eve: {email: eve@example.test}
identity: {slack: {link_by_email: true}}
roles: {deployer: [deploy:run], approver: [deploy:approve], admin: ["countersign:admin", "countersign:audit"]}
groups: {developers: [deployer], leads: [deployer, approver], admins: [admin]}
"""


@dataclass
class Stage:
    slack: Slack
    site: Site

    async def card(self, channel: str = "C_OPS") -> Message:
        return await self.slack.fake.wait_message(channel=channel, containing="deploy")

    async def shows(self, message: Message, words: str) -> None:
        async def look() -> bool:
            return words in message.content

        await until(look, what=f"the message shows {words!r}: {message.content}")


@pytest.fixture(params=["http", "socket"])
async def stage(request: pytest.FixtureRequest, servers: Servers, redis_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    world = World(servers.fresh_database(), redis_url, tmp_path, policy=POLICY)
    await world.prepare()
    async with _stage(world, request.param) as made:
        yield made


async def test_prod_takes_two_others_and_one_message_tells_it(stage: Stage) -> None:
    slack = stage.slack
    ada, lin, kim = (slack.person(name) for name in ("ada", "lin", "kim"))
    await ada.slash("/countersign", "deploy api v2 env=prod", channel="C_OPS")
    card = await stage.card()
    await stage.shows(card, "waiting for approval")
    for name in ("U0LIN", "U0KIM", "U0ADA"):
        direct = await slack.fake.wait_for(partial(slack.fake.direct_messages, name), what=f"a direct message to {name}")
        assert "deploy" in direct[-1].text
        assert len(direct[-1].text) <= 120
    await ada.click(card, "Approve")
    await slack.fake.wait_ephemeral("U0ADA", containing="someone else must approve your request")
    assert stage.site.current("api", Env.prod) != "v2"
    await lin.click(card, "Approve")
    await stage.shows(card, "1 of 2: lin")
    await kim.click(card, "Approve")
    await stage.shows(card, "succeeded")
    assert stage.site.current("api", Env.prod) == "v2"
    assert (stage.site.root / "prod" / "api" / "current").resolve().name == "v2"
    told = [version.text for version in card.edits] + [card.text]
    channel = slack.fake.messages("C_OPS")
    assert [one for one in channel if one.thread is None] == [card], "one message, edited as the run proceeds"
    votes = ["lin approves", "kim approves"]
    await slack.fake.wait_for(
        lambda: [one.text for one in slack.fake.messages("C_OPS") if one.thread == card.ts] == votes, what="both votes"
    )
    assert any("asks" in one for one in told)
    assert "succeeded" in told[-1]
    await _the_record_tells_it(stage)


async def test_eve_from_another_company_gets_nowhere(stage: Stage) -> None:
    slack = stage.slack
    slack.fake.add_user("U0FOREIGN", name="mallory", team="T9EXTERNAL", email="ada@example.test")
    await slack.person("ada").slash("/countersign", "deploy web v3 env=prod", channel="C_OPS")
    card = await stage.card()
    await stage.shows(card, "waiting for approval")
    await slack.fake.user("U0FOREIGN").forge_click("C_OPS", card.ts, action_id="intent:approve", value=approve_value(card))
    refused = await until(lambda: slack.audit("request:refused"), what="the refusal is recorded")
    assert refused[-1]["reason"] == "external_denied"
    await slack.person("eve").click(card, "Approve")
    await slack.fake.wait_ephemeral("U0EVE", containing="deploy:approve")
    assert stage.site.current("web", Env.prod) != "v3"


def approve_value(card: Message) -> str:
    """What the card's Approve button carries."""
    return next(str(one["value"]) for one in elements(card.blocks) if one.get("action_id", "").startswith("intent:approve"))


async def _the_record_tells_it(stage: Stage) -> None:
    slack = stage.slack
    [run] = await slack.rows("SELECT id, digest FROM runs WHERE command = 'deploy'")
    rows = await slack.rows(
        "SELECT kind, actor, audit_detail(canonical, payload) AS detail FROM audit_events WHERE run_id = :id ORDER BY at_us, seq", id=run.id
    )
    kinds = [(row.kind, row.actor) for row in rows]
    for wanted in (
        ("run:submitted", "ada"),
        ("run:awaiting_approval", "countersign"),
        ("decision:refused", "ada"),
        ("decision:approve", "lin"),
        ("decision:approve", "kim"),
        ("run:queued", "kim"),
        ("run:running", "countersign"),
        ("step:done", "countersign"),
        ("run:succeeded", "countersign"),
    ):
        assert wanted in kinds, f"{wanted} is not in {kinds}"
    assert all(row.detail["digest"] == run.digest for row in rows if row.kind.startswith("decision:"))

    async def sealed() -> bool:
        async with disposing(slack.world.engine(role="owner")) as engine, reading(engine):
            report = verify(
                slack.world.urls.owner,
                anchor_path=slack.world.folder / "anchors" / "audit.jsonl",
                public_key_path=slack.world.folder / "keys" / "audit.pub",
            )
        return not report.problems and report.rows >= len(rows)

    await until(sealed, what="the audit verifies")


@asynccontextmanager
async def _stage(world: World, mode: Literal["http", "socket"]) -> AsyncIterator[Stage]:
    site = Site(world.folder / "site")
    prepare(site)
    async with serving_site(site.root) as address:
        world.extra |= {"COUNTERSIGN_FLEET__ROOT": str(site.root), "COUNTERSIGN_FLEET__URL": address}
        async with slack_of(world, mode) as slack:
            with world.workers():
                yield Stage(slack, site)
