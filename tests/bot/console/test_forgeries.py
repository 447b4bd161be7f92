"""What another site, a frame, a crafted link or a planted session could do to whoever is signed in: nothing. Every route is tried."""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Final
from urllib.parse import quote

import httpx
import pytest

from bot.console.sessions import cookie_name
from commands.views import FILTERS, ViewPage
from store.audits import search
from store.databases import reading
from tests.bot.console.pages import Page
from tests.bot.console.test_inert import CORPUS
from tests.bot.webs import ORIGIN, Web, hidden
from tests.matrix.surfaces import parameters_of, routes_of

PROGRAMS: Final = ("/api/", "/scim/", "/slack/", "/hooks/", "/live", "/ready", "/metrics")
WITHOUT_SESSION: Final = ("/sign-in", "/enter/{token}")
"""Where nobody has a session yet, the one-time link is what counts, and where the request comes from."""
FILTERED: Final = (*FILTERS[ViewPage.runs], *FILTERS[ViewPage.audit])
UNDECLARED: Final = (*FILTERED, "all", "as", "said", "before", "coming", "a.person", "a.role", "next", "back")
FOREIGN: Final[tuple[Mapping[str, str], ...]] = (
    {"origin": "https://evil.test", "sec-fetch-site": "cross-site"},
    {"origin": "null"},
    {"origin": ORIGIN, "sec-fetch-site": "same-site"},
    {"origin": ORIGIN.replace("http:", "https:") + ".evil.test"},
    {},
)
ELSEWHERE: Final = (
    *("//evil.test", "///evil.test", "https://evil.test/", "/\\evil.test", "\\\\evil.test", "/\t/evil.test", "javascript:alert(1)"),
    *(
        "/%2f%2fevil.test",
        "/inbox\r\nlocation: //evil.test",
        "https:evil.test",
        "/@evil.test",
        "http://127.0.0.1:8000@evil.test/",
        "/..//evil.test",
    ),
)
WALKED: Final = 3
"""So many of them are tried on every route, all of them where something is led on to."""
_STREAMS: Final = ("/room/events", "/console/events")
_HELD: Final = frozenset({"'self'", "'none'"})


def paths(web: Web, method: str) -> list[str]:
    """Every path of the application for this method, programs' doors left out."""
    known = [one.removeprefix(f"{method} ") for one in routes_of(web.app) if one.startswith(f"{method} ")]
    return sorted(one for one in known if not one.startswith(PROGRAMS))


def filled(path: str, value: str = "1") -> str:
    return re.sub(r"\{\w+\}", lambda _: value, path)


async def test_no_form_counts_that_was_not_made_by_this_sessions_page(web: Web) -> None:
    ada, lin = await web.browser("ada"), await web.browser("lin")
    hers = hidden((await lin.page()).text, "csrf")
    posts = [one for one in paths(web, "POST") if one not in WITHOUT_SESSION]
    assert len(posts) > 8
    for path in posts:
        for csrf in ({}, {"csrf": ""}, {"csrf": hers}, {"csrf": "0" * 64}):
            answer = await ada.client.post(filled(path), data={"text": "whoami", "key": "12345678", "which": "others"} | csrf)
            assert (answer.status_code, "from an earlier session" in answer.text) == (403, True), (path, csrf)
    assert (await ada.page()).status_code == (await lin.page()).status_code == 200
    await _nothing_was_done(web)


async def test_nothing_counts_that_another_site_had_the_browser_send(web: Web) -> None:
    ada = await web.browser("ada")
    csrf = hidden((await ada.page()).text, "csrf")
    del ada.client.headers["origin"], ada.client.headers["sec-fetch-site"]
    link = await web.token("link", "eve", scopes=())
    for path in paths(web, "POST"):
        for headers in FOREIGN:
            form = {"csrf": csrf, "text": "whoami", "key": "12345678", "which": "others", "link": link}
            answer = await ada.client.post(filled(path, link), data=form, headers=dict(headers))
            assert (answer.status_code, "another site" in answer.text) == (403, True), (path, headers)
            assert "set-cookie" not in answer.headers
    assert (await ada.page()).status_code == 200
    await _nothing_was_done(web)


async def test_a_session_opens_no_programs_door(web: Web) -> None:
    """What a browser sends by itself does not count where programs call: there are no forms with tokens there."""
    ada = await web.browser("max")
    known = [one.split(" ") for one in routes_of(web.app)]
    tried = [(method, filled(path)) for method, path in known if path.startswith(("/api/", "/scim/")) and not path.endswith("openapi.json")]
    assert len(tried) > 40
    for method, path in tried:
        assert (await ada.client.request(method, path, json={})).status_code == 401, (method, path)


async def test_nothing_is_shown_in_a_frame_and_nothing_runs_but_our_own_files(web: Web) -> None:
    max_ = await web.browser("max")
    async with web.client() as stranger:
        for client in (max_.client, stranger):
            for answer in [one async for one in _answers(web, client)]:
                _is_strict(answer)
        for method, path in (("GET", "/nowhere"), ("PUT", "/inbox"), ("POST", "/room/say"), ("GET", "/api/v1/runs"), ("GET", "/%00")):
            _is_strict(await stranger.request(method, path))


