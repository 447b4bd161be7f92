"""Three people sign in with their company's accounts at a real issuer; groups, step-up, logout, and what is tried against it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy import text

from automations.housekeeping.following import Follower
from automations.housekeeping.logins import LoginFollower
from automations.services import Services, open_services
from bot.console.sessions import flow_cookie
from integrations.oidc import Client, Issuer
from store.audits import search
from store.databases import reading, transaction
from store.embedded import DatabaseUrls
from store.people import find_person
from store.rosters import find_memberships
from tests.bot.webs import Web, free_port, hidden, served
from tests.hubs import World, disposing
from tests.stories.issuers import SECRET, Provider, providing, sign_in
from tests.stories.tours import OTHERS, shown

POLICY = """
profile: strict
people:
  ada: {email: ada@example.test}
  lin: {email: lin@example.test}
  max: {email: max@example.test, groups: [admins]}
identity: {oidc: {link_by_email: true}}
directories: {oidc: {groups: {Site Reliability: sre, Developers: developers}}}
roles: {runner: ["deploy:run"], approver: [countersign:approve], admin: ["countersign:*"]}
groups: {developers: [runner], sre: [approver], admins: [admin]}
"""


def account(name: str, *groups: str, verified: bool = True) -> dict[str, Any]:
    return {"email": f"{name}@example.test", "email_verified": verified, "groups": list(groups)}


@dataclass
class Company:
    """The hub, the provider, and the worker that makes so what people's tokens say."""

    world: World
    web: Web
    provider: Provider
    services: Services
    follower: Follower

    @asynccontextmanager
    async def browser(self) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(timeout=60) as client:
            yield client

    async def groups(self, name: str) -> set[tuple[str, str]]:
        await self.follower.follow()
        async with reading(self.services.engine) as session:
            return {(one.group, one.source) for one in await find_memberships(session, name)}

    async def recorded(self, kind: str) -> list[dict[str, Any]]:
        async with reading(self.services.engine) as session:
            return [{"actor": one.actor, **one.detail} for one in await search(session, kind=kind)]

    @property
    def cookie(self) -> str:
        return flow_cookie(self.web.hub.settings).removesuffix("_flow")


@pytest.fixture
async def company(database: DatabaseUrls, redis_url: str, tmp_path: Path) -> AsyncIterator[Company]:
    port = free_port()
    back = f"http://127.0.0.1:{port}"
    async with providing(tmp_path, back=back) as provider:
        world = World(database, redis_url, tmp_path, policy=POLICY)
        world.extra |= {
            "COUNTERSIGN_OIDC_ISSUER": provider.address,
            "COUNTERSIGN_OIDC_CLIENT_ID": "countersign",
            "COUNTERSIGN_OIDC_CLIENT_SECRET": SECRET,
            "COUNTERSIGN_OIDC_SCOPES": "openid email groups",
        }
        await world.prepare()
        provider.say({"a-1": account("ada", "Developers"), "l-2": account("lin", "Site Reliability", "Chess"), "m-3": account("max")})
        services = open_services(world.settings(role="worker"), name="company", pool=3)
        issuer = Issuer(Client(**services.settings.oidc))
        try:
            async with served(world, port=port) as web:
                yield Company(world, web, provider, services, Follower(services, LoginFollower(services, issuer)))
        finally:
            await issuer.close()
            await services.close()


