"""The web process as a whole: what every answer carries, what is refused before any handler, and what its health says."""

import hashlib
import itertools
import json
import re
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from store.databases import transaction
from store.directories import note_reading, take_turn
from store.policies import apply_policy
from store.settings import WrongSetting
from tests.bot.webs import Web, served, web_of
from tests.hubs import World, disposing


async def test_every_answer_says_how_a_browser_must_treat_it(web: Web) -> None:
    read = ("/", "/live", "/ready", "/metrics", "/api/v1/runs", "/enter/nothing", "/nothing", "/static/nothing")
    written = ("/scim/v2/Users", "/room/say", "/api/v1/runs")
    async with web.client() as anybody:
        for path, method in (*((one, "GET") for one in read), *((one, "POST") for one in written)):
            answer = await anybody.request(method, path, content=b"<script>" if method == "POST" else None)
            policy = answer.headers["content-security-policy"]
            for part in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"):
                assert part in policy, path
            assert "unsafe" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-store"
            assert len(answer.headers["x-request-id"]) == 32
            assert "strict-transport-security" not in answer.headers


async def test_what_only_programs_read_no_browser_makes_anything_of(world: World) -> None:
    slack = {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_SIGNING_SECRET": "a" * 32, "SLACK_API_URL": "http://127.0.0.1:9/api/"}
    async with web_of(world, **slack) as other, other.client() as anybody:
        for method, path in itertools.product(("GET", "POST"), ("/slack/events", "/hooks/nothing", f"/hooks/{uuid4()}")):
            answer = await anybody.request(method, path, content=b"<script>")
            assert answer.status_code >= 400, path
            assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'", path
            assert (answer.headers["x-content-type-options"], answer.headers["cache-control"]) == ("nosniff", "no-store"), path


async def test_https_is_remembered(world: World) -> None:
    async with web_of(world, PUBLIC_URL="https://countersign.example.test") as web, web.client() as anybody:
        assert "max-age" in (await anybody.get("/live")).headers["strict-transport-security"]


async def test_a_body_that_is_too_long_is_not_read(web: Web) -> None:
    async with await web.caller("ada") as ada:
        declared = await ada.post("/api/v1/runs", content=b" " * 300_000, headers={"content-type": "application/json"})

        async def drops() -> AsyncIterator[bytes]:
            for _ in range(10):
                yield b" " * 60_000

        streamed = await ada.post("/api/v1/runs", content=drops(), headers={"content-type": "application/json"})
    for answer in (declared, streamed):
        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["reason"] == "too_large"


async def test_what_breaks_on_our_side_shows_no_traceback(
    capsys: pytest.CaptureFixture[str], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the secret is xoxb-123-abc")

    async with web_of(world) as web, await web.caller("ada") as ada, web.client() as browser:
        monkeypatch.setattr(web.hub, "read", broken)
        answer = await ada.get("/api/v1/runs")
        page = await browser.get("/", headers={"cookie": "countersign_8000=cs_session_x"})
    for one in (answer, page):
        assert one.status_code == 500
        assert "secret" not in one.text
        assert "Traceback" not in one.text
        assert "RuntimeError" not in one.text
    assert answer.json()["request"] == answer.headers["x-request-id"]
    said = capsys.readouterr().out
    assert answer.headers["x-request-id"] in said
    assert "RuntimeError" in said
    assert "xoxb" not in said


async def test_unknown_addresses_and_methods_are_told_apart(web: Web) -> None:
    async with web.client() as anybody:
        missing = await anybody.get("/api/v1/nothing")
        wrong = await anybody.put("/api/v1/runs")
        page = await anybody.get("/nothing")
    assert (missing.status_code, missing.json()["reason"]) == (404, "not_found")
    assert (wrong.status_code, wrong.json()["reason"]) == (405, "wrong_method")
    assert wrong.headers["allow"]
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")


async def test_ready_names_the_parts_that_are_not(web: Web) -> None:
    async with web.client() as anybody:
        assert (await anybody.get("/live")).json() == {"status": "live"}
        answer = await anybody.get("/ready")
        parts = answer.json()["parts"]
        assert answer.status_code == 503
        assert parts["database"] == parts["schema"] == parts["policy"] == "ok"
        for role in ("planning", "executing", "housekeeping"):
            assert "none seen in the last 30 s" in parts[f"{role} worker"]
        numbers = (await anybody.get("/metrics")).text
    assert 'countersign_ready{part="database"} 1.0' in numbers
    assert 'countersign_ready{part="planning worker"} 0.0' in numbers
    assert 'route="/ready"' in numbers


async def test_ready_says_when_the_database_is_gone(world: World) -> None:
    gone = {"DATABASE_URL": "postgresql+psycopg://web:x@127.0.0.1:1/gone"}
    async with web_of(world, **gone) as web, web.client() as anybody:
        answer = await anybody.get("/ready")
        refused = await anybody.get("/api/v1/runs", headers={"authorization": "Bearer cs_api_x"})
        page = await anybody.get("/", headers={"cookie": "countersign_8000=cs_session_x"})
    assert answer.status_code == 503
    assert "not reachable" in answer.json()["parts"]["database"]
    assert refused.status_code == page.status_code == 503
    assert refused.headers["retry-after"]
    assert "nothing was done" in refused.json()["detail"]
    assert "nothing was done" in page.text


async def test_a_wrong_setting_stops_the_start(world: World) -> None:
    with pytest.raises(WrongSetting, match="COUNTERSIGN_PORT"):
        async with web_of(world, PORT="eighty"):
            pass


async def test_one_line_is_logged_for_each_request_and_no_path_of_a_stranger(capsys: pytest.CaptureFixture[str], world: World) -> None:
    async with web_of(world) as web, web.client() as anybody:
        capsys.readouterr()
        await anybody.get("/enter/cs_link_very-secret")
        await anybody.get("/nothing%0d%0aforged%1b[2J")
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["GET /enter/{token} 410", "GET other 404"]
    assert len({line["trace"] for line in lines}) == 2


async def test_what_is_stopped_is_said_by_readiness_metrics_and_the_room(world: World) -> None:
    async with served(world) as web:
        max_ = await web.browser("max")
        async with web.client() as anybody:
            assert "stopped" not in (await anybody.get("/ready")).json()
            assert "is stopped by" not in (await max_.page()).text
            told = await max_.say("stop everything <b>fire</b>")
            assert "Everything is stopped by max" in told.text
            ready = (await anybody.get("/ready")).json()
            assert ready["stopped"][0].startswith("Everything is stopped by max since")
            assert 'countersign_switches{kind="everything"} 1.0' in (await anybody.get("/metrics")).text
            page = (await max_.page()).text
            assert "&lt;b&gt;fire&lt;/b&gt;.</p>" in page
            events = re.findall(r'data-events="([^"]+)"', page)[0].replace("&amp;", "&")
            async with max_.client.stream("GET", events) as stream:
                lines = stream.aiter_lines()
                first = [await anext(lines) for _ in range(4)]
        refused = await max_.say("grant eve deployer")
        assert "Everything is stopped by max" in refused.text
    assert first[2:] == ["event: stopped", 'data: <div class="stopped" id="stopped" role="status">']


async def test_ready_says_that_the_policy_applied_last_cannot_be_loaded_and_goes_on(world: World) -> None:
    body = "profil: team"
    owner = world.engine(role="owner")
    async with web_of(world) as web, web.client() as anybody:
        assert "warnings" not in (await anybody.get("/ready")).json()
        async with transaction(owner) as session:
            await apply_policy(session, digest=hashlib.sha256(body.encode()).hexdigest(), body=body, by="max")
        web.hub.forget()
        ready = (await anybody.get("/ready")).json()
        numbers = (await anybody.get("/metrics")).text
    await owner.dispose()
    assert ready["parts"]["policy"] == "ok"
    assert "cannot be loaded: policy line 1: profil is not a key that is known here; did you mean profile?" in ready["warnings"]["policy"]
    assert "the one before it, stays in force" in ready["warnings"]["policy"]
    assert "countersign_policy_loaded 0.0" in numbers


async def test_a_source_of_people_that_is_silent_is_said_and_makes_nothing_less_ready(web: Web, world: World) -> None:
    async with disposing(world.engine()) as engine, transaction(engine) as session:
        assert await take_turn(session, "slack", seconds=60)
        await note_reading(session, "slack", error="missing_scope")
    async with web.client() as anybody:
        told = (await anybody.get("/ready")).json()
    assert told["warnings"] == {"directories": "slack: missing_scope; heard of last: never"}
