"""A role for a while: asked for by its holder, approved by others, held from then on, extended, given back, and over by itself."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from bot.presses import Press
from countersign.invocations import Door
from kit.bots import Bot, Member, RunHandle
from kit.fixtures import open_bot
from store.embedded import DatabaseUrls
from store.people import deactivate
from tests.automations.carts import write_cart
from tests.commands.shipped.words import said

NAMES = ("ada", "lin", "kim", "max", "eve")


@pytest.fixture
async def crew(bot_database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Bot]:
    """Ada asks for the role `filler`; Lin owns it; Max is an admin; Kim may approve things in general; Eve is outside."""
    write_cart(tmp_path)
    async with open_bot(bot_database, tmp_path, commands=tmp_path / "commands") as bot:
        bot.cast("ada", "lin", "kim", may=["access:request"])
        bot.cast("kim", may=["countersign:approve"])
        bot.cast("max", may=["countersign:admin", "access:request"])
        bot.cast("eve")
        bot.policy(
            roles={"filler": ["cart:fill"], "watcher": ["countersign:audit"]},
            owners={"role": {"filler": ["person:lin"]}},
            access={"filler": {"max": "8h"}},
        )
        yield bot
        await bot.later("40h")


@pytest.fixture
def people(crew: Bot) -> tuple[Member, ...]:
    """Ada, Lin, Kim, Max and Eve."""
    return tuple(Member(crew, name) for name in NAMES)


async def holds(person: Member, role: str = "filler") -> bool:
    return role in (await person.bot.person(person.name)).roles


async def held(person: Member, approver: Member, asked: str = "filler 2h") -> RunHandle:
    run = await person.say(f"/access request {asked}")
    await approver.approve(run)
    assert run.succeeded, run.outcome
    return run


async def told(crew: Bot, name: str) -> list[Any]:
    """What this person was told beside the runs' own messages: texts of replies, and cards."""
    return [one.card for one in await crew.messages(name) if one.kind == "reply" and one.run_id is None]


async def words(crew: Bot, grant: str) -> list[Any]:
    """The cards that told Ada, before the end of this grant, that it is near."""
    cards = [one["card"] for one in await told(crew, "ada") if one["card"]]
    return [one for one in cards if {"label": "Grant", "value": grant} in one["fields"]]


async def detail(crew: Bot, run: RunHandle, kind: str) -> dict[str, Any]:
    (found,) = [one.detail for one in await crew.trail(run) if one.kind == kind]
    return dict(found)


async def test_the_clock_starts_at_the_approval_and_the_end_comes_by_itself(crew: Bot, people: tuple[Member, ...]) -> None:
    ada, lin, *_ = people
    run = await ada.say('/access request filler 2h --reason "INC-7"')
    assert run.summary == "ada gets the role filler for 2h, from its approval on"
    assert [one.value for one in (await crew.card(run)).fields if one.label == "Carries"] == ["cart:fill"]
    await crew.later("5h")
    assert not await holds(ada)
    assert "This needs the permission cart:fill" in await said(ada, "cart gone")
    await lin.approve(run)
    assert run.succeeded, run.outcome
    assert (await detail(crew, run, "grant:given")) | {"grant": ""} == {
        "grant": "", "subject": "ada", "role": "filler", "for": "2h", "approved_by": ["lin"],
    }  # fmt: skip
    await crew.later("1h59m")
    assert (await ada.say("cart gone")).succeeded
    await crew.later("1m")
    assert not await holds(ada)
    assert run.trail[-1] == "grant:expired"
    assert (await detail(crew, run, "grant:expired"))["held"] == "2h"
    assert "You do not have the role filler any more: its time is over since " in (await told(crew, "ada"))[-1]["text"]
    history = await said(ada, "access list --history")
    assert "(2h), expired" in history
    assert "approved by lin: INC-7" in history


async def test_only_others_approve_and_only_those_whom_the_role_belongs_to(crew: Bot, people: tuple[Member, ...]) -> None:
    ada, lin, kim, max_, _ = people
    run = await ada.say("/access request filler 1h")
    await ada.approve(run, expect="someone else must approve your request")
    await kim.approve(run, expect="the owner of its role")
    await max_.approve(run, expect="the owner of its role")
    own = await lin.say("/access request filler 1h")
    await lin.approve(own, expect="someone else must approve your request")
    await max_.approve(own)
    assert own.succeeded, "where the only owner asks, the admins decide"
    unowned = await ada.say("/access request watcher 1h")
    await lin.approve(unowned, expect="countersign:admin")
    await max_.approve(unowned)
    assert await holds(ada, "watcher")
    assert not await holds(ada)


