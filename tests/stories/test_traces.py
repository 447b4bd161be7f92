"""One trace from the door to the last step: each process adds its spans to the run's, and says no word of what was asked."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from store import traces
from store.embedded import DatabaseUrls
from store.settings import Settings, WrongSetting
from tests.automations.carts import write_cart
from tests.bot.webs import web_of
from tests.fakes.collectors import Collector, Seen, collecting
from tests.hubs import World, until

POLICY = """
profile: team
people: {ada: {groups: [staff]}, lin: {groups: [leads]}}
roles: {filler: ["cart:fill"], lead: ["countersign:approve"]}
groups: {staff: [filler], leads: [lead]}
"""


@pytest.fixture
async def world(database: DatabaseUrls, redis_url: str, tmp_path: Path) -> AsyncIterator[World]:
    carts = write_cart(tmp_path).parent / "commands" / "carts.py"
    carts.write_text(
        carts.read_text()
        .replace('risk="medium"', 'risk="high", approval=Approval(by="countersign:approve")')
        .replace("import Context", "import Approval, Context")
    )
    made = World(database, redis_url, tmp_path, policy=POLICY, extra={"COUNTERSIGN_COMMANDS": str(tmp_path / "commands")})
    await made.prepare()
    yield made
    traces.end()


async def test_every_process_adds_to_the_trace_of_the_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    with collecting() as collector:
        world.extra |= {"COUNTERSIGN_OTLP_ENDPOINT": collector.address}
        with world.workers():
            async with web_of(world) as web, await web.caller("ada") as ada, await web.caller("lin") as lin:
                asked = (await ada.post("/api/v1/runs", json={"command": "cart", "arguments": {"how": "gone"}})).json()
                run = f"/api/v1/runs/{asked['id']}"
                waiting = await reaches(ada, run, "awaiting_approval")
                voted = await lin.post(f"{run}/decisions", json={"verdict": "approve", "digest": waiting["digest"]})
                assert voted.status_code == 200, voted.text
                trace = (await reaches(ada, run, "succeeded"))["trace"]
                await ada.get("/metrics")
            await until(lambda: told(collector, trace), what="all spans come")
    check(collector, trace)


async def told(collector: Collector, trace: str) -> bool:
    return {"execute", "deliver", "approval", "POST /runs"} <= collector.of(trace).keys()


def check(collector: Collector, trace: str) -> None:
    """The tree, whose each span it is, and what nobody may read there."""
    found = collector.of(trace)
    request = found["POST /runs"]
    assert (request.role, request.parent, request.id) == ("web", "", trace[16:])
    assert request.attributes["countersign.status"] in (200, 201, 202)
    assert (found["submit"].parent, found["commit"].parent) == (request.id, found["submit"].id)
    beneath = {name: found[name] for name in ("hint", "claim", "plan", "approval", "execute", "deliver")}
    assert {one.parent for one in beneath.values()} == {request.id}
    assert [beneath[name].role for name in ("hint", "plan", "execute", "deliver")] == [
        "housekeeping",
        "planning",
        "executing",
        "housekeeping",
    ]
    steps = [one for one in collector.spans if one.trace == trace and one.name.startswith("step ")]
    assert [one.parent for one in steps] == [found["execute"].id] * 2
    assert [one.attributes["countersign.outcome"] for one in steps] == ["done", "done"]
    in_order(request, found["plan"], found["approval"], found["execute"])
    assert found["approval"].attributes["countersign.state"] == "approved"
    assert len({one.id for one in collector.spans}) == len(collector.spans)
    assert "/metrics" not in {one.name.partition(" ")[2] for one in collector.spans}
    assert not [body for body in collector.bodies if b"gone" in body or b"ada" in body]


def in_order(*spans: Seen) -> None:
    for before, after in pairwise(spans):
        assert before.began <= after.began, (before.name, after.name)


async def reaches(client: Any, run: str, status: str) -> dict[str, Any]:
    async def there() -> dict[str, Any] | None:
        found: dict[str, Any] = (await client.get(run)).json()
        return found if found["status"] == status else None

    found: dict[str, Any] = await until(there, what=status)
    return found


def test_what_breaks_leaves_its_kind_and_not_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
        traces.begin(Settings.read(), role="web")
        with pytest.raises(ValueError, match="pass"), traces.request("0f" * 16, "POST /x"), traces.span("submit", "0f" * 16):
            raise ValueError("the password is hunter2")
        with traces.span("plan", "not a number", "consumer"):
            traces.tell(outcome="done")
        with traces.span("alone", ""):
            pass
        traces.end()
    assert {one.name: one.error for one in collector.spans} == {"POST /x": "ValueError", "submit": "ValueError", "plan": ""}
    assert not [body for body in collector.bodies if b"hunter2" in body]
    assert not traces.is_on()


def test_a_collector_that_is_away_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERSIGN_OTLP_ENDPOINT", "http://127.0.0.1:9")
    traces.begin(Settings.read(), role="web")
    with traces.request("0f" * 16, "POST /x"):
        pass
    traces.end()


@pytest.mark.parametrize(
    ("variables", "on"),
    [
        ({}, False),
        ({"COUNTERSIGN_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"COUNTERSIGN_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_traces_are_made_only_for_a_collector_that_is_named(variables: dict[str, str], on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert traces.is_wanted(Settings.read()) is on


def test_an_address_that_cannot_be_one_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERSIGN_OTLP_ENDPOINT", "collector:4318")
    with pytest.raises(WrongSetting, match=r"COUNTERSIGN_OTLP_ENDPOINT: should be http or https.*for instance http://127.0.0.1:4318"):
        Settings.read()


def test_without_a_collector_nothing_is_loaded_and_nothing_is_made() -> None:
    script = (
        "import json, sys, bot.app, automations.roles\nfrom store import traces\nfrom store.settings import Settings\n"
        "traces.begin(Settings.read(), role='web')\n"
        "same = traces.span('a', 'b') is traces.span('c', 'd') is traces.request('e', 'f')\n"
        "loaded = [one for one in sys.modules if one.startswith(('opentelemetry.sdk.trace', 'opentelemetry.exporter', 'store.spans'))]\n"
        "print(json.dumps([same, loaded]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [True, []]
