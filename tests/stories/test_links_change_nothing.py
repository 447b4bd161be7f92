"""Scanners of mail, unfurlers of chats and prefetching browsers send GET and HEAD to every address: nothing changes."""

import hashlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import text
from starlette.routing import BaseRoute

from bot.slack import PATH
from store.databases import reading
from store.embedded import DatabaseUrls
from tests.holders import Lodge
from tests.stories.vaults import enrolled, open_vault

AGENTS = (
    "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "Slack-ImgProxy (+https://api.slack.com/robots)",
    "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
    "Twitterbot/1.0",
    "facebookexternalhit/1.1",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "WhatsApp/2.23",
    "SkypeUriPreview Preview/0.5",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36",
    "Barracuda Sentinel (EE)",
    "curl/8.5.0",
    "",
)
TABLES = (
    "runs approval_requests decisions steps messages inbox tokens passkeys passkey_uses passkey_challenges policies people"
    " memberships grants chat_accounts delegations secrets"
)


@pytest.fixture
async def vault(database: DatabaseUrls, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lodge]:
    async with open_vault(database, redis_url, tmp_path) as lodge:
        await enrolled(lodge, monkeypatch, "max", "lin")
        yield lodge


async def test_get_and_head_change_nothing_at_any_address(vault: Lodge, tmp_path: Path) -> None:
    ada = await vault.holder("ada")
    runs = [await ada.ask(command, where=str(tmp_path / "burnt"), what="x") for command in ("erase", "dim")]
    await vault.settle()
    link = await vault.web.token("link", "lin")
    browser = await vault.web.browser("lin")
    token = (await vault.holder("lin")).client.headers["authorization"]
    known = {"token": link, "reference": str(runs[1]["number"]), "name": "room.js"}
    clients = [(vault.web.client(), {}), (browser.client, {}), (vault.web.client(), {"authorization": token})]
    before = await state(vault)
    visited = 0
    for n, path in enumerate(paths(vault.web.app)):
        for address in filled(path, known, str(runs[0]["id"])):
            for method in ("GET", "HEAD"):
                if path.endswith("/events") and path != PATH and method == "GET":
                    continue  # a stream only ends with its reader
                for client, more in clients:
                    answer = await client.request(method, address, headers={"user-agent": AGENTS[n % len(AGENTS)], **more})
                    assert answer.status_code != 500, (method, address)
                    visited += 1
        assert await state(vault) == before, f"{path} has changed something"
    assert visited > 300
    entered = await vault.web.client({"origin": vault.web.address}).post(f"/enter/{link}")
    assert entered.status_code == 303, "the link still works, once, by the button"


async def state(vault: Lodge) -> str:
    """A digest of everything that means anything; reading the record is recorded, so the record itself is left out."""
    digest = hashlib.sha256()
    async with reading(vault.services.engine) as session:
        for table in TABLES.split():
            columns = "run_id, mark" if table == "secrets" else "*"
            rows = await session.execute(text(f"SELECT t::text AS row FROM (SELECT {columns} FROM {table}) t ORDER BY 1"))  # noqa: S608
            digest.update("\n".join([table, *(one.row for one in rows)]).encode())
    return digest.hexdigest()


def paths(app: FastAPI) -> list[str]:
    """Every address the application knows, whatever methods it takes."""
    return sorted(set(_under("", app.routes)) | {PATH})


def _under(prefix: str, routes: Iterable[BaseRoute]) -> list[str]:
    """FastAPI keeps routers that were included as they are, beside the prefix they were included with."""
    found: list[str] = []
    for one in routes:
        inner: Any = getattr(one, "original_router", None)
        found += _under(prefix + getattr(one, "include_context").prefix, inner.routes) if inner else [prefix + getattr(one, "path")]  # noqa: B009
    return found


def filled(path: str, known: dict[str, str], run: str) -> list[str]:
    """The address with names that exist in the place of its parameters, plainly and with what a forged link would add."""
    for name, value in known.items():
        path = path.replace("{" + name + "}", value)
    path = path.replace("{run}", run)
    return [path, f"{path}?verdict=approve&digest=x", f"{path}?intent=approve&target={run}"]
