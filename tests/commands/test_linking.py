"""An account is linked by a code that its person was shown where they are signed in: once, soon, and known by its hash alone."""

import asyncio
from uuid import uuid4

import pytest
from sqlalchemy import text

from commands.authorizing import Refused
from commands.linking import Linked, begin_link, code_in, finish_link
from store.databases import reading, transaction
from store.people import Account, deactivate, find_by_account
from store.rosters import forget_vouchers
from tests.commands.desks import Desk


def account(team: str = "") -> Account:
    return Account("slack", team or f"T{uuid4().hex[:8]}", f"U{uuid4().hex[:8]}")


async def begun(desk: Desk, name: str = "ada") -> str:
    async with transaction(desk.web) as session:
        return await begin_link(session, await desk.person(name))


async def typed(desk: Desk, one: Account, line: str) -> Linked | Refused:
    async with transaction(desk.web) as session:
        return await finish_link(session, one, code_in(line), trace="t")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("link 7K2QF-9XWMA", "7K2QF9XWMA"),
        ("  /LINK".lower() + "  7k2qf9xwma ", "7K2QF9XWMA"),
        ("link OIL2F-9XWMA", "0112F9XWMA"),
        ("link", ""),
        ("link ada slack T1 U1", ""),
        ("link admin slack", ""),
        ("link 7K2QF-9XWMA now", ""),
        ("help 7K2QF-9XWMA", ""),
    ],
)
def test_a_code_is_read_however_it_is_typed(line: str, code: str) -> None:
    assert code_in(line) == code


async def test_the_code_links_the_account_that_types_it_once(desk: Desk) -> None:
    code, one, other = await begun(desk), account(), account()
    answer = await typed(desk, one, f"link {code.lower()}")
    assert answer == Linked("ada", "Linked: this account acts as ada from now on.")
    async with reading(desk.web) as session:
        found = await find_by_account(session, one)
    assert found is not None
    assert found.name == "ada"
    again = await typed(desk, other, f"link {code}")
    assert isinstance(again, Refused)
    assert again.reason == "unknown_code"
    (event,) = await desk.events("account:linked")
    assert (event.actor, event.detail["account"], event.detail["by"]) == ("ada", one.account, "code")
    async with reading(desk.web) as session:
        rows = await session.execute(text("SELECT person, card FROM messages WHERE kind = 'reply' AND person = 'ada'"))
        told = [row.card["text"] for row in rows]
    assert any(one.account in words and "acts as you from now on" in words for words in told)


async def test_nothing_that_is_stored_shows_the_code(desk: Desk) -> None:
    code = (await begun(desk)).replace("-", "")
    async with reading(desk.owner) as session:
        rows = await session.execute(text("SELECT t::text AS whole FROM tokens t WHERE kind = 'link_code'"))
        stored = [row.whole for row in rows]
    assert stored
    assert not any(code in one for one in stored)
    assert not any(code in str(one.detail) for one in await desk.events("link:begun"))


async def test_a_code_is_old_after_ten_minutes_and_a_new_one_ends_it(desk: Desk) -> None:
    first = await begun(desk)
    second = await begun(desk)
    assert isinstance(await typed(desk, account(), f"link {first}"), Refused)
    await desk.pass_time("10 minutes")
    late = await typed(desk, account(), f"link {second}")
    assert isinstance(late, Refused)
    assert late.sentence.startswith("This code is not known, was used, or is older than ten minutes")


async def test_an_account_that_acts_for_somebody_keeps_the_code_unspent(desk: Desk) -> None:
    mine, theirs = account(), account()
    await typed(desk, mine, f"link {await begun(desk, 'lin')}")
    code = await begun(desk, "kim")
    assert await typed(desk, mine, f"link {code}") == Refused("This account acts as lin already.", "linked_already")
    assert isinstance(await typed(desk, theirs, f"link {code}"), Linked)


async def test_one_account_a_person_and_workspace(desk: Desk) -> None:
    team = f"T{uuid4().hex[:8]}"
    assert isinstance(await typed(desk, account(team), f"link {await begun(desk)}"), Linked)
    twice = await typed(desk, account(team), f"link {await begun(desk)}")
    assert isinstance(twice, Refused)
    assert twice.sentence == "ada has another account in this workspace already; ask an admin to link this one."


async def test_of_many_who_type_it_at_once_one_is_linked(desk: Desk) -> None:
    code = await begun(desk)
    answers = await asyncio.gather(*(typed(desk, account(), f"link {code}") for _ in range(6)))
    assert [type(one) for one in answers].count(Linked) == 1


async def test_who_left_meanwhile_is_not_linked(desk: Desk) -> None:
    code = await begun(desk, "lin")
    async with transaction(desk.worker) as session:
        await deactivate(session, "lin")
    answer = await typed(desk, account(), f"link {code}")
    assert isinstance(answer, Refused), "their codes ended with them"
    async with transaction(desk.worker) as session:
        await forget_vouchers(session, source="admin", active=False)
