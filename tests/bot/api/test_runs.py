"""REST: asking for runs, reading them, deciding on them, stopping them."""

from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from countersign.runs import RunStatus
from store.audits import find_trail, search
from store.databases import reading
from tests.bot.plans import COMMANDS, move_by_hand, plan_by_hand
from tests.bot.webs import Web, web_of
from tests.hubs import World

GRANT = {"command": "grant", "arguments": {"person": "eve", "role": "deployer"}}


async def test_ada_asks_and_the_run_is_there_with_its_address(web: Web) -> None:
    async with await web.caller("ada") as ada:
        answer = await ada.post("/api/v1/runs", json={"command": "revoke", "arguments": {"person": "eve", "role": "x"}})
        assert answer.status_code == 403, "ada is no admin"
        refused = await ada.get(f"/api/v1/runs/{answer.json()['run']}")
    assert refused.json()["status"] == "refused"
    async with await web.caller("max") as admin:
        answer = await admin.post("/api/v1/runs", json={"text": "grant eve deployer 1h", "reason": "on call"})
        assert answer.status_code == 201
        run = (await admin.get(answer.headers["location"])).json()
        assert (await admin.get(f"/api/v1/runs/{run['number']}")).json()["id"] == run["id"]
    assert run["status"] == "submitted"
    assert run["arguments"] == {"person": "eve", "role": "deployer", "duration": "1h"}
    assert run["origins"] == {"person": "typed", "role": "typed", "duration": "typed"}
    assert (run["asker"], run["door"], run["reason"], run["risk"]) == ("max", "api", "on call", "high")


