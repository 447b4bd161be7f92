"""Comments, questions and answers, and what the card says beside: who is needed, who stood in, where arguments came from, the last time."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from kit.bots import Bot, RunHandle
from store.databases import reading, transaction
from store.embedded import DatabaseUrls
from tests.stories.ships import book, cast, fields, form, open_crew, row, told


@pytest.fixture
async def crew(bot_database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Bot]:
    async with open_crew(bot_database, tmp_path) as bot:
        yield bot


async def question_of(crew: Bot, name: str, run: RunHandle) -> str:
    """What the Answer button of the last question to this person carries."""
    card = (await told(crew, name, run))[-1].card
    assert card is not None
    return next(one.target for one in card.buttons if one.intent == "answer")


async def test_a_question_reaches_the_asker_and_its_answer_the_one_who_asked(crew: Bot, tmp_path: Path) -> None:
    ada, lin, kim, _, eve = cast(crew)
    run = await ada.say("ship tea where=prod")
    number = (await row(crew, run)).number
    await eve.do(f"ask {number} 'may I?'", expect="Those who may approve run")
    await ada.do(f"ask {number} 'may I?'", expect="This is yours; there is nobody else to ask.")
    await lin.do(f"ask {number} why does it have to be today?", expect="ada is asked")
    card = (await told(crew, "ada", run))[-1].card
    assert card is not None
    assert (card.title, card.text) == (f"#{number} ship: lin asks", "why does it have to be today?")
    assert [one.label for one in card.buttons] == ["Answer", "Details"]
    question = await question_of(crew, "ada", run)
    shown = await form(crew, ada, "answer", question)
    assert shown.inputs[0].hint == "lin asks: why does it have to be today?"
    await kim.send("answer", question, text="no idea", expect="The question is for ada")
    await ada.send("answer", question, text="the guests\ncome today", expect="lin has your answer")
    await ada.send("answer", question, text="again", expect="This question was answered already.")
    assert (
        "ada answers lin: the guests come today (you had asked: why does it have to be today?)" in (await told(crew, "lin", run))[-1].text
    )
    await kim.do(f"ask {number} how much?")
    await ada.do(f"answer {number} a lot", expect="kim has your answer")
    await ada.do(f"answer {number} more", expect="Nobody has asked anything")
    assert (await crew.beneath(run))["ops"] == [
        "lin asks: why does it have to be today?",
        "ada answers lin: the guests come today",
        "kim asks: how much?",
        "ada answers kim: a lot",
    ]
    assert [one for one in run.trail if one.startswith(("ask", "answer"))] == [
        "ask:refused",
        "ask:refused",
        "ask:said",
        "answer:refused",
        "answer:said",
        "answer:refused",
        "ask:said",
        "answer:said",
        "answer:refused",
    ]


async def test_a_question_about_what_was_handed_over_goes_to_whoever_holds_it(crew: Bot) -> None:
    ada, lin, kim, *_ = cast(crew)
    run = await ada.say("ship tea")
    await ada.do(f"handover {run.id} kim")
    await lin.do(f"ask {run.id} why?", expect="kim is asked")
    await kim.send("answer", await question_of(crew, "kim", run), text="because", expect="lin has your answer")


async def test_anybody_who_sees_it_may_say_something(crew: Bot) -> None:
    ada, *_, eve = cast(crew)
    run = await ada.say("ship tea")
    await eve.do(f"comment {run.id} <!channel> *look* `here`", expect="It stands under run")
    await eve.send("comment", run.id, text="and this from the form", expect="It stands under run")
    await eve.send("comment", run.id, text="   ", expect="Say it in a few words.")
    await eve.send("comment", run.id, text="x" * 1_001, expect="at most 1000 characters")
    assert (await crew.beneath(run))["ops"] == ["eve says: <!channel> *look* `here`", "eve says: and this from the form"]
    details = (await ada.ask(f"run {run.id}")).reply.card
    assert details is not None
    assert [one.label for one in details.buttons] == ["Approve", "Deny", "Edit", "Ask", "Comment", "Cancel"]
    await ada.do(f"withdraw {run.id}")
    await eve.do(f"comment {run.id} a pity", expect="It stands under run")


async def test_nobody_floods_a_card(crew: Bot) -> None:
    ada, *_, eve = cast(crew)
    run = await ada.say("ship tea")
    async with transaction(crew.services.engine) as session:
        await session.execute(
            text(
                "INSERT INTO conversations (id, run_id, kind, person, said)"
                " SELECT gen_random_uuid(), :run, 'comment', 'eve', 'says: x' FROM generate_series(1, 500)"
            ),
            {"run": run.id},
        )
    await eve.do(f"comment {run.id} one more", expect="There are 500 lines about this run already")


async def test_help_shows_what_concerns_one_and_only_then(database: DatabaseUrls, tmp_path: Path) -> None:
    async with open_crew(database, tmp_path) as crew:
        await _helped(crew)


async def _helped(crew: Bot) -> None:
    ada, lin, *_, eve = cast(crew)

    async def listed(who: str) -> set[str]:
        reply = (await next(one for one in cast(crew) if one.name == who).ask("help")).reply
        return {line.split()[0].removeprefix("/") for line in reply.code.splitlines()} & {
            "edit", "withdraw", "takeback", "handover", "comment", "ask", "answer"
        }  # fmt: skip

    assert await listed("ada") == await listed("lin") == set()
    run = await ada.say("ship tea")
    assert await listed("ada") == {"edit", "withdraw", "handover", "comment", "answer"}
    assert await listed("lin") == {"edit", "takeback", "comment", "ask"}
    assert await listed("eve") == set()
    assert "Change what a run asks for" in (await eve.ask("help edit")).reply.text
    await lin.deny(run)
    assert await listed("ada") == await listed("lin") == set()


async def test_the_card_tells_of_the_last_time_on_the_same_target(crew: Bot, tmp_path: Path) -> None:
    ada, lin, kim, *_ = cast(crew)
    first = await ada.say("ship saffron where=prod")
    assert "Last time" not in await fields(crew, first)
    await lin.approve(first)
    await kim.approve(first)
    number = (await row(crew, first)).number
    second = await ada.say("ship saffron")
    assert (await fields(crew, second))["Last time"].startswith(f"#{number} by ada: succeeded, ")
    other = await ada.say("ship cocoa")
    assert "Last time" not in await fields(crew, other)
    await ada.do(f"edit {other.id} what=saffron")
    assert (await fields(crew, other))["Last time"].startswith(f"#{number} by ada")
    await ada.do(f"withdraw {second.id}")
    assert (await fields(crew, other))["Last time"].startswith(f"#{number} by ada"), "nothing was done by the second"
    assert book(tmp_path) == ["saffron to prod"]


async def test_the_card_says_stage_by_stage_who_is_still_needed_and_who_stood_in(crew: Bot) -> None:
    crew.policy(
        people={"lin": {"groups": ["sre"]}, "kim": {"groups": ["sre"]}, "max": {"groups": ["leads"]}},
        rules=[
            {
                "name": "all",
                "command": "carry",
                "approve": {"stages": [{"all": [{"of": "group:sre", "count": 2}, {"of": "person:ada"}]}, {"of": "group:leads"}]},
            }
        ],
    )
    _ada, lin, kim, max_, _ = cast(crew)
    crew.cast("eve", may=["ship:run"])
    eve = cast(crew)[-1]
    run = await eve.say("carry tea")
    assert (await fields(crew, run))["Still needed"] == "stage 1 of 2: 2 of group sre and ada; then group leads"
    await lin.approve(run)
    assert (await fields(crew, run))["Still needed"] == "stage 1 of 2: group sre and ada; then group leads"
    await kim.approve(run)
    assert (await fields(crew, run))["Still needed"] == "stage 1 of 2: ada; then group leads"
    await _delegated(crew, "ada", "max")
    await max_.approve(run)
    assert (await fields(crew, run))["Still needed"] == "stage 2 of 2: group leads"
    assert (await fields(crew, run))["Approvals"] == "3 of 4: lin, kim, max (for ada)"
    assert (await crew.beneath(run))["ops"][-1] == "max approves for ada"


async def _delegated(crew: Bot, person: str, delegate: str) -> None:
    async with transaction(crew.owner) as session:
        await session.execute(
            text(
                "INSERT INTO delegations (id, person, delegate, starts_at, until, made_by)"
                " VALUES (gen_random_uuid(), :person, :delegate, countersign_now(), countersign_now() + interval '1 day', :person)"
            ),
            {"person": person, "delegate": delegate},
        )


async def test_what_is_said_outlives_nothing_it_should_not(crew: Bot) -> None:
    """A comment on a private run is read by those who may see the run, and by nobody else."""
    ada, *_, eve = cast(crew)
    run: RunHandle = await ada.say("ship tea")
    async with transaction(crew.owner) as session:
        await session.execute(text("UPDATE runs SET visibility = 'private' WHERE id = :id"), {"id": run.id})
    await eve.do(f"comment {run.id} hello", expect="There is no such run.")
    await ada.do(f"comment {run.id} between us")
    assert "ops" not in await crew.beneath(run)
    async with reading(crew.services.engine) as session:
        places = await session.scalars(
            text("SELECT channel FROM messages WHERE card ->> 'text' = 'ada says: between us'"),
        )
        assert set(places) == {""}
