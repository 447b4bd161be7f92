"""Alertmanager itself: what it sends is understood, and what people see is what fires."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import uvicorn

from tests.bot.hooks.alertmanagers import alertmanager, free_port, program
from tests.bot.hooks.senders import SECRET, Post
from tests.bot.hooks.test_alerts import Desk, desk_of
from tests.hubs import until


@asynccontextmanager
async def served(post: Post) -> AsyncIterator[str]:
    """The door on a port."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(post.client._transport.app, port=port, log_config=None, lifespan="off"))  # type: ignore[attr-defined]
    serving = asyncio.create_task(server.serve())
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving


async def test_what_fires_in_alertmanager_is_on_a_card_and_ends_on_it(post: Post, tmp_path: Path) -> None:
    program()
    desk = await desk_of(post)
    async with served(post) as address, alertmanager(tmp_path, url=f"{address}/hooks/{post.triggers[desk.name]}", secret=SECRET) as source:
        now = datetime.now(UTC)

        async def post_alerts(*instances: str, ends: datetime | None = None) -> None:
            labels = {"alertname": "DiskFull", "service": "db", "severity": "critical"}
            alerts: list[dict[str, Any]] = [
                {"labels": labels | {"instance": one}, "annotations": {"summary": "The disk is full"}, "startsAt": now.isoformat()}
                | ({"endsAt": ends.isoformat()} if ends else {})
                for one in instances
            ]
            assert (await source.post("/api/v2/alerts", json=alerts)).status_code == 200

        async def shows(alerts: str, tone: str) -> None:
            async def shown() -> bool:
                await post.bot.later("3s")
                return [(one.fields[1].value, one.tone.value) for one in await desk.cards()] == [(alerts, tone)]

            await until(shown, what=f"the card says {alerts}")

        await post_alerts("a", "b")
        await shows("2 firing, 0 ended", "bad")
        assert (await desk.card()).text == "The disk is full"
        await post_alerts("c")
        await shows("3 firing, 0 ended", "bad")
        await post_alerts("a", "b", "c", ends=now + timedelta(milliseconds=1))
        await shows("0 firing, 3 ended", "good")
        assert (await _states(desk)) <= {"done"}


async def _states(desk: Desk) -> set[str]:
    return {row.state for row in await desk.post.rows(desk.name)}
