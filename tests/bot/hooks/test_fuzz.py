"""Whatever is sent, in whatever shape: a status of ours, never our error, and no run unless it was proved."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.embedded import DatabaseUrls
from tests.bot.hooks.senders import post_of

NAMES = ("content-type", "content-encoding", "x-hub-signature-256", "x-github-delivery", "authorization", "stripe-signature", "client-cert")
VALUES = st.sampled_from(["application/json", "application/json; charset=utf-8", "sha256=" + "0" * 64, "", "gzip"]) | st.text(
    st.characters(min_codepoint=32, max_codepoint=126), max_size=80
).map(str.strip)
HEADERS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5)
JSONISH = st.recursive(
    st.sampled_from(["null", "1e999", "NaN", '"\\ud800"', '"\\u0000"', "{", '{"how":"gone"}']),
    lambda inner: inner.map(lambda one: f"[{one}]"),
)
BODIES = st.binary(max_size=300) | JSONISH.map(str.encode) | st.integers(0, 40).map(lambda n: b'{"a":' * n + b"1" + b"}" * n)
TAKEN = {202, 400, 401, 409, 413, 415, 422}


def test_whatever_is_sent(bot_database: DatabaseUrls, tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        post = runner.run(stack.enter_async_context(post_of(bot_database, tmp_path)))
        name = f"f-{tmp_path.name[-8:].replace('_', '-')}".lower()
        runner.run(post.add(name))

        @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
        @given(BODIES, HEADERS, st.booleans())
        def attempt(body: bytes, headers: dict[str, str], signed: bool) -> None:
            told = runner.run(post.github(name, body, more=headers) if signed else post.send(name, body, headers))
            assert told.status_code in TAKEN, (told.status_code, told.text)
            assert signed or told.status_code in (400, 401, 415)

        attempt()
        runs = runner.run(post.runs(name))
        done = [row for row in runner.run(post.rows(name)) if row.state == "done"]
        assert len(runs) == len(done) <= 1, "only one body means anything, and it counts once"
        runner.run(stack.aclose())
