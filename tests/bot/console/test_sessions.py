"""Coming in by a one-time link, acting as oneself or as one of the cast, and what other sites cannot do."""

import re

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.console.attempts import MOST
from store.audits import search
from store.databases import WriteSession, reading, transaction
from store.people import deactivate
from store.tokens import end_token
from tests.bot.webs import ORIGIN, Web, hidden, web_of
from tests.hubs import World, disposing

FORM = {"text": "whoami", "channel": "ops", "key": "12345678"}


async def test_looking_at_a_link_does_not_burn_it(web: Web) -> None:
    link = await web.token("link", "ada", scopes=())
    async with web.client({"origin": ORIGIN}) as ada:
        for _ in range(3):
            seen = await ada.get(f"/enter/{link}")
            assert seen.status_code == 200
            assert "Come in" in seen.text
            assert "set-cookie" not in seen.headers
        first = await ada.post(f"/enter/{link}")
        second = await ada.post(f"/enter/{link}")
        after = await ada.get(f"/enter/{link}")
    assert first.status_code == 303
    assert first.headers["location"] == "/"
    cookie = first.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/" in cookie
    assert second.status_code == after.status_code == 410
    assert "does not work any more" in second.text
    async with reading(web.hub.engine) as session:
        assert [row.actor for row in await search(session, kind="session:opened")] == ["ada"]


async def test_with_https_the_cookie_is_bound_to_the_host(world: World) -> None:
    async with web_of(world, PUBLIC_URL="https://countersign.example.test") as web:
        link = await web.token("link", "ada", scopes=())
        async with web.client({"origin": "https://countersign.example.test"}) as ada:
            cookie = (await ada.post(f"/enter/{link}")).headers["set-cookie"]
    assert cookie.startswith("__Host-countersign=cs_session_")
    assert "Secure" in cookie


@pytest.mark.parametrize("link", ["cs_link_guess", "%00", "é", "x" * 5_000, "..%2f..%2fetc"])
async def test_a_guessed_link_opens_nothing(web: Web, link: str) -> None:
    async with web.client({"origin": ORIGIN}) as stranger:
        for answer in (await stranger.get(f"/enter/{link}"), await stranger.post(f"/enter/{link}")):
            assert answer.status_code in (404, 410)
            assert "set-cookie" not in answer.headers


async def test_without_a_session_the_page_says_how_to_get_one(web: Web) -> None:
    async with web.client() as stranger:
        for cookie in ("", "countersign_8000=made-up", "countersign_8000=\u00e9".encode().decode("latin-1")):
            answer = await stranger.get("/", headers=[(b"cookie", cookie.encode("latin-1"))])
            assert answer.status_code == 401
            assert "countersign login" in answer.text


async def test_another_site_can_do_nothing(web: Web) -> None:
    ada = await web.browser("ada")
    page = (await ada.page()).text
    form = FORM | {"csrf": hidden(page, "csrf")}
    foreign: list[dict[str, str]] = [
        {"origin": "https://evil.test", "sec-fetch-site": "cross-site"},
        {"origin": "https://evil.test", "sec-fetch-site": ""},
        {"origin": "null", "sec-fetch-site": "same-origin"},
        {"origin": ORIGIN, "sec-fetch-site": "same-site"},
        {"origin": ORIGIN, "sec-fetch-site": "cross-site"},
        {"origin": "http://127.0.0.1:8000.evil.test", "sec-fetch-site": "same-origin"},
    ]
    for headers in foreign:
        for path in ("/room/say", "/room/form", "/room/press", "/leave", "/enter/x"):
            answer = await ada.client.post(path, data=form, headers=headers)
            assert answer.status_code == 403, (headers, path)
            assert "another site" in answer.text
    del ada.client.headers["origin"], ada.client.headers["sec-fetch-site"]
    assert (await ada.client.post("/room/say", data=form)).status_code == 403
    right = await ada.client.post("/room/say", data=form, headers={"origin": ORIGIN})
    assert right.status_code == 200


