"""Slack Bolt with nothing behind it: verifies the signature, acks, keeps nothing. Served by its own ASGI adapter, the leanest it has.

`uvicorn --factory benchmarks.sides.bare_bolt:direct`, with BENCH_SIGNING_SECRET, BENCH_SLACK_TOKEN and BENCH_SLACK_API_URL set.
"""

import os

from slack_bolt.adapter.asgi.async_handler import AsyncSlackRequestHandler
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncRespond
from slack_sdk.web.async_client import AsyncWebClient


def direct() -> AsyncSlackRequestHandler:
    """Acks with `process_before_response=True`, which spares Bolt its sleeping poll for the ack."""
    return _acking(process_before_response=True)


def default() -> AsyncSlackRequestHandler:
    """Acks with Bolt's defaults."""
    return _acking(process_before_response=False)


def responding() -> AsyncSlackRequestHandler:
    """Acks with Bolt's defaults and posts `done: ` and the text to the response_url."""
    bolt = _bolt(process_before_response=False)

    @bolt.command("/work")
    async def work(ack: AsyncAck, respond: AsyncRespond, command: dict[str, str]) -> None:
        await ack()
        await respond(f"done: {command['text']}")

    return AsyncSlackRequestHandler(bolt)


def _acking(*, process_before_response: bool) -> AsyncSlackRequestHandler:
    bolt = _bolt(process_before_response=process_before_response)

    @bolt.command("/work")
    async def work(ack: AsyncAck) -> None:
        await ack()

    return AsyncSlackRequestHandler(bolt)


def _bolt(*, process_before_response: bool) -> AsyncApp:
    return AsyncApp(
        client=AsyncWebClient(token=os.environ["BENCH_SLACK_TOKEN"], base_url=os.environ["BENCH_SLACK_API_URL"]),
        signing_secret=os.environ["BENCH_SIGNING_SECRET"],
        process_before_response=process_before_response,
    )