async def test_three_people_sign_in_and_have_the_groups_that_they_have_there(company: Company) -> None:
    expected = {"ada": {("developers", "oidc")}, "lin": {("sre", "oidc")}, "max": {("admins", "policy")}}
    for name, subject in (("ada", "a-1"), ("lin", "l-2"), ("max", "m-3")):
        async with company.browser() as browser:
            walk = await sign_in(browser, f"{company.web.address}/sign-in/oidc?next=/inbox", subject)
            asked = parse_qs(urlsplit(walk.addresses[1]).query)
            assert asked["code_challenge_method"] == ["S256"]
            assert {"state", "nonce", "code_challenge", "max_age"} <= set(asked)
            assert 'content="0;url=/inbox"' in walk.page.text
            page = await browser.get(f"{company.web.address}/inbox")
            assert f'<a href="/sessions">{name}</a>' in page.text
            assert await company.groups(name) == expected[name]
    linked = await company.recorded("account:linked")
    assert {(one["actor"], one["account"], one["by"]) for one in linked} == {
        ("ada", "a-1", "e-mail"),
        ("lin", "l-2", "e-mail"),
        ("max", "m-3", "e-mail"),
    }


async def test_every_page_opens_to_who_signed_in_there_and_says_where_their_access_comes_from(company: Company) -> None:
    pages = {one for one in shown(company.web.app) if "{" not in one} - set(OTHERS) - {"/sign-in"}
    assert {"/", "/access", "/catalogue", "/passkeys", "/sessions", "/operations"} <= pages
    answers: dict[str, httpx.Response] = {}
    for name, subject, closed in (
        ("ada", "a-1", {"/access", "/audit", "/numbers", "/operations"}),
        ("lin", "l-2", {"/access", "/audit", "/numbers", "/operations"}),
        ("max", "m-3", set[str]()),
    ):
        async with company.browser() as browser:
            await sign_in(browser, f"{company.web.address}/sign-in/oidc", subject)
            await company.groups(name)
            answers = {one: await browser.get(f"{company.web.address}{one}") for one in pages}
            assert {one for one, answer in answers.items() if answer.status_code != 200} == closed, name
            assert all(answers[one].status_code == 403 for one in closed)
            assert all(f'<a href="/sessions">{name}</a>' in answer.text for one, answer in answers.items() if one not in closed)
    rows = {" ".join(row.split()) for row in answers["/access"].text.split("</tr>")}
    assert any("lin" in row and "group sre" in row and "oidc" in row for row in rows), "her groups are the issuer's word"
    assert any("max" in row and "group admins" in row and "the policy" in row for row in rows)


async def test_who_leaves_a_group_there_has_left_it_here_with_the_next_login(company: Company) -> None:
    async with company.browser() as browser:
        await sign_in(browser, f"{company.web.address}/sign-in/oidc", "l-2")
        assert await company.groups("lin") == {("sre", "oidc")}
        company.provider.say({"l-2": account("someone-else", "Developers")})
        await sign_in(browser, f"{company.web.address}/sign-in/oidc", "l-2")
        assert await company.groups("lin") == {("developers", "oidc")}, "it is the subject that counts from then on, not the address"
        company.provider.say({"l-2": account("lin")})
        await sign_in(browser, f"{company.web.address}/sign-in/oidc", "l-2")
        assert await company.groups("lin") == set()


async def test_proving_again_asks_again_and_makes_the_login_fresh(company: Company) -> None:
    async with company.browser() as browser, disposing(company.world.engine(role="owner")) as owner:
        assert (await sign_in(browser, f"{company.web.address}/sign-in/oidc", "a-1")).asked
        assert await _fresh(company) == [True]
        async with transaction(owner) as session:
            await session.execute(text("UPDATE tokens SET fresh_at = fresh_at - interval '10 minutes'"))
        again = await sign_in(browser, f"{company.web.address}/sign-in/oidc?again=true&next=/runs/7", "a-1")
        assert again.asked, "the provider has a session of ada's, and asks all the same"
        assert parse_qs(urlsplit(again.addresses[1]).query)["max_age"] == ["0"]
        assert 'content="0;url=/runs/7"' in again.page.text
        assert await _fresh(company) == [True]
        assert not (await sign_in(browser, f"{company.web.address}/sign-in/oidc", "a-1")).asked


