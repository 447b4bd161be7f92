"""The stand-in for Slack notes results, and only results."""

from collections.abc import AsyncIterator

import httpx
import pytest
from slack_sdk.web.async_client import AsyncWebClient

from benchmarks.sinks import Sink


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    sink = Sink()
    await sink.start()
    yield sink
    await sink.stop()


async def test_a_result_is_noted_once_and_awaited(sink: Sink) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.post(sink.response_url, json={"text": "done: bench-0af3-7"})
        first = dict(sink.arrivals)
        await client.post(sink.response_url, json={"text": "done: bench-0af3-7"})
    assert answer.text == "ok"
    assert await sink.wait_for(["bench-0af3-7"], seconds=5) == 0
    assert sink.arrivals == first
    assert await sink.wait_for(["bench-0af3-7", "bench-0af3-8"], seconds=0.01) == 1


async def test_a_card_that_only_names_the_request_is_no_result(sink: Sink) -> None:
    async with httpx.AsyncClient() as client:
        await client.post(sink.api_url + "chat.postMessage", json={"channel": "C1", "text": "running: echo bench-0af3-7"})
    assert sink.arrivals == {}


async def test_slack_sdk_is_content_with_it(sink: Sink) -> None:
    client = AsyncWebClient("xoxb-made-up", base_url=sink.api_url)
    assert (await client.auth_test())["team_id"] == "T0BENCH"
    ada = (await client.users_info(user="U0ADA"))["user"]
    assert ada["profile"]["email"] == "ada@example.test"
    assert (await client.chat_postMessage(channel="C1", text="hello"))["ts"]
