"""Schedules by the database's clock: what is due is asked for once, as a service account; what cannot be is told."""

import json
import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from PIL import Image
from sqlalchemy import text

from automations.delivering import Slack
from automations.drawing import WIDE
from countersign import RunStatus
from countersign.moments import instant
from countersign.replies import Reply
from integrations.slack.clients import SlackClient
from kit.bots import Bot, Member, RunHandle
from kit.fixtures import open_bot
from store.audits import search
from store.databases import reading, transaction
from store.embedded import DatabaseUrls
from store.schedules import ScheduleRow, Slot, find_schedule, find_slots
from tests.automations.carts import write_cart
from tests.fakes.slack import Message, SlackFake
from tests.fakes.slack.file_methods import Upload
from tests.fakes.slack.tokens import BOT_SCOPES, Token

ZONE = "Europe/Berlin"
POLICY: dict[str, Any] = {
    "service_accounts": {"svc-cart": {"groups": ["robots"]}, "svc-idle": {}},
    "roles": {"carter": ["cart:fill"]},
    "groups": {"robots": ["carter"]},
    "people": {"ada": {"timezone": ZONE}},
}
VOTE = {"rules": [{"name": "two eyes", "command": "cart", "approve": {"by": "cart:approve"}}]}


@pytest.fixture
async def crew(bot_database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Bot]:
    """Ada fills carts and writes schedules, Lin approves, Kim writes schedules and may fill none."""
    write_cart(tmp_path)
    async with open_bot(bot_database, tmp_path, commands=tmp_path / "commands") as bot:
        bot.cast("ada", may=["cart:fill", "cart:approve", "countersign:schedule"])
        bot.cast("lin", may=["cart:approve"])
        bot.cast("kim", may=["countersign:schedule"])
        bot.policy(**POLICY)
        await bot.person("ada")
        async with transaction(bot.owner) as session:  # those of earlier tests
            await session.execute(text("UPDATE schedules SET removed_at = countersign_now(), next_at = NULL"))
            await session.execute(text("UPDATE schedule_slots SET state = 'done' WHERE state IN ('waiting', 'sent')"))
        yield bot


@pytest.fixture
def ada(crew: Bot) -> Member:
    return Member(crew, "ada")


async def now(crew: Bot) -> datetime:
    async with reading(crew.owner) as session:
        found: datetime = (await session.execute(text("SELECT countersign_now()"))).scalar_one()
        return found


async def to(crew: Bot, moment: str) -> None:
    left = instant(moment) - await now(crew)
    assert left > timedelta(0), "the clock only goes forward"
    await crew.later(f"{left.total_seconds():.6f}s")


async def to_the(crew: Bot, minute: int = 0) -> datetime:
    """Lets time pass until just after a whole hour; returns that hour."""
    here = await now(crew)
    hour = here.replace(minute=minute, second=0, microsecond=0) + timedelta(hours=1)
    await crew.later(f"{(hour - here).total_seconds() + 1:.6f}s")
    return hour


async def row_of(crew: Bot, name: str = "nightly") -> ScheduleRow:
    async with reading(crew.services.engine) as session:
        found = await find_schedule(session, name)
    assert found is not None
    return found


async def slots(crew: Bot, name: str = "nightly") -> list[Slot]:
    """Oldest first."""
    row = await row_of(crew, name)
    async with reading(crew.services.engine) as session:
        return (await find_slots(session, row.id, limit=1_000))[::-1]


async def states(crew: Bot, name: str = "nightly") -> list[str]:
    return [one.state.value for one in await slots(crew, name)]


async def run_of(crew: Bot, slot: Slot) -> RunHandle:
    assert slot.run_id is not None
    return await crew.watch(slot.run_id, Reply(text=""))


async def add(ada: Member, when: str = "0 * * * *", *more: str, what: str = "cart gone", name: str = "nightly") -> RunHandle:
    return await ada.say(f"schedule add {name} '{when}' \"{what}\" svc-cart {' '.join(more)}")


async def told(crew: Bot, person: str = "ada") -> list[str]:
    return [row.card["text"] for row in await crew.messages(person) if row.kind == "reply" and row.run_id is None]


