"""Time saved is what authors say a run saves, times what succeeded, for whom it was done; and the report tells the last days."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from commands.savings import NOBODYS, by_command, by_group, by_month, total
from countersign import Picture, PlanningContext, Reply, command
from kit.bots import Bot, Member
from kit.fixtures import open_bot
from store.databases import reading
from store.embedded import DatabaseUrls
from store.runs import find_run
from tests.commands.shipped.words import said

COMMANDS = '''
"""What a shop runs."""

from countersign import Context, Plan, PlanningContext, Reply, StepFailed, command, step


@step()
async def sweep_up(ctx: Context, room: str) -> None:
    """Sweeps it."""
    if room == "attic":
        raise StepFailed("nobody has the key")


@command("tidy", permission="shop:tidy", risk="low", saves="30m", deprecated="use sweep")
async def tidy(ctx: PlanningContext, room: str) -> Plan:
    """Tidy a room."""
    return Plan(f"tidies {room}", sweep_up(room))


@command("mop", permission="shop:tidy", risk="low", retired="use tidy.")
async def mop(ctx: PlanningContext) -> Reply:
    """Mop the floor."""
    return Reply(text="It is wet.")


@command("peek", permission="shop:tidy", risk="read", deprecated="look yourself")
async def peek(ctx: PlanningContext) -> Reply:
    """Look into a room."""
    return Reply(text="It is tidy.")
'''


@dataclass(frozen=True)
class Row:
    month: str
    command: str
    asker: str
    good: int
    bad: int


ROWS = (
    Row("2026-01", "tidy", "ada", 4, 9),
    Row("2026-01", "tidy", "kim", 2, 0),
    Row("2026-02", "tidy", "ada", 1, 0),
    Row("2026-02", "ship", "ada", 10, 1),
)
SAVES = {"tidy": timedelta(minutes=30), "ship": timedelta(minutes=6)}


def test_only_what_succeeded_saves_and_everybody_who_asked_is_counted_once() -> None:
    everything = total(ROWS, SAVES)
    assert (everything.hours, everything.good, everything.bad, everything.people) == (4.5, 17, 10, {"ada", "kim"})
    assert {name: one.hours for name, one in by_command(ROWS, SAVES).items()} == {"tidy": 3.5, "ship": 1.0}
    assert list(by_month(ROWS, SAVES)) == ["2026-01", "2026-02"]
    groups = by_group(ROWS, SAVES, {"ada": ["makers", "leads"]})
    assert {name: one.hours for name, one in groups.items()} == {"leads": 3.5, "makers": 3.5, NOBODYS: 1.0}


@pytest.mark.parametrize("saves", ["soon", "0s"])
def test_a_wrong_estimate_is_refused_at_import(saves: str) -> None:
    with pytest.raises(TypeError, match="command 'x': saves"):

        @command("x", permission="shop:tidy", saves=saves)
        async def x(ctx: PlanningContext) -> Reply:
            """Nothing."""
            return Reply()


@pytest.fixture
async def crew(bot_database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Bot]:
    """Ada tidies; Max reads the record; Eve is outside."""
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands" / "shop.py").write_text(COMMANDS)
    async with open_bot(bot_database, tmp_path, commands=tmp_path / "commands") as bot:
        bot.cast("ada", may=["shop:tidy"])
        bot.cast("max", may=["countersign:audit"])
        bot.cast("eve")
        yield bot


async def test_the_report_tells_what_was_saved_and_deprecated_commands_say_so(crew: Bot) -> None:
    ada, max_ = Member(crew, "ada"), Member(crew, "max")
    await crew.later("8d")
    for room in ("hall", "attic", "shop"):
        await ada.say(f"/tidy {room}")
    async with reading(crew.services.engine) as session:
        tidied = await find_run(session, (await ada.say("/tidy hall", dry_run=True)).id)
    assert tidied is not None
    assert tidied.plan is not None
    assert tidied.plan["warning"] == "tidy is deprecated: use sweep."
    peeked = await ada.say("/peek")
    assert peeked.answer is not None
    assert peeked.answer.text == "It is tidy.\npeek is deprecated: look yourself."
    refused = await ada.ask("/mop")
    assert (refused.refused, refused.reply.text) == ("retired", "mop is retired: use tidy.")
    assert "/mop" not in await said(ada, "help")
    assert "/tidy" in await said(ada, "help")
    report = await max_.say("usage report")
    assert report.answer is not None
    assert report.answer.text == "The last 7 days:"
    lines = report.answer.code.splitlines()
    assert lines[0] == "runs         5 asked, 3 succeeded or answered, 1 failed, 1 refused"
    assert [one.split() for one in lines[1:4]] == [["3", "tidy,", "1", "failed"], ["1", "mop"], ["1", "peek"]]
    assert lines[4] == "time saved   1.0 hours by 2 runs for 1 people, as authors estimate; 1 that failed saved nothing"
    assert [one.split() for one in lines[5:]] == [["1.0", "h", "tidy"]]
    _says_the_same(report.answer.picture)
    assert "countersign:audit" in (await Member(crew, "eve").ask("usage report")).reply.text
    assert "days: should be from 1 to 90" in (await max_.say("usage report days=91")).outcome
    listed = await max_.say("/catalogue")
    assert listed.answer is not None
    marks = {line.split()[0]: line for line in listed.answer.code.splitlines()}
    assert set(marks) >= {"mop", "peek", "tidy"}
    assert marks["mop"].endswith("ownerless; retired: use tidy.")
    assert marks["tidy"].endswith("ownerless; deprecated: use sweep")
    await crew.later("8d")
    quiet = await max_.say("usage report")
    assert quiet.answer is not None
    assert quiet.answer.code.splitlines()[0] == "runs         0 asked, 0 succeeded or answered, 0 failed, 0 refused"
    assert "0.0 hours by 0 runs" in quiet.answer.code
    assert quiet.answer.picture is not None
    assert [(one.bars, one.aside) for one in quiet.answer.picture.charts] == [((), "")] * 3
    assert [one.nothing for one in quiet.answer.picture.charts] == ["Nothing was asked for.", "Nothing was decided.", "No run saved any."]


def _says_the_same(picture: Picture | None) -> None:
    assert picture is not None
    assert picture.title == "The last 7 days"
    assert re.fullmatch(r"\d\d \w{3} \d\d:\d\d until \d\d \w{3} \d{4} \d\d:\d\d, UTC", picture.aside)
    asked, _, saved = picture.charts
    assert asked.aside == "5 asked, 3 succeeded or answered, 1 failed, 1 refused"
    assert [(one.label, one.values, one.told) for one in asked.bars] == [
        ("tidy", (2, 1, 0), "3, 1 failed"),
        ("mop", (0, 0, 1), "1"),
        ("peek", (1, 0, 0), "1"),
    ]
    assert [(one.label, one.values, one.told) for one in saved.bars] == [("tidy", (1.0,), "1.0 h")]
