"""A real OpenID Connect provider on loopback, and a browser without scripts that signs in with it."""

import asyncio
import html
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.bot.webs import free_port
from tests.forks import ROOT
from tests.hubs import until

PACKAGE: Final = "oidc-provider@9.13.3"
SECRET: Final = "not-a-secret-of-anybody"
_CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "countersign-tests" / PACKAGE.replace("@", "-")
_PROVIDER: Final = ROOT / "tests" / "fakes" / "provider.mjs"
_REDIRECTS: Final = (301, 302, 303, 307)


async def find_provider() -> tuple[str, Path]:
    """Node and the folder of the package, which is installed once; skips the test where either is missing, or fails it where required."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and not (_CACHE / "node_modules" / "oidc-provider").exists():
        _CACHE.mkdir(parents=True, exist_ok=True)
        command = (npm, "install", "--silent", "--no-fund", "--no-audit", "--ignore-scripts", "--prefix", str(_CACHE), PACKAGE)
        installing = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL)
        await installing.wait()
    if node and (_CACHE / "node_modules" / "oidc-provider").exists():
        return node, _CACHE / "node_modules"
    sentence = (
        f"Node with npm, or its package {PACKAGE}, is not there (Debian: apt-get install nodejs npm), so single sign-on was not tried."
    )
    if os.environ.get("COUNTERSIGN_REQUIRE_PROGRAMS") == "1":
        pytest.fail(sentence)
    pytest.skip(sentence)


@dataclass
class Provider:
    """The running provider; what its accounts are is read anew for each sign-in."""

    address: str
    file: Path

    def say(self, accounts: Mapping[str, Mapping[str, Any]]) -> None:
        self.file.write_text(json.dumps(accounts))


@asynccontextmanager
async def providing(folder: Path, *, back: str) -> AsyncIterator[Provider]:
    """A provider that sends browsers back to the hub at `back`."""
    node, modules = await find_provider()
    port, accounts = free_port(), folder / "accounts.json"
    accounts.write_text("{}")
    environment = {"MODULES": str(modules), "ACCOUNTS": str(accounts), "PORT": str(port), "BACK": back, "PATH": os.environ["PATH"]}
    with (folder / "provider.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(node, str(_PROVIDER), env=environment, stdout=log, stderr=log)
    try:
        await until(lambda: _answers(port), what="the provider answers")
        yield Provider(f"http://127.0.0.1:{port}", accounts)
    finally:
        process.terminate()
        await process.wait()


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


@dataclass
class Walk:
    """How a sign-in went: every address on the way, whether the provider asked who it is, and the page at its end."""

    addresses: list[str]
    asked: bool
    page: httpx.Response


async def sign_in(browser: httpx.AsyncClient, address: str, subject: str, *, stop: str = "") -> Walk:
    """Follows the way from `address` through the provider's forms, until a page of the hub comes or an address begins with `stop`."""
    walk = Walk([], asked=False, page=await browser.get(address))
    while True:
        walk.addresses.append(str(walk.page.request.url))
        if walk.page.status_code in _REDIRECTS:
            onward = str(walk.page.request.url.join(walk.page.headers["location"]))
            if stop and onward.startswith(stop):
                walk.addresses.append(onward)
                return walk
            walk.page = await browser.get(onward)
        elif (form := re.search(r'<form[^>]* action="([^"]+/interaction/[^"]+)"', walk.page.text)) is not None:
            login = 'value="login"' in walk.page.text
            walk.asked |= login
            fields = {"prompt": "login", "login": subject, "password": "any"} if login else {"prompt": "consent"}
            walk.page = await browser.post(html.unescape(form[1]), data=fields)
        else:
            return walk
