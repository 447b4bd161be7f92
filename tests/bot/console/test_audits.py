"""The record in the browser: searched by those who may read it, its chain, one event's proof, and a verification at a press."""

import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text

from automations.housekeeping.indexing import index_once
from automations.housekeeping.sealing import anchor_of, signer_of
from automations.housekeeping.verifying import verify_once
from automations.services import Services, open_services
from store.anchors import anchor_missing
from store.audits import AuditEvent, search
from store.databases import reading
from store.sealing import seal
from store.verifications import note_anchored
from tests.bot.console.pages import Page
from tests.bot.console.test_inert import CORPUS
from tests.bot.console.test_pages import ask_for_grant, post
from tests.bot.webs import Web
from tests.hubs import World, disposing


async def sealed(services: Services) -> None:
    """What the housekeepers do within seconds."""
    anchor = anchor_of(services.settings)
    async with services.transaction() as session:
        while await seal(session, signer_of(services.settings)):
            pass
    async with services.transaction() as session:
        await anchor_missing(session, anchor)
        await note_anchored(session, anchor.last)
    anchor.close()
    await index_once(services)


@asynccontextmanager
async def sealing(world: World) -> AsyncIterator[Services]:
    """A housekeeper that has just sealed, anchored and indexed everything."""
    services = open_services(world.settings(role="worker"), name="housekeeping:proof", pool=4)
    await sealed(services)
    yield services
    await services.close()


async def test_max_searches_the_record_and_is_in_it(web: Web, world: World) -> None:
    await ask_for_grant(web, world, role="deployer", reason="OPS-12")
    await ask_for_grant(web, world, role="approver")
    max_ = await web.browser("max")

    async def found(query: str) -> list[str]:
        page = await max_.client.get(f"/audit?{query}")
        assert page.status_code == 200, page.text
        assert Page(page.text).wrong == []
        return re.findall(r"<td><code>([\w:]+)</code></td>", page.text)

    assert '<a href="/audit"' in (await max_.client.get("/runs")).text
    assert await found("q=ops-12") == ["run:submitted"]
    assert await found("q=role%3Dapprover+grant") == ["run:submitted"]
    assert await found("q=eve&kind=run:submitted&actor=Max") == ["run:submitted"] * 2
    assert await found("run=1") == ["run:awaiting_approval", "run:planning", "run:submitted"]
    assert await found("run=1&q=ops") == ["run:submitted"]
    assert await found("until=2020-01-01") == await found("since=2099-01-01&q=eve") == []
    assert (await max_.client.get("/audit?since=soon")).status_code == 422
    assert (await max_.client.get("/audit?run=99")).status_code == 404
    async with reading(web.hub.engine) as session:
        reads = await search(session, kind="audit:read", actor="max")
    assert {"by_words": "ops-12"}.items() <= reads[-1].detail.items()


async def test_lin_may_not_and_that_is_recorded(web: Web) -> None:
    lin = await web.browser("lin")
    assert '<a href="/audit"' not in (await lin.client.get("/runs")).text
    for path in ("/audit", "/audit/events/2c0a1d0e-7d1c-4a52-9d54-7a1c1f0b3f11"):
        answer = await lin.client.get(path)
        assert answer.status_code == 403
        assert "countersign:audit" in answer.text
    assert (await post(lin, await lin.page(), "/audit/verify")).status_code == 403
    async with reading(web.hub.engine) as session:
        assert len(await search(session, kind="request:refused", actor="lin")) == 3


async def test_the_record_goes_on_page_after_page(web: Web, world: World) -> None:
    max_ = await web.browser("max")
    await web.hub.record([AuditEvent("door:knocked", "eve", None, {"n": n}) for n in range(60)])
    first = await max_.client.get("/audit?kind=door:knocked")
    older = re.search(r'href="(/audit\?[^"]*before=[^"]*)"', first.text)
    assert older
    second = await max_.client.get(older[1].replace("&amp;", "&"))
    ids = [re.findall(r'data-open="/audit/events/([^"]+)"', one.text) for one in (first, second)]
    assert (len(ids[0]), len(ids[1])) == (50, 10)
    assert not set(ids[0]) & set(ids[1])


async def test_an_event_has_a_page_with_a_proof_that_can_be_followed_by_hand(web: Web, world: World) -> None:
    await ask_for_grant(web, world, reason=CORPUS[0])
    max_ = await web.browser("max")
    event = re.search(r'data-open="/audit/events/([^"]+)"', (await max_.client.get("/audit?run=1&kind=run:submitted&q=grant")).text)
    assert event
    assert "No block holds it yet" in (await max_.client.get(f"/audit/events/{event[1]}")).text
    async with sealing(world):
        pass
    page = await max_.client.get(f"/audit/events/{event[1]}")
    assert Page(page.text).wrong == []
    assert "countersign evidence 1" in page.text
    hash_ = bytes.fromhex(re.search(r"<dt>leaf</dt><dd><code>(\w+)", page.text)[1])  # type: ignore[index]
    for side, digest in re.findall(r"<small>(left|right)</small> <code>(\w+)</code>", page.text):
        pair = bytes.fromhex(digest) + hash_ if side == "left" else hash_ + bytes.fromhex(digest)
        hash_ = hashlib.sha256(b"\1" + pair).digest()
    assert re.search(r"<dt>root</dt><dd><code>(\w+)", page.text)[1] == hash_.hex()  # type: ignore[index]


async def test_max_has_the_record_verified(web: Web, world: World) -> None:
    services = open_services(world.settings(role="worker"), name="housekeeping:proof", pool=4)
    await sealed(services)
    max_ = await web.browser("max")
    assert "never from here" in (await max_.client.get("/audit")).text
    assert not await verify_once(services), "nobody asked"
    for _ in range(2):  # the second finds the first waiting
        assert (await post(max_, await max_.page(), "/audit/verify")).headers["location"] == "/audit"
    assert "waits for a housekeeper" in (await max_.client.get("/audit")).text
    assert await verify_once(services)
    assert not await verify_once(services)
    page = (await max_.client.get("/audit")).text
    assert "as it was recorded</span>: " in page, page
    assert "anchored</dt><dd>up to block 1" in page
    async with reading(web.hub.engine) as session:
        (event,) = await search(session, kind="audit:verified")
        assert len(await search(session, kind="audit:verify_asked", actor="max")) == 1
    assert event.detail["problems"] == 0
    async with disposing(world.engine(role="owner")) as engine, reading(engine) as session:
        await session.execute(text("ALTER TABLE audit_events DISABLE TRIGGER USER"))
        await session.execute(text("UPDATE audit_events SET canonical = replace(canonical, 'countersign', 'nobody') WHERE seq = 1"))
        await session.execute(text("ALTER TABLE audit_events ENABLE TRIGGER USER"))
    await post(max_, await max_.page(), "/audit/verify")
    assert await verify_once(services)
    await services.close()
    assert "not as it was recorded" in (await max_.client.get("/audit")).text
