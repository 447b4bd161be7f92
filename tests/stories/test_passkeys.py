"""Who may sign, and what a signature does: enrolments, a critical command, a decision after a fresh login, a key that is lost."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from bot.presses import Press
from countersign.invocations import Door
from store.audits import find_trail
from store.databases import reading
from store.embedded import DatabaseUrls
from store.passkeys import find_passkeys, revoke_passkey
from store.people import find_person
from tests.fakes.authenticators import Authenticator
from tests.holders import Lodge, good
from tests.stories.vaults import accepted, enrolled, open_vault


@pytest.fixture
async def vault(database: DatabaseUrls, redis_url: str, tmp_path: Path) -> AsyncIterator[Lodge]:
    async with open_vault(database, redis_url, tmp_path) as lodge:
        yield lodge


async def asked(vault: Lodge, folder: Path, command: str = "erase") -> dict[str, Any]:
    ada = await vault.holder("ada")
    run = await ada.ask(command, where=str(folder / "burnt"), what="everything")
    await vault.settle()
    return await ada.look(run["id"])


async def trail(vault: Lodge, run: str) -> list[str]:
    async with reading(vault.services.engine) as session:
        return [one.kind for one in await find_trail(session, run)]  # type: ignore[arg-type]


async def pressed(vault: Lodge, name: str, run: dict[str, Any], *, door: Door = Door.slack, fresh: bool = False) -> str:
    async with reading(vault.services.engine) as session:
        person = await find_person(session, name)
    assert person is not None
    reply = await vault.web.hub.press(person, Press(str(uuid4()), "approve", run["id"], door, run["digest"], fresh=fresh))
    return reply.text


async def test_the_first_key_is_accepted_on_the_machine_and_signs_for_the_others(vault: Lodge, monkeypatch: pytest.MonkeyPatch) -> None:
    max_, moe = await vault.holder("max"), await vault.holder("moe")
    first = await max_.enrol("blue key")
    await vault.settle()
    run = await max_.look(first["run"]["id"])
    assert run["status"] == "awaiting_approval"
    assert "nobody who may approve this has one yet" in run["outcome"]
    assert f"countersign passkey accept {run['number']} FINGERPRINT" in run["outcome"]
    assert {"label": "Fingerprint", "value": first["fingerprint"]} in run["card"]["fields"]
    refused = await moe.send(run["id"], {"verdict": "approve", "digest": run["digest"]})
    assert (refused.status_code, refused.json()["reason"]) == (403, "no_passkey")
    assert "you have none yet: enrol one" in refused.json()["detail"]

    wrong = await accepted(vault, monkeypatch, run["number"], "0000-0000-0000-0000-0000")
    assert (wrong.code, "It may be forged: ask max." in wrong.err) == (1, True)
    right = await accepted(vault, monkeypatch, run["number"], first["fingerprint"])
    assert (right.code, right.out) == (0, f"max can sign decisions with the passkey 'blue key' ({first['fingerprint']}).\n")
    again = await accepted(vault, monkeypatch, run["number"], first["fingerprint"])
    assert "does not wait for an approval; it is cancelled" in again.err
    assert "passkey:added" in await trail(vault, run["id"])
    [key] = good(await max_.client.get("/api/v1/passkeys"))["items"]
    assert (key["fingerprint"], key["label"], key["rp_id"]) == (first["fingerprint"], "blue key", "localhost")

    second = await moe.enrol()
    await vault.settle()
    own = await moe.send(second["run"]["id"], {"verdict": "approve", "digest": (await moe.look(second["run"]["id"]))["digest"]})
    assert own.json()["reason"] == "self_approval"
    answer = await max_.decide(second["run"]["id"])
    assert answer["sentence"] == "Approved; it starts now."
    await vault.settle()
    run = await moe.look(second["run"]["id"])
    assert run["status"] == "succeeded"
    assert run["approval"]["decisions"][0]["signed"] is True
    assert len(good(await moe.client.get("/api/v1/passkeys"))["items"]) == 1


async def test_a_critical_command_is_carried_out_with_two_signatures(vault: Lodge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await enrolled(vault, monkeypatch, "max", "lin", "kim")
    run = await asked(vault, tmp_path)
    link = f"http://127.0.0.1:8000/runs/{run['number']}"
    assert run["approval"]["step_up"] == "passkey"
    places = {one["intent"]: (one["only"], one["signed"]) for one in run["card"]["buttons"]}
    assert places["open"] == ("", False)
    assert places["approve"] == places["deny"] == ("browser", True), "chats have no buttons for it"
    assert {"label": "Decide", "value": f"in the browser, signed with a passkey: {link}"} in run["card"]["fields"]
    for door in (Door.slack, Door.browser, Door.terminal):
        assert await pressed(vault, "lin", run, door=door, fresh=True) == f"This is signed with your passkey, in the browser: {link}"
    lin, kim = await vault.holder("lin"), await vault.holder("kim")
    assert (await lin.decide(run["id"]))["missing"] == 1
    assert (await kim.decide(run["id"]))["status"] == "queued"
    await vault.settle()
    assert (await lin.look(run["id"]))["status"] == "succeeded"
    assert (tmp_path / "burnt").read_text() == "everything\n"
    assert (await trail(vault, run["id"])).count("decision:refused") == 3


async def test_one_denies_with_a_signature(vault: Lodge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await enrolled(vault, monkeypatch, "max", "lin")
    run = await asked(vault, tmp_path)
    lin = await vault.holder("lin")
    refused = await lin.send(run["id"], {"verdict": "deny", "reason": "no"})
    assert refused.json()["reason"] == "step_up_passkey"
    crossed = await lin.sign(run["id"], "approve")
    refused = await lin.send(run["id"], crossed | {"verdict": "deny"})
    assert (refused.status_code, refused.json()["reason"]) == (409, "wrong_challenge")
    assert (await lin.decide(run["id"], "deny"))["status"] == "denied"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [({"origin": "https://evil.example"}, "wrong_origin"), ({"rp_id": "evil.example"}, "wrong_rp"), ({"flags": 1}, "no_verification")],
)
async def test_a_wrong_signature_is_refused_with_its_reason(
    vault: Lodge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any], reason: str
) -> None:
    await enrolled(vault, monkeypatch, "max", "lin")
    run = await asked(vault, tmp_path)
    lin = await vault.holder("lin")
    refused = await lin.send(run["id"], await lin.sign(run["id"], **wrong))
    assert refused.json()["reason"] == reason
    assert (await trail(vault, run["id"]))[-1] == "decision:refused"


async def test_a_lost_key_is_revoked_by_its_owner_at_once(vault: Lodge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await enrolled(vault, monkeypatch, "max", "lin", "kim")
    run = await asked(vault, tmp_path)
    lin, kim, eve = await vault.holder("lin"), await vault.holder("kim"), await vault.holder("eve")
    await lin.decide(run["id"])
    [key] = good(await lin.client.get("/api/v1/passkeys"))["items"]
    foreign = await eve.ask("passkey revoke", key=key["fingerprint"])
    revoked = await lin.ask("passkey revoke", key=key["fingerprint"][:9])
    await vault.settle()
    assert (await eve.look(foreign["id"]))["outcome"] == "You have no such passkey; passkey list shows the fingerprints."
    assert (await lin.look(revoked["id"]))["status"] == "succeeded"
    assert (await kim.decide(run["id"]))["missing"] == 1, "what the lost key has signed does not count any more"
    again = await lin.send(run["id"], {"verdict": "approve", "digest": run["digest"]})
    assert again.json()["reason"] == "dup_vote"


async def test_a_key_revoked_before_the_run_begins_has_signed_nothing(
    vault: Lodge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await enrolled(vault, monkeypatch, "max", "lin", "kim")
    run = await asked(vault, tmp_path)
    for name in ("lin", "kim"):
        await (await vault.holder(name)).decide(run["id"])
    async with vault.services.transaction() as session:
        [key] = await find_passkeys(session, ["kim"])
        assert await revoke_passkey(session, key.id, by="kim")
    await vault.settle()
    found = await (await vault.holder("lin")).look(run["id"])
    assert found["status"] == "awaiting_approval"
    assert found["plan"]["changed"] == ["the approval of kim does not count: This passkey of kim's was revoked."]
    assert not (tmp_path / "burnt").exists()
    assert "decision:unproven" in await trail(vault, run["id"])


async def test_enrolments_are_fresh_and_ones_own(vault: Lodge) -> None:
    lin, kim = await vault.holder("lin"), await vault.holder("kim")
    credential = lin.authenticator.create(await lin.begin())

    async def reason(who: Any, body: dict[str, Any]) -> str:
        answer = await who.client.post("/api/v1/passkeys", json=body)
        assert answer.status_code >= 400, answer.text
        return str(answer.json()["reason"])

    body = {"label": "phone", "credential": credential}
    assert await reason(kim, body) == "wrong_challenge"
    good(await lin.client.post("/api/v1/passkeys", json=body), 201)
    assert await reason(lin, body) == "wrong_challenge"
    assert await reason(lin, {"label": "phone", "credential": {"response": 1}}) == "unreadable"
    own = Authenticator().create({"publicKey": (await lin.begin())["publicKey"] | {"challenge": "AAAAAAAAAAAAAAAAAAAAAA"}})
    assert await reason(lin, {"label": "phone", "credential": own}) == "wrong_challenge"
    unverified = Authenticator().create(await lin.begin(), flags=1)
    assert await reason(lin, {"label": "phone", "credential": unverified}) == "no_verification"


async def test_a_decision_after_a_fresh_login_only(vault: Lodge, tmp_path: Path) -> None:
    run = await asked(vault, tmp_path, "dim")
    link = f"http://127.0.0.1:8000/runs/{run['number']}"
    assert [(one["intent"], one["only"]) for one in run["card"]["buttons"]][:3] == [
        ("approve", "browser"),
        ("deny", "browser"),
        ("open", ""),
    ]
    told = f"This is decided in the browser, within five minutes of logging in: {link}"
    assert await pressed(vault, "lin", run) == told
    assert await pressed(vault, "lin", run, door=Door.terminal, fresh=True) == told
    assert await pressed(vault, "lin", run, door=Door.browser) == told
    lin = await vault.holder("lin")
    body = {"verdict": "approve", "digest": run["digest"]}
    refused = await lin.send(run["id"], body)
    assert (refused.json()["reason"], refused.json()["detail"]) == ("step_up_login", told)

    foreign = await lin.client.post("/api/v1/login", json={"link": await vault.web.token("link", "kim")})
    assert foreign.json()["reason"] == "wrong_link"
    fresh = await vault.web.token("link", "lin")
    assert good(await lin.client.post("/api/v1/login", json={"link": f"http://127.0.0.1:8000/enter/{fresh}"})) == {"fresh_for": 300}
    assert (await lin.client.post("/api/v1/login", json={"link": fresh})).status_code == 403, "it works once"
    assert good(await lin.send(run["id"], body))["status"] == "queued"
    await vault.settle()
    assert (await lin.look(run["id"]))["status"] == "succeeded"


async def test_the_browser_shows_the_run_and_takes_the_decision_after_a_login(vault: Lodge, tmp_path: Path) -> None:
    run = await asked(vault, tmp_path, "dim")
    browser = await vault.web.browser("lin")
    page = await browser.client.get(f"/runs/{run['number']}")
    assert "everything is dimmed" in page.text
    assert 'value="approve"' in page.text
    answer = await browser.send("/room/press", intent="approve", target=run["id"], digest=run["digest"])
    assert "Approved; it starts now." in answer.text
    await vault.settle()
    assert (tmp_path / "burnt").exists()
    stranger = await vault.web.client().get(f"/runs/{run['number']}")
    assert stranger.status_code == 401


async def test_a_signature_that_was_taken_back_never_counts_again(vault: Lodge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await enrolled(vault, monkeypatch, "max", "lin", "kim")
    run = await asked(vault, tmp_path)
    lin, kim = await vault.holder("lin"), await vault.holder("kim")
    first = await lin.sign(run["id"])
    good(await lin.send(run["id"], first))
    good(await lin.client.post("/api/v1/runs", json={"text": f"takeback {run['number']}"}))
    again = await lin.send(run["id"], first)
    assert (again.status_code, again.json()["reason"]) == (409, "wrong_challenge")
    await kim.decide(run["id"])
    assert (await lin.decide(run["id"]))["status"] == "queued", "a new signature does"
    await vault.settle()
    assert (tmp_path / "burnt").read_text() == "everything\n"


async def test_whoever_changed_a_request_or_has_it_in_hand_does_not_sign_for_it(
    vault: Lodge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said by the record, whatever the run's row says: Kim had it in hand, and her name is taken off it."""
    await enrolled(vault, monkeypatch, "max", "lin", "kim")
    run = await asked(vault, tmp_path)
    ada = await vault.holder("ada")
    good(await ada.client.post("/api/v1/runs", json={"text": f"handover {run['number']} kim"}))
    async with vault.services.transaction() as session:
        await session.execute(text("UPDATE runs SET handed_to = NULL WHERE id = :id"), {"id": run["id"]})
    for name in ("lin", "kim"):
        await (await vault.holder(name)).decide(run["id"])
    await vault.settle()
    found = await ada.look(run["id"])
    assert (found["status"], found["plan"]["changed"]) == (
        "awaiting_approval",
        ["according to the record somebody else has asked for this"],
    )
    assert not (tmp_path / "burnt").exists()