async def test_it_is_asked_for_on_the_hour_as_its_account_and_its_card_says_so(crew: Bot, ada: Member) -> None:
    made = await add(ada, "0 * * * *", "channel=ops")
    assert made.succeeded, made.outcome
    assert made.summary == "schedule nightly: cart how=gone, 0 * * * * (Europe/Berlin)"
    assert (await crew.card(made)).code.count(ZONE) == 10, "the next ten are on the card"
    hour = await to_the(crew)
    (one,) = await slots(crew)
    assert (one.slot, one.state, one.kind) == (hour, "done", "due")
    run = await run_of(crew, one)
    assert run.succeeded
    fields = {each.label: each.value for each in (await crew.card(run)).fields}
    assert fields["Asked by"] == "schedule nightly, as svc-cart (ada answers for it)"
    assert (await crew.trail(run))[0].detail["door"] == "schedule"
    await crew.later("2h")
    assert len(await slots(crew)) == 3


async def test_a_weekly_report_comes_into_its_channel_on_the_day(crew: Bot) -> None:
    crew.cast("max", may=["countersign:audit", "countersign:schedule"])
    crew.policy(
        service_accounts={"svc-reporter": {"groups": ["readers"]}}, roles={"reader": ["countersign:audit"]}, groups={"readers": ["reader"]}
    )
    max_ = Member(crew, "max")
    made = await max_.say('schedule add weekly "0 9 * * 1" "usage report" svc-reporter channel=#ops')
    assert made.succeeded, made.outcome
    for _ in range(2):
        due = (await row_of(crew, "weekly")).next_at
        assert due is not None
        assert due.weekday() == 0
        await crew.later(f"{(due - await now(crew)).total_seconds() + 1:.6f}s")
    runs = [await run_of(crew, one) for one in await slots(crew, "weekly")]
    async with reading(crew.services.engine) as session:
        cards = "SELECT run_id, card FROM messages WHERE channel = 'ops' AND run_id = ANY(:runs)"
        shown = {row.run_id: row.card for row in await session.execute(text(cards), {"runs": [one.id for one in runs]})}
    for one in runs:
        assert one.answer is not None
        assert "The last 7 days:" in json.dumps(shown[one.id]), "each week's in a message of its own"
        assert one.answer.code.splitlines()[0] in json.dumps(shown[one.id])


