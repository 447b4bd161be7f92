"""Plans with a shape, carried out and taken back; steps that are begun again; runs whose time is over."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import event, text

from automations import halting
from kit.bots import Bot, Member
from store.beginnings import Following, follow
from store.databases import WriteDriver, reading, transaction
from store.journals import Begun, find_steps
from store.runs import search_runs
from tests.automations.carts import done, traced
from tests.hubs import until

CHANGES = {
    "cancelled": "UPDATE runs SET cancelled_by = 'max' WHERE status = 'running'",
    "switched": "INSERT INTO switches (id, kind, target, on_by) VALUES (gen_random_uuid(), 'command', 'course', 'max')",
    "left": "UPDATE people SET active = false WHERE name = 'ada'",
}
MEANWHILE = {
    "cancelled": CHANGES["cancelled"],
    "claim lost": "UPDATE runs SET lease_until = countersign_now(), attempt = attempt + 1 WHERE status = 'running'",
}
CHANGED_BACK = "WITH off AS (UPDATE switches SET off_at = countersign_now()) UPDATE people SET active = true WHERE name = 'ada'"
AFTER = {
    "cancelled": ("interrupted", "Cancelled at late(what=b, after=0.3)"),
    "switched": ("running", ""),
    "left": (
        "interrupted",
        "Stopped before late(what=b, after=0.3): the account of ada is not active any more. What was done",
    ),
}


@pytest.mark.parametrize(
    ("how", "status", "did", "outcome"),
    [
        ("green", "succeeded", "+a +d", "d"),
        ("red", "succeeded", "+b +c +d", "d"),
        ("loop", "succeeded", "+a +a! +b +b! +c +c!", "c!"),
        ("shaky", "succeeded", "~ ~ ~", "steady"),
        ("too shaky", "rolled_back", "+a ~ ~ ~ -a", "shaky: it shakes. Everything that can be undone is undone."),
        ("sure", "succeeded", "~ ~ ~", ""),
        ("unsure", "failed", "~", "careful(until=3, sure=no): who knows."),
        ("declared", "succeeded", "~ ~ ~", ""),
        ("dawdle", "succeeded", "~ ~", ""),
    ],
)
async def test_how_a_course_ends(ada: Member, trace: Path, how: str, status: str, did: str, outcome: str) -> None:
    run = await ada.say(f"course how='{how}'")
    assert (run.status, done(trace), run.outcome) == (status, did, outcome)


async def test_a_result_that_does_not_answer_a_branch_fails_it(ada: Member, trace: Path) -> None:
    run = await ada.say("course how=odd")
    assert (run.status, done(trace)) == ("failed", "+text")
    assert run.outcome.startswith("put(what=text): does not say whether result of put[state] is true. 1 earlier step")


async def test_parts_run_beside_each_other_as_many_as_the_plan_says(ada: Member, trace: Path) -> None:
    assert (await ada.say("course how=beside")).succeeded
    lines = traced(trace)
    assert sorted(lines[:2]) == ["?a", "?b"]
    assert lines[-1] == "+d"
    assert lines.index("?c") > min(lines.index("+a"), lines.index("+b"))
    assert (await ada.say("course how='loop beside'")).succeeded
    assert sorted(traced(trace)[len(lines) :][:4]) == ["?a", "?b", "?c", "?d"]


async def test_when_one_fails_the_others_end_first_and_the_last_that_ended_is_undone_first(ada: Member, trace: Path) -> None:
    run = await ada.say("course how='one fails'")
    assert run.status == "rolled_back"
    lines = traced(trace)
    assert sorted(lines[:4]) == ["!", "+a", "?b", "?c"]
    assert lines[4:] == ["+c", "+b", "-b", "-c", "-a"]


async def test_what_was_not_begun_stays_undone(ada: Member, trace: Path) -> None:
    assert (await ada.say("course how='one fails early'")).status == "rolled_back"
    assert "+c" not in done(trace)
    assert done(trace).endswith("-b")


async def test_each_try_is_in_the_journal_and_in_the_record(ada: Member, crew: Bot) -> None:
    run = await ada.say("course how=shaky")
    async with reading(crew.services.engine) as session:
        (row,) = await find_steps(session, run.id, revision=1)
    assert (row.state, row.tries) == ("done", 3)
    assert [(one["state"], one["error"]) for one in row.earlier] == [("waiting", "it shakes")] * 2
    assert [kind for kind in run.trail if kind.startswith("step:")] == ["step:waiting", "step:waiting", "step:done"]
    assert "✓ shaky(until=3) (try 3)" in (await crew.card(run)).code


@pytest.mark.parametrize(
    ("choice", "status", "again"),
    [("happened", "succeeded", 0), ("again", "succeeded", 2), ("undo", "rolled_back", 0), ("stop", "failed", 0)],
)
async def test_a_persons_word_is_about_all_that_is_in_doubt(ada: Member, trace: Path, choice: str, status: str, again: int) -> None:
    run = await ada.say("course how='two unclear'")
    assert run.status == "interrupted"
    assert run.outcome == "once(what=x) took longer than 0.3s; once(what=y) took longer than 0.3s; they may have happened."
    await ada.resume(run, choice)
    lines = traced(trace)
    assert run.status == status
    assert lines.count("~x") + lines.count("~y") == 2 + again
    if choice == "undo":
        assert set(lines[-4:-1]) == {"-x", "-y", "-b"}
        assert lines[-1] == "-a"


@pytest.mark.parametrize(("choice", "taken_back"), [("happened", True), ("again", False)])
async def test_a_failure_beside_what_was_in_doubt_is_not_forgotten(ada: Member, trace: Path, choice: str, taken_back: bool) -> None:
    run = await ada.say("course how='fails and unclear'")
    assert run.status == "interrupted"
    await ada.resume(run, choice)
    assert run.status == "rolled_back"
    assert done(trace).endswith("-x -a" if taken_back else "-a")
    assert done(trace).count("~x") == 1


async def test_a_cancel_reaches_all_that_run_beside_each_other(ada: Member, crew: Bot, trace: Path) -> None:
    asking = asyncio.create_task(ada.say("course how='deaf beside'"))

    async def listening() -> bool:
        return done(trace).count("listening") == 2

    await until(listening, what="both begin")
    async with reading(crew.services.engine) as session:
        (row,) = await search_runs(session, asker="ada", command="course", limit=1)
    await ada.ask(f"cancel {row.number}")
    begun = asyncio.get_running_loop().time()
    run = await asking
    assert asyncio.get_running_loop().time() - begun < 3
    assert (run.status, run.outcome) == ("interrupted", "Cancelled at deaf() and deaf(); what was done before can be undone.")
    await ada.resume(run, "undo")
    assert run.status == "rolled_back"
    assert done(trace).endswith("-b -a")


@pytest.mark.parametrize("beside", [False, True])
async def test_a_run_whose_time_is_over_is_undone(ada: Member, trace: Path, beside: bool) -> None:
    run = await ada.say(f"hasty beside={'yes' if beside else 'no'}")
    assert run.status == "rolled_back"
    assert run.outcome.startswith("late: was stopped: the run took longer than 2s. Everything")
    assert traced(trace)[-2:] == ["-b", "-a"]
    assert "+c" not in done(trace)


async def test_a_light_step_costs_one_commit(ada: Member, crew: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    """The statement that begins the next step says that the one before is done."""
    counted: Counter[str] = Counter()

    def count(_: object, __: object, statement: str, *___: object) -> None:
        counted[statement] += 1

    plain_statement = crew.services.connections.statement
    commits = itertools.count()

    def committing() -> AbstractAsyncContextManager[WriteDriver]:
        next(commits)
        return plain_statement()

    await ada.say("course how=light")
    monkeypatch.setattr(crew.services.connections, "statement", committing)
    event.listen(crew.services.engine.sync_engine, "before_cursor_execute", count)
    try:
        run = await ada.say("course how=light")
    finally:
        event.remove(crew.services.engine.sync_engine, "before_cursor_execute", count)
    assert run.succeeded
    assert next(commits) <= 40 + 4  # one more for the last end, and some when somebody looked anew meanwhile
    assert sum(counted.values()) < 80, counted
    async with reading(crew.services.engine) as session:
        rows = await find_steps(session, run.id, revision=1)
    assert [(row.position, row.state, row.tries) for row in rows] == [(n, "done", 1) for n in range(40)]
    assert run.trail.count("step:done") == 40


@pytest.mark.parametrize("how", ["cancelled", "switched", "left"])
async def test_what_changes_between_two_steps_is_seen_by_the_second(ada: Member, crew: Bot, trace: Path, how: str) -> None:
    """The statement that begins a step sees it, however lately somebody looked."""
    (max_,) = crew.cast("max", may=["countersign:admin", "countersign:use"])
    asking = asyncio.create_task(ada.say("course how=slowly"))

    async def begun() -> bool:
        return "?a" in done(trace)

    await max_.ask("whoami")
    await until(begun, what="the first step is under way")
    async with transaction(crew.owner) as session:
        await session.execute(text(CHANGES[how]), {})
    run = await asking
    assert "+b" not in done(trace)
    assert (run.status, run.outcome.split(";")[0].removesuffix(" before can be undone.")) == AFTER[how]
    async with transaction(crew.owner) as session:
        await session.execute(text(CHANGED_BACK))


@pytest.mark.parametrize("how", ["well", "lost answer", "trouble", "cancelled", "claim lost"])
async def test_steps_that_end_together_are_followed_together(
    ada: Member, crew: Bot, trace: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    crowds: list[int] = []

    async def crowding(driver: WriteDriver, following: Sequence[Following], *, worker: str) -> list[tuple[bool, Begun | None]]:
        if len(following) == 1 or crowds:
            return await follow(driver, following, worker=worker)
        crowds.append(len(following))
        if how in MEANWHILE:
            async with transaction(crew.owner) as session:
                await session.execute(text(MEANWHILE[how]))
        found = await follow(driver, following, worker=worker) if how != "trouble" else []
        if how in ("trouble", "lost answer"):
            raise psycopg.OperationalError("gone")
        return found

    monkeypatch.setattr(halting, "follow", crowding)
    asking = asyncio.create_task(ada.say("course how=crowd"))
    if how == "claim lost":
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.0):
                await asking
        async with transaction(crew.owner) as session:
            await session.execute(text("UPDATE runs SET due_at = NULL WHERE status = 'running'"))
    else:
        run = await asking
        assert run.status == ("cancelled" if how == "cancelled" else "succeeded")
        assert run.trail.count("step:done") == len([one for one in traced(trace) if one.startswith("+")])
    assert crowds
    lines = traced(trace)
    assert len(set(lines)) == len(lines)
    if how in ("well", "lost answer", "trouble"):
        assert {one[1:] for one in lines if one.startswith("+")} == {str(n) for n in range(24)}
    else:
        assert len(lines) < 2 * 24


async def test_a_card_shows_the_shape_and_what_is_left_out(ada: Member, crew: Bot) -> None:
    run = await ada.say("course how=red")
    card = (await ada.ask(f"run {run.id}")).reply.card
    assert card is not None
    assert card.code.splitlines()[:7] == [
        "✓ look(at=red)",
        "if result of look[state] is green:",
        "  – put(what=a)",
        "otherwise:",
        "  in order:",
        "    ✓ put(what=b)",
        "    ✓ put(what=c)",
    ]
