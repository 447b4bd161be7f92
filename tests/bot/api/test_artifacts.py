"""A file of a run is fetched at the API, in the browser and in a terminal, and is nothing but a file to any of them."""

import asyncio
import hashlib
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from bot.cli.apps import app
from store.databases import transaction
from tests.bot.api.test_logs import asked
from tests.bot.cli.lines import called
from tests.bot.webs import served, web_of
from tests.hubs import World, disposing

PAGE = b"<script>alert(1)</script>"
_FILED = text("""INSERT INTO artifacts (id, run_id, position, name, content_type, size, sha256, stored_at)
VALUES (:id, :run, 0, :name, :type, :size, :sha256, countersign_now())""")


async def file(world: World, run: UUID, name: str, content: bytes, kind: str = "text/html") -> str:
    """A file as a step leaves it; returns where its bytes belong."""
    id_ = uuid4()
    values = {"id": id_, "run": run, "name": name, "type": kind, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    async with disposing(world.engine()) as engine, transaction(engine) as session:
        await session.execute(_FILED, values)
    return f"{run}/{id_}"


async def test_whatever_is_in_it_a_file_is_saved_and_not_shown(world: World) -> None:
    async with web_of(world) as web, await web.caller("max") as max_:
        run = await asked(max_)
        key = await file(world, run, "a (1).html", PAGE)
        await web.hub.objects.put(key, PAGE)
        browser = (await web.browser("max")).client
        for client, path in ((max_, "/api/v1/runs"), (browser, "/runs")):
            answer = await client.get(f"{path}/{run}/artifacts/a%20(1).html")
            assert (answer.status_code, answer.content) == (200, PAGE)
            assert answer.headers["content-disposition"] == 'attachment; filename="a (1).html"'
            assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'; sandbox"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-store"
        page = (await browser.get(f"/runs/{run}")).text
        assert f"/runs/{run}/artifacts/a%20%281%29.html" in page
        (listed,) = (await max_.get(f"/api/v1/runs/{run}/artifacts")).json()["items"]
        assert (listed["name"], listed["size"], listed["sha256"]) == ("a (1).html", len(PAGE), hashlib.sha256(PAGE).hexdigest())


async def test_a_file_whose_bytes_are_gone_or_not_whole_says_so(world: World) -> None:
    async with web_of(world) as web, await web.caller("max") as max_:
        run = await asked(max_)
        key = await file(world, run, "a", PAGE)
        assert (await max_.get(f"/api/v1/runs/{run}/artifacts/b")).json()["reason"] == "no_such_file"
        await web.hub.objects.put(f"{run}/other", b"")
        gone = await max_.get(f"/api/v1/runs/{run}/artifacts/a")
        assert (gone.status_code, gone.json()["detail"]) == (404, "The file is not there any more.")
        await web.hub.objects.put(key, PAGE[:5])
        short = await max_.get(f"/api/v1/runs/{run}/artifacts/a")
        assert (short.status_code, short.json()["detail"]) == (503, "The file is not whole.")


async def test_a_terminal_lists_and_fetches(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with served(world) as web, await web.caller("max") as max_:
        monkeypatch.setenv("COUNTERSIGN_URL", web.address)
        monkeypatch.setenv("COUNTERSIGN_TOKEN", await web.token("api", "max"))
        monkeypatch.chdir(tmp_path)
        run = str(await asked(max_))
        await web.hub.objects.put(await file(world, UUID(run), "a.html", PAGE), PAGE)
        await web.hub.objects.put(await file(world, UUID(run), "b", PAGE), PAGE[::-1])

        async def typed(*words: str) -> tuple[int, str, str]:
            shown = await asyncio.to_thread(called, app, "artifacts", run, *words)
            return shown.code, shown.out, shown.err

        assert (await typed())[1].splitlines() == [f"{name:<6}  {len(PAGE):>10}  text/html" for name in ("a.html", "b")]
        assert (await typed("a.html"))[:2] == (0, f"a.html: {len(PAGE)} bytes\n")
        assert await asyncio.to_thread((tmp_path / "a.html").read_bytes) == PAGE
        code, _, said = await typed("a.html")
        assert (code, "a.html is there already; say with -o" in said) == (2, True)
        assert (await typed("a.html", "-o", "a.html"))[0] == 0
        code, _, said = await typed("b")
        assert (code, "did not arrive as it was kept" in said) == (1, True)
        code, _, said = await typed("c")
        assert (code, "The run has no file c; it has a.html, b." in said) == (1, True)