async def test_policy_says_who_approves_a_role_instead_and_no_general_rule_loosens_it(crew: Bot, people: tuple[Member, ...]) -> None:
    ada, lin, kim, max_, _ = people
    general = [{"name": "everything high", "risk": "high", "approve": {"by": "countersign:approve"}}]
    crew.policy(rules=general, access={"filler": {"max": "8h", "approve": {"stages": [{"of": ["person:max", "person:kim"], "count": 2}]}}})
    run = await ada.say("/access request filler 1h")
    await lin.approve(run, expect="max or kim")
    await kim.approve(run)
    assert not await holds(ada)
    await max_.approve(run)
    assert run.succeeded
    crew.policy(access={})
    unowned = await ada.say("/access request watcher 1h")
    await kim.approve(unowned, expect="who holds countersign:admin")
    assert not await holds(ada, "watcher"), "whoever approves in general does not give roles away"
    await max_.approve(unowned)
    assert unowned.succeeded
    explained = await said(max_, "policy explain ada 'access request filler 1h'")
    assert "owner of its role" in explained


async def test_who_holds_it_is_told_before_the_end_and_extends_with_a_button(crew: Bot, people: tuple[Member, ...]) -> None:
    ada, lin, *_ = people
    first = await held(ada, lin, "filler 1h")
    name = (await detail(crew, first, "grant:given"))["grant"]
    await crew.later("49m")
    assert await words(crew, name) == []
    await crew.later("1m")
    (word,) = await words(crew, name)
    assert (word["title"], word["buttons"][0]["label"]) == ("Role filler ends soon", "Extend")
    form = (await pressed(ada, word["buttons"][0])).form
    assert form is not None
    assert (form.intent, form.target, {one.name: one.initial for one in form.inputs}) == (
        "submit", "access extend", {"role": "filler", "duration": "1h"},
    )  # fmt: skip
    run = await ada.submit("access extend", role="filler", duration="1h")
    assert run.summary.startswith("ada keeps the role filler for 1h more, until ")
    await ada.approve(run, expect="someone else must approve")
    await lin.approve(run)
    assert run.succeeded, run.outcome
    await crew.later("60m")
    assert await holds(ada)
    assert len(await words(crew, name)) == 2, "told again before the new end"
    await crew.later("11m")
    assert not await holds(ada)
    await crew.refresh()
    assert (await detail(crew, first, "grant:expired"))["held"] == "2h"
    assert f"extended #{await number(ada, run)} by lin" in await said(ada, "access list --history")
    assert "has ended already" in (await pressed(ada, word["buttons"][0])).text
    assert "no such grant of yours" in (await pressed(lin, word["buttons"][0])).text


async def test_an_extension_that_comes_too_late_or_twice_changes_nothing(crew: Bot, people: tuple[Member, ...]) -> None:
    ada, lin, *_ = people
    await held(ada, lin, "filler 1h")
    late = await ada.say("/access extend filler 1h")
    twice = [await ada.say("/access extend filler 30m") for _ in range(2)]
    await lin.approve(twice[0])
    assert twice[0].succeeded
    await lin.approve(twice[1])
    assert twice[1].status == "awaiting_approval", "its end is another one than Lin saw, so she is asked again"
    await crew.later("91m")
    await lin.approve(late)
    assert late.outcome.startswith("Nothing was done; it could not be planned again: You do not have the role filler for a while")
    assert not await holds(ada)


async def test_it_is_given_back_at_once_without_anybody(crew: Bot, people: tuple[Member, ...]) -> None:
    ada, lin, _, _, eve = people
    run = await held(ada, lin)
    name = str((await detail(crew, run, "grant:given"))["grant"])
    assert (await eve.say(f"/access return {name}")).outcome == f"There is no grant {name} of yours. To see what you have: access list"
    await crew.later("47m")
    back = await ada.say("/access return filler")
    assert back.succeeded, back.outcome
    assert (await detail(crew, back, "grant:ended"))["how"] == "returned"
    assert not await holds(ada)
    assert "(47m), returned by ada" in await said(ada, "access list --history")
    again = await ada.say(f"/access return {name}")
    assert again.outcome.startswith(f"{name} has ended already: ")
    assert (await ada.say("/access return filler")).outcome == "You have no granted role 'filler'. To see what you have: access list"


async def test_an_admin_ends_anybodys_and_the_holder_is_told(crew: Bot, people: tuple[Member, ...]) -> None:
    ada, lin, _, max_, _ = people
    name = (await detail(crew, await held(ada, lin), "grant:given"))["grant"]
    assert (await max_.say(f"/access return {str(name).lower()}")).succeeded
    assert not await holds(ada)
    text = f"You do not have the role filler any more: max took it away ({name}). To ask again: access request filler 1h"
    assert (await told(crew, "ada"))[-1]["text"] == text