async def test_no_answer_leads_to_another_site(web: Web) -> None:
    max_ = await web.browser("max")
    csrf = hidden((await max_.page()).text, "csrf")
    for number, address in enumerate(ELSEWHERE):
        for path in paths(web, "GET") if number < WALKED else ["/sign-in", "/sign-in/oidc", "/sign-in/back"]:
            if path not in _STREAMS:
                names = {*parameters_of(web.app).get(f"GET {path}", ()), "next", "back", "then", "url", "as"}
                _stays(await max_.client.get(filled(path), params=dict.fromkeys(names, address)), path)
        for path in paths(web, "POST") if number < WALKED else ["/room/press", "/room/say", "/ask"]:
            if path not in ("/leave", *WITHOUT_SESSION):
                form = {"csrf": csrf, "key": f"12345678{number}", "back": address, "next": address, "command": "whoami", "go": "ask"}
                _stays(await max_.client.post(filled(path), data=form), path)
        link = await web.token("link", "max", scopes=())
        async with web.client({"origin": ORIGIN}) as browser:
            _stays(await browser.post("/sign-in", data={"link": link, "next": address}), "/sign-in")
        _stays(await max_.client.get(f"{ORIGIN}/{quote(address, safe='/')}"), "the address itself")


async def test_a_session_that_was_planted_is_never_signed_in(web: Web) -> None:
    """Neither one of somebody else's nor one that an attacker made up is what the browser has after it came in."""
    name, eves = cookie_name(web.hub.settings), await web.token("session", "eve", scopes=())
    for planted in (eves, "cs_session_made_up", "x" * 200):
        for path in ("/enter/{token}", "/sign-in"):
            link = await web.token("link", "ada", scopes=())
            async with web.client({"origin": ORIGIN, "cookie": f"{name}={planted}"}) as browser:
                answer = await browser.post(path.replace("{token}", link), data={"link": link})
            fresh = answer.cookies[name]
            assert fresh not in ("", planted)
            async with web.client({"cookie": f"{name}={planted}"}) as attacker:
                assert (await attacker.get("/inbox")).status_code == 401, "whoever planted it is not signed in with it"
            async with web.client({"cookie": f"{name}={fresh}"}) as ada:
                assert ">ada<" in (await ada.get("/inbox")).text


@pytest.mark.parametrize("evil", [CORPUS[number] for number in (0, 3, 4, 20)])
async def test_what_an_address_says_is_shown_as_text_on_every_page(web: Web, evil: str) -> None:
    max_ = await web.browser("max")
    for path in paths(web, "GET"):
        if path in _STREAMS:
            continue
        for names in _in_turn(parameters_of(web.app).get(f"GET {path}", ()), UNDECLARED):
            answer = await max_.client.get(filled(path), params=dict.fromkeys(names, evil))
            assert answer.status_code < 500, (path, names)
            if answer.headers.get("content-type", "").startswith("text/html"):
                assert Page(answer.text).wrong == [], (path, names)
    for path in paths(web, "GET"):
        if "{" in path:
            answer = await max_.client.get(filled(path, quote(evil, safe="")))
            assert answer.status_code < 500, path
            assert Page(answer.text).wrong == [] or not answer.headers["content-type"].startswith("text/html"), path


def _in_turn(declared: list[str] | tuple[str, ...], undeclared: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Each declared parameter alone, because one that is refused hides the others; the rest together."""
    for one in declared:
        yield (one,)
    yield undeclared


async def _answers(web: Web, client: httpx.AsyncClient) -> AsyncIterator[httpx.Response]:
    for one in sorted(routes_of(web.app)):
        method, _, path = one.partition(" ")
        if method == "GET" and path not in _STREAMS and not path.endswith("/events"):
            yield await client.get(filled(path))


def _is_strict(answer: httpx.Response) -> None:
    where = str(answer.request.url)
    policy = {name: set(sources) for name, *sources in map(str.split, answer.headers["content-security-policy"].split(";"))}
    assert policy["default-src"] == {"'none'"}, where
    assert policy["frame-ancestors"] == {"'none'"}, where
    assert all(sources <= _HELD for sources in policy.values()), where
    assert answer.headers["x-frame-options"] == "DENY", where
    assert answer.headers["x-content-type-options"] == "nosniff", where


def _stays(answer: httpx.Response, path: str) -> None:
    location = answer.headers.get("location", "/")
    assert location.startswith("/"), (path, location)
    assert httpx.URL(ORIGIN).join(location).host == httpx.URL(ORIGIN).host, (path, location)
    assert not re.match(r"/[\\/\t]", location), (path, location)
    assert "evil" not in answer.headers.get("refresh", ""), path


async def _nothing_was_done(web: Web) -> None:
    """Of what was tried nothing is in the record but that it was refused."""
    async with reading(web.hub.engine) as session:
        kinds = {row.kind for row in await search(session)}
    assert kinds <= {"policy:seeded", "session:opened", "request:refused"}, kinds