@pytest.fixture
async def slack(bot_database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[tuple[Bot, SlackFake]]:
    """A hub that is connected to Slack, with one channel."""
    async with SlackFake(rate_limits=False) as fake:
        fake.add_channel("C_OPS", name="ops")
        fake.add_user("U0MAX", name="max", email="max@example.test")
        known = {"slack_bot_token": fake.bot_token, "slack_api_url": fake.api_url, "slack_signing_secret": fake.signing_secret}
        async with (
            open_bot(bot_database, tmp_path, **known) as bot,
            SlackClient(fake.bot_token, base_url=fake.api_url, hooks_base=fake.hooks_base) as client,
        ):
            bot.deliverers["slack"] = Slack(bot.services, client)
            yield bot, fake


async def test_in_slack_it_is_a_text_and_one_picture_whatever_is_lost_on_the_way(slack: tuple[Bot, SlackFake]) -> None:
    crew, fake = slack
    crew.cast("max", may=["countersign:audit", "countersign:schedule"])
    crew.policy(
        service_accounts={"svc-reporter": {"groups": ["readers"]}}, roles={"reader": ["countersign:audit"]}, groups={"readers": ["reader"]}
    )
    max_ = Member(crew, "max")
    await max_.say('schedule add in-slack "0 9 * * 1" "usage report" svc-reporter channel=C_OPS')
    fake.fail_next("files.getUploadURLExternal", "429")
    fake.fail_next("upload", "500")
    fake.fail_next("files.completeUploadExternal", "drop_after")
    said, shown = await _reported(crew, fake)
    assert ("The last 7 days:" in said.content, "asked, " in said.content, len(shown)) == (True, True, 1)
    (picture,) = shown
    assert (picture.channel, picture.title) == ("C_OPS", "The last 7 days")
    image = Image.open(BytesIO(picture.content or b""))
    assert (image.format, image.width) == ("PNG", WIDE)
    assert picture.alt.startswith("The last 7 days:\n\nruns "), "who cannot see it is told the same"
    assert [len(fake.calls(one)) for one in ("upload", "files.completeUploadExternal")] == [2, 1], "it was looked for"
    fake.tokens.add(fake.bot_token, Token("bot", BOT_SCOPES - {"files:write"}))
    said, shown = await _reported(crew, fake)
    assert ("The last 7 days:" in said.content, len(shown)) == (True, 1)
    left = "SELECT count(*), count(due_at), count(dead_at) FROM messages WHERE channel = 'C_OPS'"
    async with reading(crew.owner) as session:
        assert tuple((await session.execute(text(left))).one()) == (4, 0, 0), "nothing waits, and nothing is lost"


async def _reported(crew: Bot, fake: SlackFake) -> tuple[Message, list[Upload]]:
    """The next Monday's report, ten minutes later, and every file that is to be seen."""
    due = (await row_of(crew, "in-slack")).next_at
    assert due is not None
    fake.clock.reach(due.timestamp())
    before = len(fake.world.messages)
    await crew.later(f"{(due - await now(crew)).total_seconds() + 1:.6f}s")
    for _ in range(10):
        fake.clock.reach((await now(crew)).timestamp())
        await crew.later("1m")
    said, *files = fake.world.messages[before:]
    assert len(files) <= 1
    return said, fake.uploads.shown


async def test_a_time_that_clocks_skip_is_the_first_instant_after_and_one_they_show_twice_is_the_first(crew: Bot, ada: Member) -> None:
    year = (await now(crew)).year + 1
    march = max(datetime(year, 3, day).date() for day in range(25, 32) if datetime(year, 3, day).weekday() == 6)  # noqa: DTZ001
    october = max(datetime(year, 10, day).date() for day in range(25, 32) if datetime(year, 10, day).weekday() == 6)  # noqa: DTZ001
    await to(crew, f"{march} 00:30 {ZONE}")
    await add(ada, "30 2 * * *", f"zone={ZONE}")
    await to(crew, f"{march} 04:30 {ZONE}")
    assert [one.slot for one in await slots(crew)] == [instant(f"{march} 03:00 {ZONE}")]
    await ada.say("schedule pause nightly")
    await to(crew, f"{october} 00:30 {ZONE}")
    await ada.say("schedule resume nightly")
    await to(crew, f"{october} 04:30 {ZONE}")
    assert [one.slot for one in await slots(crew)][1:] == [instant(f"{october} 02:30 +02:00")]


@pytest.mark.parametrize(
    ("overlap", "one_hour", "two_hours", "afterwards"),
    [
        ("skip", ["sent", "skipped"], ["sent", "skipped", "skipped"], ["done", "skipped", "skipped"]),
        ("queue_one", ["sent", "waiting"], ["sent", "waiting", "skipped"], ["done", "done", "skipped"]),
        ("queue_all", ["sent", "waiting"], ["sent", "waiting", "waiting"], ["done", "done", "done"]),
        ("cancel_other", ["done", "sent"], ["done", "done", "sent"], ["done", "done", "done"]),
        ("allow", ["sent", "sent"], ["sent", "sent", "sent"], ["done", "done", "done"]),
    ],
)
async def test_what_becomes_of_a_slot_while_an_earlier_run_goes_on(
    crew: Bot, ada: Member, overlap: str, one_hour: list[str], two_hours: list[str], afterwards: list[str]
) -> None:
    crew.policy(**POLICY, **VOTE)
    await add(ada, "0 * * * *", f"overlap={overlap}")
    await to_the(crew)
    await crew.later("1h")
    assert await states(crew) == one_hour
    await crew.later("1h")
    assert await states(crew) == two_hours
    for _ in range(3):
        for one in await slots(crew):
            if one.under_way:
                await Member(crew, "lin").approve(await run_of(crew, one))
    await crew.refresh()
    assert await states(crew) == afterwards
    runs = [await run_of(crew, one) for one in await slots(crew) if one.run_id]
    cancelled = RunStatus.cancelled if overlap == "cancel_other" else RunStatus.succeeded
    assert [one.status for one in runs] == [*[cancelled] * (len(runs) - 1), RunStatus.succeeded]
    assert await states(crew) == afterwards


async def test_what_was_missed_is_made_up_for_within_its_window_and_the_rest_is_one_row(crew: Bot, ada: Member) -> None:
    await add(ada, "0 * * * *", "catch_up=3h", "overlap=queue_all")
    hour = await to_the(crew)
    async with transaction(crew.owner) as session:  # nobody schedules meanwhile
        await session.execute(text("UPDATE clock SET shift = shift + interval '10 hours'"))
    await crew.later("30m")
    first, missed, *rest = await slots(crew)
    assert first.slot == hour
    assert (missed.state, missed.slot) == ("skipped", hour + timedelta(hours=1))
    assert missed.because.startswith("7 missed up to ")
    assert [one.slot - hour for one in rest] == [timedelta(hours=n) for n in (8, 9, 10)]
    assert {one.state for one in rest} == {"done"}
    async with reading(crew.services.engine) as session:
        (event,) = await search(session, kind="schedule:missed", limit=1)
    assert event.detail["count"] == 7


async def test_bad_ends_in_a_row_are_told_sparingly_and_pause_it(crew: Bot, ada: Member) -> None:
    before = len(await told(crew))
    await add(ada, "0 * * * *", "pause_after=3", what="cart 'cannot be undone'")
    await to_the(crew)
    await crew.later("1h")
    first, second = (await told(crew))[before:]
    assert re.match(r"schedule nightly, as svc-cart: run #\d+ cart failed: .*no more room", first)
    assert second.endswith("That was 2 times in a row.")
    await crew.later("1h")
    assert (await told(crew))[-1] == "schedule nightly is paused: 3 runs in a row ended badly. To go on: schedule resume nightly"
    await crew.later("5h")
    assert len(await slots(crew)) == 3
    assert (await row_of(crew)).next_at is None
    resumed = await ada.say("schedule resume nightly")
    assert resumed.succeeded, resumed.outcome
    assert (await row_of(crew)).failures == 0
    await crew.later("1h")
    assert len(await slots(crew)) == 4, "what was due while it was paused is not made up for"


async def test_a_refusal_is_told_and_a_good_end_forgets_the_bad_ones(crew: Bot, ada: Member) -> None:
    await add(ada, "0 * * * *", "channel=ops")
    crew.policy(**POLICY | {"groups": {"robots": []}})
    await crew.person("ada")
    await to_the(crew)
    (one,) = await slots(crew)
    assert one.state == "refused"
    assert "needs the permission cart:fill" in one.because
    assert (await row_of(crew)).failures == 1
    async with reading(crew.services.engine) as session:
        rows = await session.execute(
            text("SELECT card ->> 'text' AS said FROM messages WHERE channel = 'ops' AND kind = 'reply' ORDER BY created_at DESC LIMIT 1")
        )
        assert "cart refused: This needs the permission cart:fill" in rows.scalar_one()
    crew.policy(**POLICY)
    await crew.person("ada")
    await crew.later("1h")
    assert await states(crew) == ["refused", "done"]
    assert (await row_of(crew)).failures == 0


async def test_run_now_and_backfill_go_beside_its_slots(crew: Bot, ada: Member) -> None:
    await add(ada, "0 * * * *", what="cart gone")
    hour = await to_the(crew)
    await ada.say("schedule run nightly")
    due, at_once = await slots(crew)
    assert (at_once.kind, at_once.asked_by, at_once.state) == ("now", "ada", "done")
    await ada.say("schedule pause nightly why='we move'")
    await crew.later("5h")
    shown = [f"{(hour + timedelta(hours=n)):%Y-%m-%d %H:%M} UTC" for n in (0, 4)]
    made = await ada.say(f"schedule backfill nightly '{shown[0]}' '{shown[1]}'")
    assert made.succeeded, made.outcome
    assert made.summary.startswith("schedule nightly makes up for 5 slots of cart how=gone")
    assert made.result == 4, "the first one was asked for"
    filled_in = [one for one in await slots(crew) if one.kind == "backfill"]
    assert [one.slot - due.slot for one in filled_in] == [timedelta(hours=n) for n in range(1, 5)]
    assert {one.state for one in filled_in} == {"done"}, "it is paused, and this is asked for all the same"
    again = await ada.say(f"schedule backfill nightly '{shown[0]}' '{shown[1]}'")
    assert again.result == 0


async def test_it_changes_ends_and_is_taken_back(crew: Bot, ada: Member) -> None:
    await add(ada)
    await ada.say("schedule change nightly when='every 30m' channel=#ops pause_after=2 overlap=queue_one")
    row = await row_of(crew)
    assert (row.cadence, row.channel, row.pause_after, row.overlap, row.catch_up) == ("every 30m", "ops", 2, "queue_one", "1d")
    same = await ada.say("schedule change nightly overlap=queue_one")
    assert same.outcome == "Nothing of the schedule nightly would change."
    await ada.say("schedule change nightly channel=none")
    assert (await row_of(crew)).channel == ""
    await ada.say("schedule remove nightly")
    await crew.later("2h")
    shown = (await ada.ask("schedules")).reply.text
    assert "There is no schedule" in shown
    assert (await add(ada)).succeeded, "its name is free again"


async def test_whoever_wrote_it_does_not_approve_what_it_asks(crew: Bot, ada: Member) -> None:
    crew.policy(**POLICY, **VOTE)
    await add(ada)
    await to_the(crew)
    run = await run_of(crew, (await slots(crew))[0])
    await ada.approve(run, expect="You answer for this request")
    await Member(crew, "lin").approve(run)
    assert run.succeeded


WRONG = [
    ("'30 25 * * *' 'cart gone' svc-cart", "when: '25' (character 4) is no hour: 0 to 23."),
    ("'0 2 30 2 *' 'cart gone' svc-cart", "when: '0 2 30 2 *' is never due: there is no such day in these months."),
    ("@daily 'cart gone' svc-cart zone=Europe/Bonn", "zone: there is no time zone 'Europe/Bonn'; one is written as Europe/Berlin."),
    ("@daily 'kart gone' svc-cart", "what: there is no command 'kart' that can be scheduled."),
    ("@daily 'runs' svc-cart", "what: there is no command 'runs' that can be scheduled."),
    ("@daily 'cart' svc-cart", "what: how: is required."),
    ("@daily 'cart gone --dry-run' svc-cart", "what: takes the command and its arguments alone"),
    ("@daily 'cart gone' svc-none", "account: policy names no active service account 'svc-none' (service_accounts)."),
    ("@daily 'cart gone' ada", "account: policy names no active service account 'ada' (service_accounts)."),
    ("@daily 'cart gone' svc-idle", "svc-idle may not ask for cart how=gone: This needs the permission cart:fill"),
    ("@daily 'cart gone' svc-cart pause_after=101", "pause_after: should be from 0 (never) to 100"),
    ("@daily 'cart gone' svc-cart catch_up=10s", "catch_up: should be from 1m to 366d"),
]


async def test_what_cannot_work_is_refused_when_it_is_written(ada: Member) -> None:
    for typed, sentence in WRONG:
        run = await ada.say(f"schedule add s{uuid4().hex[:8]} {typed}")
        assert run.status is RunStatus.failed, typed
        assert run.outcome.startswith(sentence)


async def test_nobody_schedules_what_they_may_not_ask_for_themselves(crew: Bot, ada: Member) -> None:
    kim = Member(crew, "kim")
    refused = await add(kim)
    assert refused.outcome.startswith("kim may not ask for cart how=gone: This needs the permission cart:fill")
    await add(ada)
    for typed in (
        "schedule run nightly",
        "schedule change nightly when=@hourly",
        "schedule backfill nightly '2026-01-01 00:00' '2026-01-01 05:00'",
    ):
        assert (await kim.say(typed)).outcome.startswith("kim may not ask for cart how=gone"), typed
    assert (await kim.say("schedule pause nightly")).succeeded, "pausing is safer than going on"
    assert (await Member(crew, "lin").ask("schedule pause nightly")).refused == "missing_permission"


async def test_they_are_listed_with_what_is_due_next_and_each_is_shown_whole(crew: Bot, ada: Member) -> None:
    await add(ada, "0 9 * * mon-fri", name="office", what="cart gone")
    await add(ada, "every 15m", name="often")
    listed = (await ada.ask("schedules")).reply.code.splitlines()
    assert [one.split()[0] for one in listed] == ["office", "often"]
    assert "next 20" in listed[0]
    coming = (await ada.ask("schedules coming_only=yes")).reply.code.splitlines()
    assert len(coming) == 20
    assert coming == sorted(coming)
    await ada.say("schedule run often")
    shown = (await ada.ask("schedule show often")).reply
    assert shown.text.startswith("often: cart how=gone, every 15m (Europe/Berlin), as svc-cart; ada answers for it. Overlap: skip.")
    assert shown.code.splitlines()[0] == "due next:"
    assert re.search(r"done #\d+ succeeded \(now by ada\)", shown.code)
    assert "There is no schedule 'never'" in (await ada.ask("schedule show never")).reply.text


async def test_it_is_not_shown_where_no_policy_names_an_account(crew: Bot, ada: Member) -> None:
    assert "schedules" in (await ada.ask("help")).reply.code
    crew.policy(**POLICY | {"service_accounts": {}})
    assert "schedule" not in (await ada.ask("help")).reply.code
