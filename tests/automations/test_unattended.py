"""What service accounts ask for: with rights of their own, under the approval of people, and never with a vote."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from commands.unattended import Sent, submit_unattended
from countersign import RunStatus
from countersign.invocations import Door, Invocation, Place
from countersign.replies import Reply
from kit.bots import Bot, Member, RunHandle
from kit.fixtures import open_bot
from store.audits import search
from store.databases import reading, transaction
from store.embedded import DatabaseUrls
from store.people import find_person, save_people
from store.tokens import find_token, issue_token
from tests.automations.carts import write_cart

ACCOUNTS = {
    "service_accounts": {"svc-cart": {"groups": ["robots"]}, "svc-idle": {}, "svc-off": {"groups": ["robots"], "active": False}},
    "roles": {"carter": ["cart:fill"]},
    "groups": {"robots": ["carter"]},
}
VOTE = {"rules": [{"name": "two eyes", "command": "cart", "approve": {"by": "cart:approve"}}]}


@pytest.fixture
async def crew(bot_database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Bot]:
    """Ada answers for what svc-cart asks; Lin approves."""
    write_cart(tmp_path)
    async with open_bot(bot_database, tmp_path, commands=tmp_path / "commands") as bot:
        bot.cast("ada", may=["cart:fill", "cart:approve"])
        bot.cast("lin", may=["cart:approve"])
        bot.policy(**ACCOUNTS)
        await bot.person("ada")
        yield bot


async def sent(crew: Bot, *, account: str = "svc-cart", key: str = "", channel: str = "", holder: str = "ada", **what: Any) -> Sent:
    await crew.person("ada")  # the policy is in force from here on
    place = Place("room", channel=channel) if channel else Place("schedule")
    given = what or {"command": "cart", "arguments": {"how": "gone"}}
    invocation = Invocation(key=key or str(uuid4()), door=Door.schedule, place=place, **given)
    async with crew.services.transaction() as session:
        rulebook = await crew.services.current_rulebook(session)
        return await submit_unattended(session, rulebook, invocation, account=account, source="schedule nightly", holder=holder)


async def run_of(crew: Bot, one: Sent) -> RunHandle:
    assert one.born is not None, one.sentence
    return await crew.watch(one.born.run_id, Reply(text=""))


async def asked_by(crew: Bot, run: RunHandle) -> str:
    answer = await Member(crew, "ada").ask(f"run {run.id}")
    assert answer.reply.card is not None
    return next(one.value for one in answer.reply.card.fields if one.label == "Asked by")


async def test_it_runs_with_rights_of_its_own_and_says_on_whose_word(crew: Bot) -> None:
    run = await run_of(crew, await sent(crew, channel="ops"))
    assert run.succeeded
    assert await asked_by(crew, run) == "schedule nightly, as svc-cart (ada answers for it)"
    (born, *_) = await crew.trail(run)
    assert (born.actor, born.detail["source"], born.detail["holder"]) == ("svc-cart", "schedule nightly", "ada")


async def test_where_it_names_no_channel_nobody_is_told_of_each_run(crew: Bot) -> None:
    before = len(await crew.messages("ada"))
    run = await run_of(crew, await sent(crew))
    assert run.succeeded
    assert len(await crew.messages("ada")) == before
    assert not await crew.messages("svc-cart")


async def test_people_approve_it_and_whoever_answers_for_it_is_none_of_them(crew: Bot) -> None:
    crew.policy(**ACCOUNTS, **VOTE)
    run = await run_of(crew, await sent(crew))
    assert run.status is RunStatus.awaiting_approval
    assert [row.kind for row in await crew.messages("ada") if row.run_id == run.id] == ["direct"], "who answers for it is told"
    await Member(crew, "ada").approve(run, expect="You answer for this request; someone else must approve it.")
    await Member(crew, "svc-cart").approve(run, expect="Service accounts never vote.")
    await Member(crew, "lin").approve(run)
    assert run.succeeded


async def test_whoever_answers_for_it_may_cancel_it(crew: Bot) -> None:
    crew.policy(**ACCOUNTS, **VOTE)
    run = await run_of(crew, await sent(crew))
    await Member(crew, "ada").cancel(run)
    assert run.status is RunStatus.cancelled


async def test_where_passkeys_sign_the_record_knows_who_answers_for_it_although_the_row_was_changed_by_hand(crew: Bot) -> None:
    crew.policy(**ACCOUNTS, rules=[{"name": "signed", "command": "cart", "approve": {"by": "cart:approve", "step_up": "passkey"}}])
    run = await run_of(crew, await sent(crew))
    async with transaction(crew.owner) as session:
        await session.execute(text("UPDATE runs SET handed_to = NULL WHERE id = :id"), {"id": run.id})
    await Member(crew, "ada").sign(run)
    assert not run.succeeded
    assert "run:running" not in run.trail


@pytest.mark.parametrize(
    ("account", "what", "sentence", "reason"),
    [
        ("svc-idle", {"command": "cart", "arguments": {"how": "gone"}}, "needs the permission cart:fill", "missing_permission"),
        ("svc-cart", {"command": "cart", "arguments": {}}, "Usage:", "incomplete"),
        ("svc-cart", {"command": "cart", "arguments": {"how": "gone", "when": "now"}}, "when", "wrong_argument"),
        ("svc-cart", {"command": "runs", "arguments": {}}, "answers at once", "control"),
        ("svc-cart", {"command": "kart", "arguments": {}}, "no command 'kart'", "unknown_command"),
        ("svc-off", {"command": "cart", "arguments": {"how": "gone"}}, "not active", "actor_inactive"),
        ("svc-none", {"command": "cart", "arguments": {"how": "gone"}}, "no service account svc-none", "unknown_account"),
        ("ada", {"command": "cart", "arguments": {"how": "gone"}}, "no service account ada", "unknown_account"),
    ],
)
async def test_what_cannot_be_asked_is_refused_in_a_sentence_and_recorded(
    crew: Bot, account: str, what: dict[str, Any], sentence: str, reason: str
) -> None:
    one = await sent(crew, account=account, **what)
    assert sentence in one.sentence
    assert one.refused == reason
    assert one.born is None or one.born.status is RunStatus.refused
    async with reading(crew.services.engine) as session:
        (latest,) = await search(session, limit=1)
    assert (latest.actor, latest.detail["source"]) == (account, "schedule nightly")
    assert reason in (latest.detail.get("reason"), latest.detail.get("because"))


async def test_the_same_key_is_the_same_run(crew: Bot) -> None:
    first, again = await sent(crew, key=(key := str(uuid4()))), await sent(crew, key=key)
    assert first.born is not None
    assert again.born is not None
    assert (again.born.run_id, again.born.fresh) == (first.born.run_id, False)


async def test_an_account_that_policy_no_longer_names_is_inactive_and_loses_its_tokens(crew: Bot) -> None:
    async with transaction(crew.services.engine) as session:
        token = await issue_token(session, kind="api", person="svc-cart", label="t", scopes=("submit",), lifetime=600)
    crew.policy(service_accounts={"svc-idle": {}})
    assert not (await crew.person("svc-cart")).active
    assert (await crew.person("svc-idle")).active
    async with reading(crew.services.engine) as session:
        assert await find_token(session, token, kind="api") is None


async def test_nobody_becomes_an_account_who_was_a_person_nor_the_other_way_round(crew: Bot) -> None:
    async with transaction(crew.owner) as session:
        await save_people(session, {"ada": {"service": True, "groups": ["robots"]}, "svc-cart": {"groups": ["leads"]}})
        ada, robot = await find_person(session, "ada"), await find_person(session, "svc-cart")
    assert ada is not None
    assert robot is not None
    assert (ada.service, ada.active, ada.groups) == (False, False, frozenset())
    assert (robot.service, robot.active, robot.groups) == (True, False, frozenset())