@pytest.mark.parametrize("csrf", [None, "", "0" * 64, "é"])
async def test_a_form_without_the_sessions_token_does_nothing(web: Web, csrf: str | None) -> None:
    ada, lin = await web.browser("ada"), await web.browser("lin")
    hers = hidden((await lin.page()).text, "csrf")
    for value in (csrf, hers):
        answer = await ada.client.post("/room/say", data=FORM | ({} if value is None else {"csrf": value}))
        assert answer.status_code == 403
        assert "Reload it and try again" in answer.text


async def test_a_person_stays_who_they_are(web: Web) -> None:
    ada = await web.browser("ada")
    page = await ada.page(**{"as": "max"})
    said = await ada.say("whoami", acting_as="max")
    assert "Act as" not in page.text
    assert "You are ada." in said.text


async def test_the_demo_acts_as_any_of_the_cast_in_each_tab(demo: Web) -> None:
    browser = await demo.browser(None)
    page = await browser.page()
    for name in ("ada", "lin", "kim", "max", "eve"):
        assert f"as={name}" in page.text
        assert f"You are {name}." in (await browser.say("whoami", acting_as=name)).text
    assert "You are ada." in (await browser.say("whoami", acting_as="mallory")).text


async def test_a_demo_session_is_nothing_where_there_is_no_demo(web: Web) -> None:
    browser = await web.browser(None)
    assert (await browser.page()).status_code == 401


async def test_who_leaves_is_out_and_so_is_who_was_deactivated(web: Web, world: World) -> None:
    ada, lin = await web.browser("ada"), await web.browser("lin")
    assert (await ada.send("/leave")).status_code == 303
    assert (await ada.page()).status_code == 401
    async with disposing(world.engine()) as engine, transaction(engine) as session:
        await deactivate(session, "lin")
    assert (await lin.page()).status_code == 401


async def test_an_ended_session_is_dead_for_every_tab(web: Web) -> None:
    ada = await web.browser("ada")
    value = ada.client.cookies["countersign_8000"]

    async def end(session: WriteSession) -> None:
        await end_token(session, value)

    await web.hub.committed(end)
    assert (await ada.page()).status_code == 401
    assert (await ada.client.get("/room/events")).status_code == 401


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"text=a&text=b", "application/x-www-form-urlencoded", 400),
        (b"text=%ff", "application/x-www-form-urlencoded", 400),
        (b"text=\xff", "application/x-www-form-urlencoded", 400),
        (b"text=%00", "application/x-www-form-urlencoded", 400),
        (b"text", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a%d=1" % n for n in range(200)), "application/x-www-form-urlencoded", 400),
        (b'{"text":"a"}', "application/json", 415),
        (b"--x--", "multipart/form-data; boundary=x", 415),
        (b"", "application/x-www-form-urlencoded", 403),
        (b"text=" + b"a" * 300_000, "application/x-www-form-urlencoded", 413),
    ],
)
async def test_a_form_that_no_browser_sends_is_refused(web: Web, content: bytes, kind: str, status: int) -> None:
    ada = await web.browser("ada")
    answer = await ada.client.post("/room/say", content=content, headers={"content-type": kind})
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")


async def test_a_session_that_is_not_used_ends_and_an_open_page_does_not_use_it(world: World) -> None:
    async with web_of(world, SESSION_IDLE_MINUTES="5") as web, disposing(world.engine(role="owner")) as owner:
        ada, lin = await web.browser("ada"), await web.browser("lin")
        looking = {"accept": "text/html"}
        for _ in range(2):
            await shift(owner, "4 minutes")
            assert (await ada.client.get("/", headers=looking)).status_code == 200
            left_open = {"countersign-part": "1"}
            await lin.client.get("/inbox", headers=left_open)
        assert (await lin.client.get("/inbox", headers=looking)).status_code == 401
        assert (await ada.client.get("/inbox", headers=looking)).status_code == 200


async def test_a_session_ends_however_much_it_is_used(world: World) -> None:
    async with web_of(world, SESSION_HOURS="1") as web, disposing(world.engine(role="owner")) as owner:
        ada = await web.browser("ada")
        for status in (200, 200, 401):
            assert (await ada.client.get("/", headers={"accept": "text/html"})).status_code == status
            await shift(owner, "31 minutes")


async def shift(owner: AsyncEngine, by: str) -> None:
    """Moves the database's clock on."""
    async with transaction(owner) as session:
        await session.execute(text("UPDATE clock SET shift = shift + cast(:by AS interval)"), {"by": by})


