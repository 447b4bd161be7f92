"""REST: changing, withdrawing, taking back, handing over, and what is said about a run."""

from uuid import uuid4

import pytest

from countersign.runs import RunStatus
from tests.bot.plans import move_by_hand, plan_by_hand
from tests.bot.webs import Web
from tests.hubs import World

GRANT = {"command": "grant", "arguments": {"person": "eve", "role": "deployer"}}


async def asked(web: Web, world: World) -> str:
    """Max's request, which waits for one of the leads."""
    async with await web.caller("max") as max_:
        run: str = (await max_.post("/api/v1/runs", json=GRANT)).json()["id"]
    await plan_by_hand(world, run)
    return run


async def test_an_edit_sends_it_back_to_be_planned(web: Web, world: World) -> None:
    run = await asked(web, world)
    address = f"/api/v1/runs/{run}/edits"
    async with await web.caller("max") as max_, await web.caller("eve") as eve:
        stranger = await eve.post(address, json={"arguments": {"role": "approver"}})
        old = await max_.post(address, json={"arguments": {"role": "approver"}, "digest": "0" * 64})
        same = await max_.post(address, json={"arguments": {"role": "deployer"}})
        missing = await max_.post(address, json={"arguments": {"role": None}})
        wrong = await max_.post(address, json={"arguments": {"colour": "red"}})
        empty = await max_.post(address, json={"arguments": {}})
        right = await max_.post(address, json={"arguments": {"role": "approver", "duration": "1h"}, "digest": "d" * 64})
        again = await max_.post(address, json={"arguments": {"role": "admin"}})
        told = (await max_.get(f"/api/v1/runs/{run}")).json()
    assert [(one.status_code, one.json()["reason"]) for one in (stranger, old, same, missing, wrong, empty, again)] == [
        (403, "missing_permission"),
        (409, "digest_mismatch"),
        (409, "nothing_changed"),
        (422, "missing_arguments"),
        (422, "wrong_argument"),
        (422, "wrong_body"),
        (409, "late_click"),
    ]
    assert right.json()["sentence"].startswith("Changed role: deployer → approver; duration: nothing → 1h.")
    assert (told["status"], told["edited_by"], told["approval"]["state"]) == ("submitted", "max", "superseded")
    assert told["arguments"] == {"person": "eve", "role": "approver", "duration": "1h"}
    assert [(one["kind"], one["person"]) for one in told["conversation"]] == [("edit", "max")]


async def test_an_approval_is_taken_back_and_the_request_withdrawn(web: Web, world: World) -> None:
    run = await asked(web, world)
    async with await web.caller("max") as max_, await web.caller("lin") as lin:
        await lin.post(f"/api/v1/runs/{run}/decisions", json={"verdict": "approve", "digest": "d" * 64})
        back = await lin.post(f"/api/v1/runs/{run}/takeback", json={"reason": "too early"})
        twice = await lin.post(f"/api/v1/runs/{run}/takeback", json={})
        told = (await max_.get(f"/api/v1/runs/{run}")).json()
        others = await lin.post(f"/api/v1/runs/{run}/withdraw", json={})
        own = await max_.post(f"/api/v1/runs/{run}/withdraw", json={"reason": "never mind"})
        late = await max_.post(f"/api/v1/runs/{run}/withdraw", json={})
        ended = (await max_.get(f"/api/v1/runs/{run}")).json()
    assert "taken back in time" in back.json()["sentence"]
    assert (twice.status_code, twice.json()["reason"]) == (409, "nothing_to_take_back")
    assert (told["status"], told["approval"]["state"], told["approval"]["decisions"]) == ("awaiting_approval", "open", [])
    assert (others.status_code, own.status_code, late.status_code) == (403, 200, 409)
    assert (ended["status"], ended["outcome"]) == ("cancelled", "Withdrawn by max: never mind")


