"""What nobody uses comes before its owners, who keep it or want it given up; what nobody owns comes before the reviewers."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from countersign import RunStatus
from kit.bots import Bot, Member
from kit.fixtures import open_bot
from store.databases import reading
from store.embedded import DatabaseUrls
from store.figures import find_reviewed
from store.tasks import find_run_tasks

COMMANDS = """
from countersign import PlanningContext, Reply, command

@command("sweep", permission="floor:sweep", risk="read", owner="cleaners")
async def sweep(ctx: PlanningContext) -> Reply:
    \"\"\"Sweep the floor.\"\"\"
    return Reply(text="swept")

@command("polish", permission="floor:sweep", risk="read")
async def polish(ctx: PlanningContext) -> Reply:
    \"\"\"Polish the floor.\"\"\"
    return Reply(text="polished")
"""


@pytest.fixture
async def crew(bot_database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Bot]:
    """Max may read the record, Kim is the only cleaner, Lin answers for what nobody owns."""
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands" / "floors.py").write_text(COMMANDS)
    async with open_bot(bot_database, tmp_path, commands=tmp_path / "commands") as bot:
        bot.cast("max", may=["countersign:audit", "floor:sweep"])
        bot.cast("lin", "kim")
        bot.policy(groups={"cleaners": []}, people={"kim": {"groups": ["cleaners"]}})
        yield bot


async def test_owners_find_their_commands_in_the_inbox_and_what_they_say_is_in_the_record(crew: Bot) -> None:
    max_, lin, kim = (Member(crew, name) for name in ("max", "lin", "kim"))
    run = await max_.say("/catalogue review lin due=8h")
    assert run.status is RunStatus.waiting, run.outcome
    async with reading(crew.services.engine) as session:
        tables = {one.assignees[0]: one for one in await find_run_tasks(session, run.id, revision=1)}
    rows = {who: [(row["command"], row["look"], row["owner"]) for row in one.asked["rows"]] for who, one in tables.items()}
    assert rows["@cleaners"] == [("sweep", "unused", "cleaners")]
    assert ("polish", "unused; ownerless", "nobody") in rows["lin"]
    assert "grant" not in str(rows), "Countersign's own are not theirs to give up"
    assert any("Which commands stay?" in str(one.card) for one in await crew.messages("kim")), "she is told directly"
    assert "Which commands stay?" in (await kim.ask("inbox")).reply.model_dump_json()
    await kim.send("task", tables["@cleaners"].id, expect="Thank you", row1="accept")
    verdicts = {f"row{n}": "reject" if one[0] == "polish" else "accept" for n, one in enumerate(rows["lin"], 1)}
    await lin.send("task", tables["lin"].id, expect="Thank you", **verdicts)
    assert run.succeeded, run.outcome
    assert run.result == f"{len(verdicts)} stay as they are; to be given up: polish"
    (event,) = [one.detail for one in await crew.trail(run) if one.kind == "catalogue:reviewed"]
    assert ("sweep" in event["kept"], event["to_give_up"], event["by"]) == (True, ["polish"], ["kim", "lin"])
    async with reading(crew.services.engine) as session:
        reviewed = await find_reviewed(session, "catalogue review", latest=5)
    assert {name: given_up for name, (_, given_up) in reviewed.items() if name in ("sweep", "polish")} == {"sweep": False, "polish": True}


async def test_what_is_used_and_owned_comes_before_nobody(crew: Bot) -> None:
    max_ = Member(crew, "max")
    assert (await max_.say("/sweep")).answer is not None
    run = await max_.say("/catalogue review lin")
    async with reading(crew.services.engine) as session:
        tables = await find_run_tasks(session, run.id, revision=1)
    named = [row["command"] for one in tables for row in one.asked["rows"]]
    assert ("polish" in named, "sweep" in named) == (True, False)