async def test_ada_sees_where_she_is_signed_in_and_ends_a_stolen_session(web: Web) -> None:
    ada, thief = await web.browser("ada"), await web.browser("ada")
    async with await web.caller("ada") as program:
        page = await ada.client.get("/sessions")
        assert page.text.count("<tr>") == 4
        assert page.text.count("this browser") == 1
        own = {name: hidden(page.text, name) for name in ("csrf", "key")}
        answer = await ada.client.post("/sessions/end", data=own | {"which": "others"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/sessions")
        assert (await ada.page()).status_code == 200
        assert (await thief.page()).status_code == 401
        assert (await thief.client.get("/room/events")).status_code == 401
        assert (await program.get("/api/v1/runs")).status_code == 401
    async with reading(web.hub.engine) as session:
        assert [row.actor for row in await search(session, kind="token:ended")] == ["ada", "ada"]


async def test_only_an_admin_sees_and_ends_the_sessions_of_others(web: Web) -> None:
    ada, lin, max_ = await web.browser("ada"), await web.browser("lin"), await web.browser("max")
    theirs = await max_.client.get("/sessions?of=everybody")
    assert ">lin<" in theirs.text
    assert ">lin<" not in (await ada.client.get("/sessions?of=everybody")).text
    [which] = re.findall(r'value="([0-9a-f-]{36})"(?:(?!</form>).)*of lin<', theirs.text, re.DOTALL)
    own = {name: hidden((await ada.client.get("/sessions")).text, name) for name in ("csrf", "key")}
    assert (await ada.client.post("/sessions/end", data=own | {"which": which})).status_code == 404
    assert (await ada.client.post("/sessions/end", data=own | {"which": "no id"})).status_code == 400
    assert (await lin.page()).status_code == 200
    own = {name: hidden(theirs.text, name) for name in ("csrf", "key")}
    assert (await max_.client.post("/sessions/end", data=own | {"which": which, "of": "everybody"})).status_code == 303
    assert (await lin.page()).status_code == 401


async def test_signing_in_makes_a_new_session_and_ends_the_one_before(web: Web) -> None:
    """A session that somebody planted in the browser beforehand is not the one that gets signed in."""
    ada = await web.browser("ada")
    before = ada.client.cookies["countersign_8000"]
    await ada.client.post("/sign-in", data={"link": await web.token("link", "ada", scopes=()), "next": "/inbox"})
    after = ada.client.cookies["countersign_8000"]
    assert after != before
    async with web.client({"cookie": f"countersign_8000={before}"}) as thief:
        assert (await thief.get("/")).status_code == 401


@pytest.mark.parametrize(
    "then", ["//evil.test", "https://evil.test/", "/\\evil.test", "javascript:alert(1)", "/inbox\r\nx: y", "/%2f%2fevil.test"]
)
async def test_signing_in_leads_to_no_other_site(web: Web, then: str) -> None:
    async with web.client({"origin": ORIGIN}) as ada:
        page = await ada.get("/sign-in", params={"next": then})
        assert hidden(page.text, "next") == "/"
        answer = await ada.post("/sign-in", data={"link": await web.token("link", "ada", scopes=()), "next": then})
        assert answer.headers["location"] == "/"
        right = await ada.post("/sign-in", data={"link": await web.token("link", "ada", scopes=()), "next": "/runs/7"})
        assert right.headers["location"] == "/runs/7"


async def test_another_site_cannot_sign_somebody_in_as_somebody_else(web: Web) -> None:
    link = await web.token("link", "eve", scopes=())
    async with web.client({"origin": "https://evil.test", "sec-fetch-site": "cross-site"}) as ada:
        answer = await ada.post("/sign-in", data={"link": link, "next": "/"})
        assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)


async def test_guessing_is_slowed_down(web: Web) -> None:
    link = await web.token("link", "ada", scopes=())
    async with web.client({"origin": ORIGIN}) as stranger:
        for _ in range(MOST):
            assert (await stranger.post("/sign-in", data={"link": "cs_link_guess"})).status_code == 410
        for answer in (await stranger.post("/sign-in", data={"link": link}), await stranger.post(f"/enter/{link}")):
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) <= 60
            assert "try again in" in answer.text
