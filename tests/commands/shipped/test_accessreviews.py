"""Who has what is looked at by somebody else: kept or taken away, by runs of their own, with a report whose hash is in the record."""

import json
import re
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from commands.holdings import COLUMNS
from countersign import RunStatus
from countersign.tasks import Asked
from kit.bots import Bot, Member, RunHandle
from kit.fixtures import open_bot
from store.artifacts import find_artifacts
from store.databases import reading
from store.embedded import DatabaseUrls
from store.tasks import TaskRow, find_run_tasks
from tests.automations.carts import write_cart


@pytest.fixture
async def crew(bot_database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Bot]:
    """Max and Lin are admins, Kim fills carts through a group and Ada by a grant, Eve is outside."""
    write_cart(tmp_path)
    async with open_bot(bot_database, tmp_path, commands=tmp_path / "commands") as bot:
        bot.cast("max", "lin", may=["countersign:admin"])
        bot.cast("ada", "eve")
        bot.cast("kim")
        bot.policy(roles={"filler": ["cart:fill"]}, groups={"fillers": ["filler"]}, people={"kim": {"groups": ["fillers"]}})
        yield bot


async def tasks(bot: Bot, run: RunHandle) -> dict[str, TaskRow]:
    """The run's tables by who is asked."""
    async with reading(bot.services.engine) as session:
        return {one.assignees[0]: one for one in await find_run_tasks(session, run.id, revision=1)}


def verdicts(task: TaskRow, reject: str) -> dict[str, str]:
    """Everything is kept but what is said of `reject`."""
    rows = enumerate(task.asked["rows"], 1)
    return {f"row{number}": "reject" if reject and reject in str(row) else "accept" for number, row in rows}


async def report(bot: Bot, run: RunHandle) -> tuple[dict[str, Any], str]:
    async with reading(bot.services.engine) as session:
        (row,) = await find_artifacts(session, run.id)
    content = await bot.services.objects.get(row.key)
    written = b"".join([part async for part in content.chunks])
    return json.loads(written), sha256(written).hexdigest()


async def test_what_is_rejected_ends_and_the_report_is_in_the_record(crew: Bot) -> None:
    max_, lin = Member(crew, "max"), Member(crew, "lin")
    given = await max_.say("/grant ada filler")
    await lin.approve(given)
    await Member(crew, "ada").say("/cart gone")
    run = await max_.say("/access review lin,max due=8h")
    assert run.status is RunStatus.waiting
    tables = await tasks(crew, run)
    assert all(tuple(row) == COLUMNS for one in tables.values() for row in Asked.of_json(one.asked).rows), "who comes first"
    rows = {row["who"]: row for one in tables.values() for row in one.asked["rows"] if "filler" in row["has"]}
    assert re.fullmatch(r"grant G\d+: max, approved by lin \(#\d+\)", f"{rows['ada']['through']}: {rows['ada']['given by']}")
    assert (rows["kim"]["through"], rows["kim"]["given by"], rows["kim"]["last used"]) == ("group fillers", "the policy", "not lately")
    assert rows["ada"]["last used"] != "not lately"
    assert not any(row["who"] == name for name, one in tables.items() for row in one.asked["rows"]), "nobody reviews what is theirs"
    for name, one in tables.items():
        await Member(crew, name).send("task", one.id, expect="Thank you", **verdicts(one, "filler"))
    assert run.succeeded, run.outcome
    assert "filler" not in (await crew.person("ada")).roles
    assert "1 to be changed by hand" in run.result
    found, digest = await report(crew, run)
    assert {tuple(row)[:6] for row in found["rows"]} == {COLUMNS}
    ended = {row["who"]: row["carried out"] for row in found["rows"] if row["verdict"] == "rejected"}
    assert re.match(r"#\d+ succeeded", ended["ada"])
    assert ended["kim"] == "to be changed where the group is kept"
    (event,) = [one.detail for one in await crew.trail(run) if one.kind == "access:reviewed"]
    assert (event["sha256"], event["left"]) == (digest, 1)


async def test_nobody_reviews_themselves_whoever_is_asked_instead(crew: Bot) -> None:
    max_ = Member(crew, "max")
    refused = await max_.say("/access review max")
    assert "max has roles too, and nobody reviews what is theirs" in refused.outcome
    run = await max_.say("/access review lin people=kim,ada")
    table = (await tasks(crew, run))["lin"]
    assert await max_.send("task_assign", table.id, text="kim", expect="There is nobody who is kim")
    await Member(crew, "kim").send("task", table.id, expect="There is no such run", row1="accept")
    lin = Member(crew, "lin")
    await lin.send("task", table.id, expect="row2: is required", row1="accept")
    assert run.status is RunStatus.waiting, "every row has to be chosen"
    await lin.send("task", table.id, expect="Thank you", **verdicts(table, ""))
    assert run.succeeded
    assert "nothing left to do" in run.result


async def test_who_is_asked_is_reminded_and_a_grant_that_has_ended_meanwhile_stops_nothing(crew: Bot) -> None:
    max_, lin = Member(crew, "max"), Member(crew, "lin")
    given = await max_.say("/grant ada filler 2h")
    await lin.approve(given)
    run = await max_.say("/access review lin people=ada due=6h")
    grant = (await tasks(crew, run))["lin"].asked["rows"][-1]["through"]
    before = len(await crew.messages("lin"))
    await crew.later("2h")
    assert len(await crew.messages("lin")) > before
    table = (await tasks(crew, run))["lin"]
    await lin.send("task", table.id, expect="Thank you", **verdicts(table, f"'{grant}'"))
    assert run.succeeded, run.outcome
    found, _ = await report(crew, run)
    (row,) = [one for one in found["rows"] if one["verdict"] == "rejected"]
    assert "has ended already" in row["carried out"]
