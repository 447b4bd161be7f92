"""Prometheus: what its answers mean, and a sentence for those that mean nothing."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import ValidationError

from countersign import StepFailed
from integrations.prometheus import Prometheus, holds
from tests.integrations.test_http import Server, talking


def answer(data: Any, status: str = "200 OK") -> bytes:
    body = json.dumps(data).encode()
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def vector(*values: str) -> bytes:
    result = [{"metric": {}, "value": [1, one]} for one in values]
    return answer({"status": "success", "data": {"resultType": "vector", "result": result}})


@asynccontextmanager
async def asked(said: bytes, **settings: Any) -> AsyncIterator[tuple[Prometheus, Server]]:
    server = Server(said)
    async with talking(server) as http:
        yield Prometheus(Prometheus.Settings(url=f"http://api.example.test:{server.port}", **settings), http=http), server


class Given:
    def __init__(self, client: Prometheus) -> None:
        self._client = client

    def use(self, _: type[Prometheus]) -> Prometheus:
        return self._client


@pytest.mark.parametrize(
    ("said", "values", "yes"),
    [
        (vector("1", "0.5"), [1.0, 0.5], True),
        (vector("1", "0"), [1.0, 0.0], False),
        (vector(), [], False),
        (answer({"status": "success", "data": {"resultType": "scalar", "result": [1, "3"]}}), [3.0], True),
    ],
)
async def test_a_query_says_yes_or_no(said: bytes, values: list[float], yes: bool) -> None:
    async with asked(said, token="hunter2-canary") as (client, server):
        assert await client.query("up{job='a b'} > 0") == values
        assert await holds.function(Given(client), "up") is yes
    head = server.heard[0].decode()
    assert head.startswith("GET /api/v1/query?query=up%7Bjob%3D%27a+b%27%7D+%3E+0 ")
    assert "authorization: bearer hunter2-canary" in head.lower()


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (answer({"status": "error", "error": "parse error"}, "400 Bad Request"), "could not evaluate the query: parse error"),
        (answer([1]), "could not evaluate the query"),
        (answer({"status": "success", "data": {"resultType": "matrix", "result": []}}), "could not be read"),
        (answer({"status": "success", "data": {"resultType": "vector", "result": [{}]}}), "could not be read"),
        (answer({}, "503 Service Unavailable"), "503"),
    ],
)
async def test_an_answer_that_is_none_is_a_sentence(said: bytes, problem: str) -> None:
    async with asked(said) as (client, _):
        with pytest.raises(StepFailed, match=problem):
            await client.query("up")
        with pytest.raises(StepFailed, match="at most 4000"):
            await client.query("x" * 4_001)


@pytest.mark.parametrize("url", ["prometheus", "ftp://x", "http://u:p@x", "http://x?y=1"])
def test_a_wrong_address_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="should be an address"):
        Prometheus.Settings(url=url)