async def test_leaving_ends_the_session_and_leads_to_the_providers_logout(company: Company) -> None:
    async with company.browser() as browser:
        await sign_in(browser, f"{company.web.address}/sign-in/oidc", "a-1")
        stolen = browser.cookies[company.cookie]
        page = await browser.get(f"{company.web.address}/inbox")
        own = {"origin": company.web.address}
        left = await browser.post(f"{company.web.address}/leave", data={"csrf": hidden(page.text, "csrf")}, headers=own)
        goodbye = await browser.get(f"{company.web.address}{left.headers['location']}")
        assert f"{company.provider.address}/session/end?client_id=countersign" in goodbye.text
    async with httpx.AsyncClient(cookies={company.cookie: stolen}) as thief:
        assert (await thief.get(f"{company.web.address}/inbox")).status_code == 401


async def test_who_is_nobody_here_gets_no_session(company: Company) -> None:
    company.provider.say({"e-4": account("eve", "Site Reliability"), "x-5": account("max", verified=False)})
    for subject in ("e-4", "x-5"):
        async with company.browser() as browser:
            walk = await sign_in(browser, f"{company.web.address}/sign-in/oidc", subject)
            assert walk.page.status_code == 403
            assert "nobody here is you" in walk.page.text
            assert company.cookie not in browser.cookies
    assert [one["reason"] for one in await company.recorded("request:refused")] == ["unknown_account"] * 2


async def test_what_another_browser_began_is_not_finished_here(company: Company) -> None:
    """Login CSRF, a code that is sent twice, and a cookie that says something else."""
    here = f"{company.web.address}/sign-in/back"
    async with company.browser() as eve, company.browser() as ada:
        begun = await sign_in(eve, f"{company.web.address}/sign-in/oidc", "l-2", stop=here)
        answer = await ada.get(begun.addresses[-1])
        assert (answer.status_code, company.cookie in ada.cookies) == (400, False)
        own = await sign_in(ada, f"{company.web.address}/sign-in/oidc", "a-1", stop=here)
        code, state = (parse_qs(urlsplit(own.addresses[-1]).query)[one][0] for one in ("code", "state"))
        theirs = parse_qs(urlsplit(begun.addresses[-1]).query)["code"][0]
        crossed = await ada.get(here, params={"code": theirs, "state": state})
        assert (crossed.status_code, company.cookie in ada.cookies) == (400, False), "PKCE and nonce are this browser's"
        again = await ada.get(here, params={"code": code, "state": state})
        assert again.status_code == 400, "a sign-in that went wrong is over"
        assert (await eve.get(begun.addresses[-1])).status_code == 200
        assert (await eve.get(begun.addresses[-1])).status_code == 400, "once"


async def test_what_the_web_process_says_of_groups_is_not_believed(company: Company) -> None:
    async with company.browser() as browser:
        await sign_in(browser, f"{company.web.address}/sign-in/oidc", "a-1")
        assert await company.groups("ada") == {("developers", "oidc")}
    sealer = (await company.web.hub.rulebook()).sealer
    forged = sealer.seal("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhLTEiLCJncm91cHMiOlsiU2l0ZSBSZWxpYWJpbGl0eSJdfQ.")
    async with transaction(company.web.hub.engine) as session:
        insert = "INSERT INTO directory_feed (resource, kind, version, body, token) VALUES (gen_random_uuid(), 'Login', 1, '{}', :token)"
        await session.execute(text(insert), {"token": forged})
    assert await company.groups("ada") == {("developers", "oidc")}
    assert [one["words"] for one in await company.recorded("directory:refused")] == [1]


async def _fresh(company: Company) -> list[bool]:
    """Whether each of the live sessions was made by a login of the last minutes."""
    async with reading(company.services.engine) as session:
        assert await find_person(session, "ada")
        sql = "SELECT fresh_at > countersign_now() - interval '5 minutes' AS fresh FROM tokens WHERE kind = 'session' AND ended_at IS NULL"
        return [row.fresh for row in await session.execute(text(sql))]
