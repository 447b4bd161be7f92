"""What people decided on is shown as it was, whatever has become of people, policy and rows since."""

from sqlalchemy import text

from store.databases import reading
from tests.bot.console.pages import Page
from tests.bot.console.test_inert import CORPUS
from tests.bot.plans import ask_and_plan
from tests.bot.webs import Web
from tests.hubs import World, disposing


async def test_an_auditor_sees_who_decided_on_what_as_whom(web: Web, world: World) -> None:
    run, digest = await ask_and_plan(web, world, reason=CORPUS[0])
    async with await web.caller("max") as max_api:
        assert (await max_api.post(f"/api/v1/runs/{run}/decisions", json={"verdict": "approve", "digest": digest})).status_code == 403
    async with await web.caller("lin") as lin:
        said = {"verdict": "approve", "digest": digest, "reason": "seen it"}
        assert (await lin.post(f"/api/v1/runs/{run}/decisions", json=said)).status_code == 200
    async with disposing(world.engine(role="owner")) as engine, reading(engine) as session:
        await session.execute(text("DELETE FROM memberships WHERE person = 'lin'"))
        await session.execute(text("UPDATE runs SET plan = '{}', digest = 'other'"))
    max_ = await web.browser("max")
    page = await max_.client.get("/audit/runs/1")
    assert page.status_code == 200, page.text
    assert Page(page.text).wrong == []
    for one in (
        "lin: approve",
        "<dd>developers, leads</dd>",
        "max: approve, which was refused",
        "<dd>admins</dd>",
        digest,
        "something will happen",
        "seen it",
        "profile: team",
        "the plan below has it",
        "run:queued by lin",
    ):
        assert one in page.text, one
    assert "/audit/runs/1" in (await max_.client.get("/audit?run=1")).text
    async with disposing(world.engine(role="owner")) as engine, reading(engine) as session:
        await session.execute(text("UPDATE request_plans SET plan = jsonb_set(plan, '{steps}', '[{\"title\": \"more\"}]')"))
    assert "the plan below is another one" in (await max_.client.get("/audit/runs/1")).text
    eve = await web.browser("eve")
    assert (await eve.client.get("/audit/runs/1")).status_code == 403
    assert (await max_.client.get("/audit/runs/99")).status_code == 404