async def test_a_request_that_is_denied_gives_nothing(people: tuple[Member, ...]) -> None:
    ada, lin, *_ = people
    run = await ada.say("/access request filler 1h")
    await lin.deny(run, reason="Ask Kim to do it")
    assert (run.status, run.outcome) == ("denied", "Denied by lin: Ask Kim to do it")
    assert not await holds(ada)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("request nothing 1h", "There is no role 'nothing'; policy defines filler, "),
        ("request filler 9h", "The role filler is given for 8h at most."),
        ("request watcher 25h", "The role watcher is given for 1d at most."),
        ("request filler 0s", "A role is given for a minute at least."),
        ("request role-ada 1h", "You have the role role-ada already, through a group."),
        ("extend filler 1h", "You do not have the role filler for a while. Ask for it: access request filler 1h"),
        ("extend G1 1h", "There is no role 'G1'; policy defines filler, "),
        ("return filler", "You have no granted role 'filler'. To see what you have: access list"),
        ("return G999999", "There is no grant G999999 of yours. To see what you have: access list"),
    ],
)
async def test_what_must_not_be_is_one_clear_sentence(people: tuple[Member, ...], line: str, sentence: str) -> None:
    run = await people[0].say(f"/access {line}")
    assert run.status == "failed"
    assert run.outcome.startswith(sentence)


async def test_who_has_it_asks_for_no_second_one_and_extends_no_further_than_policy_lets(people: tuple[Member, ...]) -> None:
    ada, lin, *_ = people
    await held(ada, lin, "filler 6h")
    second = await ada.say("/access request filler 1h")
    assert second.outcome.startswith("You have the role filler until ")
    assert second.outcome.endswith(" To keep it longer: access extend filler 1h")
    far = await ada.say("/access extend filler 3h")
    assert far.outcome == "The role filler is given for 8h at most; ask again when less of it is left."
    near = await ada.say("/access extend filler 2h")
    await lin.approve(near)
    assert near.succeeded, near.outcome


async def test_everybody_sees_their_own_and_those_who_answer_for_it_see_all(crew: Bot, people: tuple[Member, ...]) -> None:
    ada, lin, _, max_, eve = people
    await held(ada, lin)
    assert "ada" in await said(max_, "access list")
    assert "ada" in await said(max_, "access list person=ada")
    assert await said(eve, "access list") == "No role is granted to you at run time."
    for name in ("ada", "nobody"):
        assert await said(eve, f"access list --person {name}") == "Only admins and auditors see what is granted to others."
    assert "until " in await said(ada, "access list --person ada")


async def test_help_is_silent_where_policy_says_nothing_about_asking_for_roles(crew: Bot, people: tuple[Member, ...]) -> None:
    ada, *_ = people
    for line in ("/access request <role> <duration>", "/access extend ", "/access return <grant>", "/access list "):
        assert line in await said(ada, "help")
    crew.policy(access={}, owners={})
    assert "access" not in (await said(ada, "help")).replace("access:", "")
    assert "Ask for a role for a while" in await said(ada, "help command='access request'")


async def test_neither_breaking_the_glass_nor_a_standing_approval_gives_a_role(crew: Bot, people: tuple[Member, ...]) -> None:
    ada, *_ = people
    crew.cast("ada", may=["countersign:break-glass"])
    run = await ada.say("/access request filler 1h")
    assert "The glass is broken" in await said(ada, f"break-glass {run.id} filler --reason 'nobody answers and it burns'")
    await crew.refresh()
    assert (run.status, await holds(ada)) == ("failed", False)
    assert "Nobody else approved this, and nobody grants to themselves; nothing was given" in run.outcome
    standing = await ada.say("standing allow 'access request role=filler duration=1h' people=ada uses=3 duration=2d")
    assert standing.outcome == "access request gives somebody a role: each of its runs is approved by itself."


async def test_who_leaves_loses_it_for_good(crew: Bot, people: tuple[Member, ...]) -> None:
    ada, lin, *_ = people
    run = await held(ada, lin)
    async with crew.services.transaction() as session:
        await deactivate(session, "ada")
    await crew.refresh()
    assert (await detail(crew, run, "grant:ended"))["how"] == "left"
    crew.policy()
    assert not await holds(ada)


async def pressed(person: Member, button: dict[str, Any]) -> Any:
    click = Press(str(uuid4()), button["intent"], button["target"], Door.browser)
    return await person.bot.hub.press(await person.bot.person(person.name), click)


async def number(person: Member, run: RunHandle) -> int:
    title = (await person.bot.card(run)).title
    return int(title.partition(" ")[0].removeprefix("#"))
