"""The last admin stays, whichever way somebody tries to be rid of them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from commands.directories import SlackState, follow_slack
from commands.lastadmins import LastAdmin, has_admin, keeping_an_admin
from commands.policies import BoundPolicy
from kit.bots import Bot, Member
from kit.fixtures import open_bot
from store.audits import search
from store.databases import reading, transaction
from store.embedded import DatabaseUrls
from store.people import Account, find_lasting_people, find_person, link_account
from store.rosters import deactivate

GONE = "Nobody would be an admin any more, so nobody could change that again; nothing was changed."
STAFF = "people: {max: {groups: [admins]}, lin: {groups: [staff]}}\nroles: {admin: ['*:*'], reader: ['shop:read']}\n"


@pytest.fixture
async def office(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Bot]:
    """Max and Lin are admins by their groups; Kim may be granted the role `root`, which makes one too."""
    async with open_bot(database, tmp_path) as bot:
        bot.cast("max", "lin", may=["countersign:admin"])
        bot.cast("kim", may=["countersign:use"])
        bot.policy(roles={"root": ["*:admin"]})
        await bot.person("max")
        yield bot


async def grant_root(office: Bot, *duration: str) -> None:
    max_, lin, _ = office.cast("max", "lin", "kim")
    run = await max_.say(" ".join(["grant", "kim", "root", *duration]))
    await lin.approve(run)
    assert run.succeeded, run.outcome


async def let_go(office: Bot, *names: str) -> None:
    """Takes their groups away behind everybody's back."""
    async with transaction(office.owner) as session:
        await session.execute(text("DELETE FROM memberships WHERE person = ANY(:names)"), {"names": list(names)})


async def policy_of(office: Bot) -> BoundPolicy:
    return (await office.hub.rulebook()).policy


async def test_a_policy_without_an_admin_is_refused_before_anybody_is_asked(office: Bot) -> None:
    max_ = Member(office, "max")
    for body in (
        "people: {lin: {}}\n",
        "people: {max: {groups: [admins]}}\nroles: {reader: ['countersign:audit']}\ngroups: {admins: [reader]}\n",
        STAFF.replace("max: {groups: [admins]}, ", "") + "groups: {staff: [reader]}\n",
    ):
        run = await max_.submit("policy apply", text=body.replace(", reader: ['shop:read']", ", reader: ['countersign:audit']"))
        assert (run.status, run.outcome) == ("failed", "Nobody would be an admin under this policy, so nobody could change it again.")


async def test_a_revoked_or_returned_role_stays_where_it_was_the_last(office: Bot) -> None:
    await grant_root(office)
    await let_go(office, "max", "lin")
    kim = Member(office, "kim")
    for words in ("revoke kim root", "access return root"):
        run = await kim.say(words)
        assert run.status in ("failed", "rolled_back"), run.outcome
        assert GONE.removesuffix(".") in run.outcome
    async with reading(office.services.engine) as session:
        found = await find_person(session, "kim")
    assert found is not None
    assert "root" in found.roles


async def test_with_another_admin_left_a_role_is_revoked(office: Bot) -> None:
    await grant_root(office)
    await let_go(office, "max")
    run = await Member(office, "lin").say("revoke kim root")
    assert run.succeeded, run.outcome


async def test_a_role_that_ends_by_itself_makes_nobody_the_last_admin(office: Bot) -> None:
    await grant_root(office, "2h")
    await let_go(office, "lin")
    policy = await policy_of(office)
    async with reading(office.services.engine) as session:
        assert [one.name for one in await find_lasting_people(session) if has_admin(policy, [one])] == ["max"]
    with pytest.raises(LastAdmin, match=GONE):
        async with transaction(office.owner) as session, keeping_an_admin(session, policy):
            await deactivate(session, "max")
    async with reading(office.services.engine) as session:
        found = await find_person(session, "max")
    assert found is not None
    assert found.active


async def test_two_who_are_removed_at_the_same_instant_are_not_both_gone(office: Bot) -> None:
    policy = await policy_of(office)

    async def removed(name: str) -> bool:
        try:
            async with transaction(office.owner) as session, keeping_an_admin(session, policy):
                await deactivate(session, name)
                await asyncio.sleep(0.05)
        except LastAdmin:
            return False
        return True

    assert sorted(await asyncio.gather(removed("max"), removed("lin"))) == [False, True]


async def test_where_there_never_was_an_admin_nothing_is_kept(office: Bot) -> None:
    await let_go(office, "max", "lin")
    policy = await policy_of(office)
    async with transaction(office.owner) as session, keeping_an_admin(session, policy):
        await deactivate(session, "max")


async def test_whom_slack_lets_go_is_let_go_and_the_last_admin_stays(office: Bot) -> None:
    async with transaction(office.owner) as session:
        for name in ("kim", "lin", "max"):
            await link_account(session, Account("slack", "T1", f"U{name}"), name, by="test")
    policy = await policy_of(office)
    for _ in range(2):
        async with transaction(office.services.engine) as session:
            await follow_slack(session, policy, SlackState("T1", None, ["Ukim", "Ulin", "Umax"], ()))
    async with reading(office.services.engine) as session:
        people = {name: await find_person(session, name) for name in ("kim", "lin", "max")}
        (spared,) = [one for one in await search(session, kind="person:spared", limit=10) if one.actor == "lin"]
    assert {name: one.active for name, one in people.items() if one} == {"kim": False, "lin": True, "max": False}
    assert spared.detail["source"] == "slack:T1"
