"""Windows, freezes and wanted starts, by the database's clock: what may not start waits, is put to others, or is refused, and says so."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from countersign import RunStatus
from countersign.moments import instant
from kit.bots import Bot, Member, RunHandle
from kit.fixtures import open_bot
from store.databases import reading, transaction
from store.embedded import DatabaseUrls
from tests.automations.carts import write_cart

ZONE = "Europe/Berlin"
MONDAY_NOON = f"2027-03-22 12:00 {ZONE}"
NIGHTS = {"windows": {"nights": {"days": "mon-thu", "from": "22:00", "to": "4:00", "zone": ZONE}}}
AT_NIGHT = {"name": "at night", "command": "cart", "window": "nights"}
YEAR_END = {"from": f"2027-03-22 18:00 {ZONE}", "to": f"2027-03-23 08:00 {ZONE}", "command": "cart", "because": "We sell."}


@pytest.fixture
async def crew(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Bot]:
    """Ada, at home in Berlin, fills carts; Lin approves them; Kim is asked in a freeze. It is Monday noon."""
    write_cart(tmp_path)
    async with open_bot(database, tmp_path, commands=tmp_path / "commands") as bot:
        gather(bot)
        await to(bot, MONDAY_NOON)
        yield bot


def gather(bot: Bot) -> None:
    bot.cast("ada", may=["cart:fill"])
    bot.cast("lin", may=["cart:approve", "countersign:approve"])
    bot.cast("kim", may=["cart:freeze"])
    bot.policy(people={"ada": {"timezone": ZONE}})


async def now(crew: Bot) -> datetime:
    async with reading(crew.owner) as session:
        found: datetime = (await session.execute(text("SELECT countersign_now()"))).scalar_one()
        return found


async def to(crew: Bot, moment: str) -> None:
    """Lets time pass until then, and does what is due."""
    left = instant(moment) - await now(crew)
    # The clock only goes forward, and on a busy machine it may have reached the moment by itself.
    assert left > timedelta(seconds=-30)
    await crew.later(f"{max(left.total_seconds(), 0.001):.6f}s")


async def asked(crew: Bot, text: str = "/cart gone") -> RunHandle:
    return await Member(crew, "ada").say(text)


def status(run: RunHandle) -> RunStatus:
    return run.status


async def fields(crew: Bot, run: RunHandle) -> dict[str, str]:
    return {one.label: one.value for one in (await crew.card(run)).fields}


async def test_outside_its_window_a_run_waits_for_the_next_opening_and_says_so(crew: Bot) -> None:
    crew.policy(**NIGHTS, rules=[AT_NIGHT])
    run = await asked(crew)
    assert status(run) is RunStatus.queued
    assert run.outcome == f"Waits for the window nights (mon-thu 22:00–04:00 {ZONE}): it opens 2027-03-22 22:00 {ZONE}."
    assert (await fields(crew, run))["Starts"] == f"in the window nights (mon-thu 22:00–04:00 {ZONE})"
    assert run.outcome in (await crew.card(run)).text
    await to(crew, f"2027-03-22 21:59:59 {ZONE}")
    assert status(run) is RunStatus.queued
    assert run.trail.count("run:put_off") == 1, "looking again is no news"
    await to(crew, f"2027-03-22 22:00 {ZONE}")
    assert run.succeeded
    assert "Waits" not in run.outcome


async def test_inside_its_window_a_run_begins_at_once_until_the_instant_it_closes(crew: Bot) -> None:
    crew.policy(**NIGHTS, rules=[AT_NIGHT])
    await to(crew, f"2027-03-23 03:59:50 {ZONE}")
    assert (await asked(crew)).succeeded
    await to(crew, f"2027-03-23 04:00 {ZONE}")
    late = await asked(crew)
    assert status(late) is RunStatus.queued
    assert late.outcome.endswith(f": it opens 2027-03-23 22:00 {ZONE}.")


async def test_the_night_on_which_clocks_are_set_forward(crew: Bot) -> None:
    """Saturday 22:00 to Sunday 2:30, an hour that there is not: it closes at 3:00, the first instant after."""
    crew.policy(windows={"nights": {"days": "sat", "from": "22:00", "to": "2:30", "zone": ZONE}}, rules=[AT_NIGHT])
    await to(crew, "2027-03-28 00:59:50 UTC")
    assert (await asked(crew)).succeeded
    await to(crew, "2027-03-28 01:00 UTC")
    assert status(await asked(crew)) is RunStatus.queued


async def test_a_rule_that_wants_a_window_and_an_approval_lets_the_approval_wait_for_the_window(crew: Bot) -> None:
    rule = AT_NIGHT | {"approve": {"by": "cart:approve", "valid": "1h"}}
    crew.policy(**NIGHTS, rules=[rule])
    run = await asked(crew)
    await Member(crew, "lin").approve(run, expect="it starts as soon as its window is open: nights (mon-thu 22:00")
    assert status(run) is RunStatus.queued
    async with crew.held():
        await to(crew, f"2027-03-22 22:59 {ZONE}")
    await crew.refresh()
    assert run.succeeded, "its approval is valid for an hour from 22:00 on"


async def test_an_approval_that_nobody_carried_out_in_time_is_asked_for_again(crew: Bot) -> None:
    crew.policy(**NIGHTS, rules=[AT_NIGHT | {"approve": {"by": "cart:approve", "valid": "1h"}}])
    run = await asked(crew)
    await Member(crew, "lin").approve(run)
    async with crew.held():
        await to(crew, f"2027-03-22 23:00 {ZONE}")
    await crew.refresh()
    assert status(run) is RunStatus.awaiting_approval
    assert "the approval waited too long" in run.changed[0]


async def test_windows_that_are_never_open_together_are_said_at_once(crew: Bot) -> None:
    windows = NIGHTS["windows"] | {"days": {"from": "9:00", "to": "17:00", "zone": ZONE}}
    crew.policy(windows=windows, rules=[AT_NIGHT, {"name": "by day", "command": "cart", "window": "days"}])
    answer = await Member(crew, "ada").ask("/cart gone")
    assert answer.reply.text == "The windows nights and days are never open together, so this cannot run."
    assert answer.status is RunStatus.refused


async def test_a_window_that_policy_takes_away_holds_nothing_any_more(crew: Bot) -> None:
    crew.policy(**NIGHTS, rules=[AT_NIGHT])
    run = await asked(crew)
    crew.policy(windows={}, rules=[])

    await crew.later("10m")
    assert run.succeeded


async def test_a_run_starts_when_it_was_wanted(crew: Bot) -> None:
    run = await asked(crew, "/cart gone --at 22:00")
    assert status(run) is RunStatus.queued
    assert (await fields(crew, run))["Starts"] == f"2027-03-22 22:00 {ZONE}"
    await to(crew, f"2027-03-22 21:59:59 {ZONE}")
    assert status(run) is RunStatus.queued
    await to(crew, f"2027-03-22 22:00 {ZONE}")
    assert run.succeeded
    assert "Starts" not in await fields(crew, run)


async def test_an_approval_of_a_wanted_start_is_valid_from_then_on(crew: Bot) -> None:
    crew.policy(rules=[{"name": "carts", "command": "cart", "approve": {"by": "cart:approve", "valid": "1h"}}])
    run = await asked(crew, "/cart gone --at 'tomorrow 9:00'")
    await Member(crew, "lin").approve(run, expect=f"Approved; it starts 2027-03-23 09:00 {ZONE}.")
    await to(crew, f"2027-03-23 09:00 {ZONE}")
    assert run.succeeded


async def test_an_approver_says_a_later_start_and_it_is_kept(crew: Bot) -> None:
    crew.policy(rules=[{"name": "carts", "command": "cart", "approve": {"by": "cart:approve"}}])
    run = await asked(crew, "/cart gone --at 22:00")
    answer = await Member(crew, "lin").ask(f"approve {run.id} at=23:00 {ZONE}")
    assert f"Approved; it starts 2027-03-22 23:00 {ZONE}." in answer.reply.text
    await to(crew, f"2027-03-22 22:30 {ZONE}")
    assert status(run) is RunStatus.queued
    await to(crew, f"2027-03-22 23:00 {ZONE}")
    assert run.succeeded


async def test_a_wanted_start_outside_the_window_waits_for_the_window_after_it(crew: Bot) -> None:
    crew.policy(**NIGHTS, rules=[AT_NIGHT])
    run = await asked(crew, "/cart gone --at '2027-03-23 5:00'")
    await to(crew, f"2027-03-23 05:00 {ZONE}")
    assert run.outcome.endswith(f"it opens 2027-03-23 22:00 {ZONE}.")
    await to(crew, f"2027-03-23 22:00 {ZONE}")
    assert run.succeeded


async def test_a_start_that_was_signed_is_kept_whatever_the_web_process_writes(crew: Bot) -> None:
    crew.policy(rules=[{"name": "carts", "command": "cart", "approve": {"by": "cart:approve"}}])
    run = await asked(crew, "/cart gone --at 22:00")
    await Member(crew, "lin").approve(run)
    async with transaction(crew.hub.engine) as session:
        await session.execute(text("UPDATE runs SET start_at = NULL, due_at = countersign_now() WHERE id = :run"), {"run": run.id})
    await crew.refresh()
    assert (status(run), run.outcome) == (RunStatus.queued, f"Starts 2027-03-22 22:00 {ZONE}.")
    await to(crew, f"2027-03-22 22:00 {ZONE}")
    assert run.succeeded


async def test_a_signed_start_that_was_changed_is_asked_again(crew: Bot) -> None:
    crew.policy(rules=[{"name": "carts", "command": "cart", "approve": {"by": "cart:approve"}}])
    run = await asked(crew, "/cart gone --at 22:00")
    await Member(crew, "lin").approve(run)
    async with transaction(crew.hub.engine) as session:
        await session.execute(
            text("UPDATE runs SET start_at = NULL, due_at = countersign_now(), plan = jsonb_set(plan, '{watched}', '{}') WHERE id = :run"),
            {"run": run.id},
        )
    await crew.refresh()
    assert status(run) is RunStatus.awaiting_approval


async def test_what_waits_survives_a_restart_of_everything(crew: Bot, database: DatabaseUrls, tmp_path: Path) -> None:
    crew.policy(**NIGHTS, rules=[AT_NIGHT])
    waiting, wanted = await asked(crew), await asked(crew, "/cart gone --at 22:30")
    async with open_bot(database, tmp_path, commands=tmp_path / "commands") as again:
        gather(again)
        again.policy(**NIGHTS, rules=[AT_NIGHT])
        for run in (waiting, wanted):
            await again.watch(run.id, run.reply)
        await to(again, f"2027-03-22 22:30 {ZONE}")
    async with crew.held():
        await crew.refresh()
    assert waiting.succeeded
    assert wanted.succeeded


async def test_a_freeze_without_approvers_refuses_and_says_until_when(crew: Bot) -> None:
    crew.policy(freezes={"year-end": YEAR_END})
    await to(crew, f"2027-03-22 17:59:50 {ZONE}")
    assert (await asked(crew)).succeeded
    await to(crew, f"2027-03-22 18:00 {ZONE}")
    answer = await Member(crew, "ada").ask("/cart gone")
    assert answer.status is RunStatus.refused
    assert answer.reply.text.startswith(f"Frozen: year-end (We sell) until 2027-03-23 08:00 {ZONE}. Nobody can let it through before;")
    await to(crew, f"2027-03-23 07:59:59 {ZONE}")
    assert (await Member(crew, "ada").ask("/cart gone")).status is RunStatus.refused
    await to(crew, f"2027-03-23 08:00 {ZONE}")
    assert (await asked(crew)).succeeded


async def test_in_a_freeze_one_may_ask_for_the_time_after_it_and_look_at_a_plan(crew: Bot) -> None:
    crew.policy(freezes={"year-end": YEAR_END})
    await to(crew, f"2027-03-22 20:00 {ZONE}")
    assert (await Member(crew, "ada").ask("/cart gone --at 'tomorrow 7:00'")).status is RunStatus.refused
    later = await asked(crew, "/cart gone --at 'tomorrow 8:00'")
    dry = await Member(crew, "ada").say("/cart gone", dry_run=True)
    assert dry.outcome.startswith("Dry run: nothing was done. It would be refused now: Frozen: year-end")
    await to(crew, f"2027-03-23 08:00 {ZONE}")
    assert later.succeeded


async def test_a_run_that_meets_a_freeze_without_approvers_is_not_carried_out(crew: Bot) -> None:
    run = await asked(crew, "/cart gone --at 20:00")
    crew.policy(freezes={"year-end": YEAR_END})

    await to(crew, f"2027-03-22 20:00 {ZONE}")
    assert status(run) is RunStatus.cancelled
    assert run.outcome.startswith(f"Nothing was done: Frozen: year-end (We sell) until 2027-03-23 08:00 {ZONE}.")


WITH_APPROVERS = YEAR_END | {"approve": {"by": "cart:freeze"}}


async def test_what_needs_no_approval_otherwise_needs_the_freezes(crew: Bot) -> None:
    crew.policy(freezes={"year-end": WITH_APPROVERS})
    await to(crew, f"2027-03-22 18:00 {ZONE}")
    run = await asked(crew)
    assert status(run) is RunStatus.awaiting_approval
    assert (await fields(crew, run))["Frozen"] == f"year-end (We sell) until 2027-03-23 08:00 {ZONE}"
    await Member(crew, "ada").approve(run, expect="someone else must approve")
    await Member(crew, "lin").approve(run, expect="kim can decide it now")
    await Member(crew, "kim").approve(run, expect="it starts now")
    assert run.succeeded


async def test_a_freezes_approvers_are_asked_besides_the_others(crew: Bot) -> None:
    crew.policy(freezes={"year-end": WITH_APPROVERS}, rules=[{"name": "carts", "command": "cart", "approve": {"by": "cart:approve"}}])
    await to(crew, f"2027-03-22 18:00 {ZONE}")
    run = await asked(crew)
    await Member(crew, "lin").approve(run, expect="1 more person has to approve")
    await Member(crew, "kim").approve(run, expect="it starts now")
    assert run.succeeded


@pytest.mark.parametrize("rules", [[], [{"name": "none", "risk": "medium", "approve": {"count": 0}}]])
async def test_who_is_alone_passes_no_freeze(database: DatabaseUrls, tmp_path: Path, rules: list[dict[str, Any]]) -> None:
    write_cart(tmp_path)
    async with open_bot(database, tmp_path, commands=tmp_path / "commands") as bot:
        bot.cast("ada", may=["cart:fill", "cart:freeze"])
        await to(bot, MONDAY_NOON)
        bot.policy(freezes={"year-end": WITH_APPROVERS | {"from": f"2027-03-22 11:00 {ZONE}"}}, rules=rules)
        run = await asked(bot)
        await Member(bot, "ada").approve(run, expect="someone else must approve")
        assert status(run) is RunStatus.awaiting_approval


async def test_a_wanted_start_in_a_freeze_is_put_to_its_approvers_beforehand(crew: Bot) -> None:
    crew.policy(freezes={"year-end": WITH_APPROVERS})
    run = await asked(crew, "/cart gone --at 20:00")
    await Member(crew, "kim").approve(run, expect=f"it starts 2027-03-22 20:00 {ZONE}")
    await to(crew, f"2027-03-22 20:00 {ZONE}")
    assert run.succeeded
    assert run.trail.count("run:awaiting_approval") == 1


async def test_a_freeze_that_begins_after_the_approval_is_put_to_its_approvers(crew: Bot) -> None:
    crew.cast("lin", may=["cart:freeze"])  # who approved may approve in the freeze too: it is another question all the same
    crew.policy(rules=[{"name": "carts", "command": "cart", "approve": {"by": "cart:approve"}}])
    run = await asked(crew, "/cart gone --at 20:00")
    await Member(crew, "lin").approve(run)
    crew.policy(freezes={"year-end": WITH_APPROVERS})

    await to(crew, f"2027-03-22 20:00 {ZONE}")
    assert status(run) is RunStatus.awaiting_approval
    assert run.changed == ["freezes: nothing → year-end"]
    await Member(crew, "lin").approve(run, expect="1 more person has to approve")
    await Member(crew, "kim").approve(run, expect="it starts now")
    assert run.succeeded


async def test_a_freeze_that_ends_before_the_run_takes_no_approval_away(crew: Bot) -> None:
    crew.policy(freezes={"year-end": WITH_APPROVERS})
    run = await asked(crew, "/cart gone --at '2027-03-23 7:59'")
    await Member(crew, "kim").approve(run)
    async with crew.held():
        await to(crew, f"2027-03-23 08:00 {ZONE}")
    await crew.refresh()
    assert run.succeeded
    assert run.trail.count("run:awaiting_approval") == 1


async def test_a_freeze_that_cannot_be_read_for_the_command_holds_it(crew: Bot) -> None:
    crew.policy(freezes={"year-end": YEAR_END | {"when": {"colour": "red"}}})
    assert (await asked(crew)).succeeded, "it has not begun"
    await to(crew, f"2027-03-22 18:00 {ZONE}")
    answer = await Member(crew, "ada").ask("/cart gone")
    assert answer.reply.text.startswith("The policy cannot be read for this command, so nobody may run it: line")