async def test_a_repeated_key_is_the_same_request_for_one_person_only(web: Web) -> None:
    async with await web.caller("max") as max_, await web.caller("lin") as lin:
        first = await max_.post("/api/v1/runs", json=GRANT | {"idempotency_key": "monday"})
        again = await max_.post("/api/v1/runs", json=GRANT | {"idempotency_key": "monday"})
        other = await lin.post("/api/v1/runs", json=GRANT | {"idempotency_key": "monday"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    assert other.status_code == 403, "lin's request is her own, and she may not grant"


async def test_a_control_answers_at_once(web: Web) -> None:
    async with await web.caller("ada") as ada:
        answer = await ada.post("/api/v1/runs", json={"text": "whoami"})
    assert answer.status_code == 200
    assert answer.json()["reply"]["text"] == "You are ada."


@pytest.mark.parametrize(
    ("body", "status", "reason", "said"),
    [
        ({"text": "depoly api"}, 404, "unknown_command", "There is no command 'depoly'"),
        ({"command": "grant", "arguments": {"person": "eve"}}, 422, "missing_arguments", "role: is required"),
        ({"command": "grant", "arguments": {"person": "eve", "role": "x", "more": "1"}}, 422, "wrong_argument", "more"),
        ({"text": 'grant "eve'}, 422, "not_understood", "quote"),
        ({"text": "grant eve deployer", "start_at": "noon"}, 422, "wrong_argument", "--at: should be a time such as"),
        ({"text": "grant eve deployer", "start_at": "2020-01-01T00:00Z"}, 422, "wrong_argument", "--at: has passed"),
        ({}, 422, "wrong_body", "either command"),
        ({"text": "help", "command": "help"}, 422, "wrong_body", "either command"),
        ({"text": "help", "as": "max"}, 422, "wrong_body", "as: is not a key"),
        ({"text": 7}, 422, "wrong_body", "text: should be a valid string"),
    ],
)
async def test_what_cannot_be_asked_gets_one_sentence(web: Web, body: dict[str, object], status: int, reason: str, said: str) -> None:
    async with await web.caller("max") as max_:
        answer = await max_.post("/api/v1/runs", json=body)
    problem = answer.json()
    assert (answer.status_code, problem["reason"]) == (status, reason)
    assert said in problem["detail"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["request"] == answer.headers["x-request-id"]
    assert problem["status"] == status


async def test_lin_approves_exactly_what_she_saw(web: Web, world: World) -> None:
    async with await web.caller("max") as max_, await web.caller("lin") as lin, await web.caller("eve") as eve:
        run = (await max_.post("/api/v1/runs", json=GRANT)).json()["id"]
        digest = await plan_by_hand(world, run)
        address = f"/api/v1/runs/{run}/decisions"
        own = await max_.post(address, json={"verdict": "approve", "digest": digest})
        stranger = await eve.post(address, json={"verdict": "approve", "digest": digest})
        old = await lin.post(address, json={"verdict": "approve", "digest": "0" * 64})
        blind = await lin.post(address, json={"verdict": "approve"})
        right = await lin.post(address, json={"verdict": "approve", "digest": digest})
        again = await lin.post(address, json={"verdict": "approve", "digest": digest})
        told = (await lin.get(f"/api/v1/runs/{run}")).json()
    assert [(one.status_code, one.json()["reason"]) for one in (own, stranger, old, blind, again)] == [
        (403, "self_approval"),
        (403, "missing_permission"),
        (409, "digest_mismatch"),
        (422, "wrong_body"),
        (409, "late_click"),
    ]
    assert right.status_code == 200
    assert right.json() == {"sentence": "Approved; it starts now.", "status": "queued", "missing": 0}
    assert told["approval"]["state"] == "approved"
    assert [(one["person"], one["verdict"], one["door"]) for one in told["approval"]["decisions"]] == [("lin", "approve", "api")]


async def test_a_run_is_asked_for_a_later_time_and_approved_for_a_still_later_one(web: Web, world: World) -> None:
    start = (datetime.now(UTC) + timedelta(hours=2)).replace(second=0, microsecond=0)
    async with await web.caller("max") as max_, await web.caller("lin") as lin:
        run = (await max_.post("/api/v1/runs", json=GRANT | {"start_at": start.isoformat()})).json()
        assert run["start_at"] == start.isoformat()
        wanted = {"verdict": "approve", "digest": await plan_by_hand(world, run["id"])}
        address = f"/api/v1/runs/{run['id']}/decisions"
        early = await lin.post(address, json=wanted | {"start_at": (start - timedelta(hours=1)).isoformat()})
        later = start + timedelta(hours=1)
        right = await lin.post(address, json=wanted | {"start_at": later.isoformat()})
        told = (await max_.get(f"/api/v1/runs/{run['id']}")).json()
    assert (early.status_code, early.json()["reason"]) == (422, "wrong_argument")
    assert right.json()["sentence"] == f"Approved; it starts {later:%Y-%m-%d %H:%M} UTC."
    assert (told["status"], told["start_at"], told["due_at"]) == ("queued", later.isoformat(), later.isoformat())


async def test_a_denial_says_why(web: Web, world: World) -> None:
    async with await web.caller("max") as max_, await web.caller("kim") as kim:
        run = (await max_.post("/api/v1/runs", json=GRANT)).json()["id"]
        digest = await plan_by_hand(world, run)
        answer = await kim.post(f"/api/v1/runs/{run}/decisions", json={"verdict": "deny", "digest": digest, "reason": "not on a Friday"})
        told = (await max_.get(f"/api/v1/runs/{run}")).json()
    assert answer.json()["status"] == "denied"
    assert told["outcome"] == "Denied by kim: not on a Friday"


async def test_only_those_concerned_cancel(web: Web) -> None:
    async with await web.caller("max") as max_, await web.caller("eve") as eve:
        run = (await max_.post("/api/v1/runs", json=GRANT)).json()["id"]
        other = await eve.post(f"/api/v1/runs/{run}/cancel")
        own = await max_.post(f"/api/v1/runs/{run}/cancel")
        late = await max_.post(f"/api/v1/runs/{run}/cancel")
    assert (other.status_code, own.status_code, late.status_code) == (403, 200, 409)
    assert "nothing was done" in own.json()["sentence"]


async def test_max_says_what_happened_to_an_interrupted_run(web: Web, world: World) -> None:
    async with await web.caller("max") as max_, await web.caller("eve") as eve:
        run = (await max_.post("/api/v1/runs", json=GRANT)).json()["id"]
        early = await max_.post(f"/api/v1/runs/{run}/resume", json={"choice": "again"})
        await move_by_hand(world, run, RunStatus.planning, RunStatus.queued, RunStatus.running, RunStatus.interrupted)
        stranger = await eve.post(f"/api/v1/runs/{run}/resume", json={"choice": "again"})
        wrong = await max_.post(f"/api/v1/runs/{run}/resume", json={"choice": "maybe"})
        answer = await max_.post(f"/api/v1/runs/{run}/resume", json={"choice": "stop"})
    assert (early.status_code, stranger.status_code, wrong.status_code) == (409, 403, 422)
    assert answer.json()["sentence"].endswith("stop here.")


async def test_a_private_run_does_not_exist_for_others(world: World, tmp_path: Path) -> None:
    async with (
        _valves(world, tmp_path) as web,
        await web.caller("ada") as ada,
        await web.caller("eve") as eve,
        await web.caller("max") as max_,
    ):
        run = (await ada.post("/api/v1/runs", json={"command": "look inside"})).json()["id"]
        hidden = [
            await eve.get(f"/api/v1/runs/{run}"),
            await eve.get(f"/api/v1/runs/{run}/log"),
            await eve.post(f"/api/v1/runs/{run}/cancel"),
            await eve.post(f"/api/v1/runs/{run}/resume", json={"choice": "stop"}),
            await eve.post(f"/api/v1/runs/{run}/decisions", json={"verdict": "deny"}),
        ]
        unknown = await eve.get(f"/api/v1/runs/{uuid4()}")
        for one in hidden:
            assert one.status_code == 404
            assert one.json()["detail"] == unknown.json()["detail"] == "There is no such run."
        assert (await eve.get("/api/v1/runs")).json()["items"] == []
        assert [one["id"] for one in (await ada.get("/api/v1/runs")).json()["items"]] == [run]
        assert (await max_.get(f"/api/v1/runs/{run}")).status_code == 200, "max holds countersign:audit"
        async with reading(web.hub.engine) as session:
            tries = await search(session, kind="request:refused", actor="eve")
    assert [one.detail["reason"] for one in tries] == ["not_found_or_foreign"] * 6, "reading, too, and what was never there"


async def test_a_secret_goes_in_and_never_comes_out(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = "hunter2-and-more"
    async with _valves(world, tmp_path) as web, await web.caller("ada") as ada:
        body = {"command": "open valve", "arguments": {"valve": "main", "code": secret}}
        born = await ada.post("/api/v1/runs", json=body)
        wrong = await ada.post("/api/v1/runs", json={"command": "open valve", "arguments": {"valve": "main", "code": secret, "turns": "x"}})
        typed = await ada.post("/api/v1/runs", json={"text": f"open valve main code={secret} turns=x"})
        shown = [born, wrong, typed, await ada.get(born.headers["location"]), await ada.get("/api/v1/runs")]
        assert born.json()["arguments"] == {"valve": "main", "code": "••••••", "turns": 1}
        assert wrong.status_code == 422
        async with reading(web.hub.engine) as session:
            told = repr(await find_trail(session, born.json()["id"])) + repr(await search(session, limit=100))
    for one in (*(answer.text for answer in shown), told, capsys.readouterr().out):
        assert secret not in one


async def test_pages_follow_each_other_without_a_gap(web: Web) -> None:
    async with await web.caller("max") as max_:
        for n in range(5):
            await max_.post("/api/v1/runs", json=GRANT | {"idempotency_key": str(n)})
        numbers: list[int] = []
        query: dict[str, str] = {"limit": "2"}
        while True:
            page = (await max_.get("/api/v1/runs", params=query)).json()
            numbers += [one["number"] for one in page["items"]]
            if page["next"] is None:
                break
            query["cursor"] = page["next"]
        mine = (await max_.get("/api/v1/runs", params={"status": "submitted", "asker": "max", "command": "grant"})).json()["items"]
        none = (await max_.get("/api/v1/runs", params={"status": ["succeeded", "failed"]})).json()["items"]
        wrong = [
            await max_.get("/api/v1/runs", params=one)
            for one in (
                {"cursor": "x"},
                {"cursor": "OTk5OTk5OTk5OTk5OTk5OTk5OTk5"},
                {"limit": "0"},
                {"limit": "201"},
                {"status": "done"},
            )
        ]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) == len(mine) == 5
    assert none == []
    assert [one.status_code for one in wrong] == [400, 400, 422, 422, 422]


async def test_the_log_is_empty_until_something_runs(web: Web) -> None:
    async with await web.caller("max") as max_:
        run = (await max_.post("/api/v1/runs", json=GRANT)).json()["id"]
        assert (await max_.get(f"/api/v1/runs/{run}/log")).json() == {"items": [], "next": 0}


def _valves(world: World, folder: Path) -> AbstractAsyncContextManager[Web]:
    (folder / "valves").mkdir()
    (folder / "valves" / "valves.py").write_text(COMMANDS)
    return web_of(world, COMMANDS=str(folder / "valves"))
