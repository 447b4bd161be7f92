"""Scanners of mail, unfurlers of chats and prefetching browsers send GET and HEAD to every address: nothing changes."""

import hashlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import text
from starlette.routing import BaseRoute

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
    runs = [await ada.ask(command, where=str(tmp_path / "burnt"), what="x") for command in ("erase", "pause")]
    await vault.settle()
    link = await vault.web.token("link", "lin")
    browser = await vault.web.browser("lin")
    token = (await vault.holder("lin")).client.headers["authorization"]
    known = {"token": link, "reference": str(runs[1]["number"]), "name": "room.js"}
    addresses = [address for path in paths(vault.web.app) for address in filled(path, known, str(runs[0]["id"]))]
    assert f"/enter/{link}" in addresses
    assert any(one.endswith("/decisions?verdict=approve&digest=x") for one in addresses)
    before = await state(vault)
    for n, address in enumerate(addresses):
        for method in ("GET", "HEAD", "OPTIONS"):
            headers = {"user-agent": AGENTS[n % len(AGENTS)]}
            for client, more in ((vault.web.client(), {}), (browser.client, {}), (vault.web.client(), {"authorization": token})):
                if "events" in address and "slack" not in address and method == "GET":
                    continue  # a stream that only ends with its reader; tests/bot/api/test_rooms.py reads it
                answer = await client.request(method, address, headers=headers | more)
                assert answer.status_code != 500, (method, address)
        assert await state(vault) == before, f"{address} has changed something"
    assert len(addresses) > 30
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
    return sorted({str(path) for one in _flat(app.routes) if (path := getattr(one, "path", ""))})


def _flat(routes: Iterable[BaseRoute]) -> list[Any]:
    found: list[Any] = []
    for one in routes:
        found += [one, *_flat(getattr(one, "routes", None) or [])]
    return found


def filled(path: str, known: dict[str, str], run: str) -> list[str]:
    """The address with names that exist in the place of its parameters, plainly and with what a forged link would add."""
    for name, value in known.items():
        path = path.replace("{" + name + "}", value)
    path = path.replace("{run}", run)
    return [path, f"{path}?verdict=approve&digest=x", f"{path}?intent=approve&target={run}"]