async def test_once_a_worker_has_begun_it_is_too_late(web: Web, world: World) -> None:
    run = await asked(web, world)
    async with await web.caller("max") as max_, await web.caller("lin") as lin:
        await lin.post(f"/api/v1/runs/{run}/decisions", json={"verdict": "approve", "digest": "d" * 64})
        await move_by_hand(world, run, RunStatus.running)
        answers = [
            await lin.post(f"/api/v1/runs/{run}/takeback", json={}),
            await max_.post(f"/api/v1/runs/{run}/withdraw", json={}),
            await max_.post(f"/api/v1/runs/{run}/edits", json={"arguments": {"role": "approver"}}),
        ]
    assert {(one.status_code, one.json()["reason"]) for one in answers} == {(409, "late_click")}
    assert all("begun" in one.json()["detail"] for one in answers)


async def test_what_is_said_is_read_by_all_who_see_the_run(web: Web, world: World) -> None:
    run = await asked(web, world)
    async with await web.caller("max") as max_, await web.caller("lin") as lin, await web.caller("eve") as eve:
        said = await eve.post(f"/api/v1/runs/{run}/comments", json={"text": "for me"})
        refused = await eve.post(f"/api/v1/runs/{run}/questions", json={"text": "when?"})
        question = await lin.post(f"/api/v1/runs/{run}/questions", json={"text": "until when?"})
        lines = (await lin.get(f"/api/v1/runs/{run}/conversation")).json()["items"]
        wanted = {"text": "for an hour", "question": lines[-1]["id"]}
        not_theirs = await lin.post(f"/api/v1/runs/{run}/answers", json=wanted)
        answer = await max_.post(f"/api/v1/runs/{run}/answers", json=wanted)
        nothing = await max_.post(f"/api/v1/runs/{run}/answers", json={"text": "and more"})
        unknown = await max_.post(f"/api/v1/runs/{run}/answers", json={"text": "x", "question": str(uuid4())})
        told = (await eve.get(f"/api/v1/runs/{run}/conversation")).json()["items"]
    assert [one.status_code for one in (said, refused, question, not_theirs, answer, nothing, unknown)] == [
        200,
        403,
        200,
        403,
        200,
        409,
        409,
    ]
    assert question.json()["sentence"].startswith("max is asked")
    assert [f"{one['person']} {one['said']}" for one in told] == [
        "eve says: for me",
        "lin asks: until when?",
        "max answers lin: for an hour",
    ]
    assert told[2]["about"] == told[1]["id"]


async def test_a_request_is_handed_over(web: Web, world: World) -> None:
    run = await asked(web, world)
    async with await web.caller("max") as max_, await web.caller("eve") as eve:
        nobody = await max_.post(f"/api/v1/runs/{run}/handover", json={"person": "nobody"})
        right = await max_.post(f"/api/v1/runs/{run}/handover", json={"person": "@eve"})
        told = (await eve.get(f"/api/v1/runs/{run}")).json()
        cancelled = await eve.post(f"/api/v1/runs/{run}/cancel")
    assert (nobody.status_code, nobody.json()["reason"]) == (422, "unknown_person")
    assert right.status_code == cancelled.status_code == 200
    assert told["handed_to"] == "eve"


@pytest.mark.parametrize("what", ["edits", "withdraw", "takeback", "handover", "comments", "questions", "answers", "conversation"])
async def test_a_token_that_only_reads_says_nothing(web: Web, world: World, what: str) -> None:
    run = await asked(web, world)
    body = {"arguments": {"role": "x"}, "text": "x", "person": "lin", "reason": ""}
    keys = {"edits": ["arguments"], "handover": ["person"], "withdraw": ["reason"], "takeback": ["reason"]}.get(what, ["text"])
    async with await web.caller("max", scopes=("read",)) as reader:
        if what == "conversation":
            assert (await reader.get(f"/api/v1/runs/{run}/{what}")).status_code == 200
        else:
            answer = await reader.post(f"/api/v1/runs/{run}/{what}", json={key: body[key] for key in keys})
            assert (answer.status_code, answer.json()["reason"]) == (403, "missing_scope")
