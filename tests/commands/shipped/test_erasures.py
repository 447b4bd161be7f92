"""Ada has left, and Max asks to erase her: Lin approves, nothing of what she typed is anywhere, and the chain is as whole as before."""

import gzip
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from automations.housekeeping.forgetting import forget_old
from bot import evidence
from commands.asofs import read_as_of
from kit.bots import Bot, Member, RunHandle
from kit.fixtures import open_bot
from store import verify_evidence, verify_export
from store.anchors import FileAnchor, anchor_missing
from store.databases import reading, transaction
from store.embedded import DatabaseUrls
from store.runs import RunRow, find_run
from store.sealing import load_or_create_key, seal
from store.verify_audit import Report, verify
from tests.automations.carts import write_cart
from tests.commands.shipped.test_exports import fetch

OTHERS = """
profile: {profile}
roles: {{admin: ["*:*"]}}
groups: {{admins: [admin]}}
people:
  lin: {{email: lin@example.test, groups: [admins]}}
  kim: {{email: kim@example.test, groups: [admins]}}
  max: {{email: max@example.test, groups: [admins]}}
"""
ADA = "  ada: {email: ada.byron@example.test, groups: [admins]}\n"


@pytest.fixture
async def crew(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Bot]:
    """Everybody is an admin; Ada typed things at every chance."""
    write_cart(tmp_path)
    async with open_bot(database, tmp_path, commands=tmp_path / "commands") as bot:
        bot.policy_file(OTHERS.format(profile="team") + ADA)
        yield bot


async def ada_was_here(bot: Bot) -> tuple[RunHandle, RunHandle]:
    """What she asked for, and what she decided on."""
    asked = await Member(bot, "ada").say('/cart "zebra words"')
    link = await Member(bot, "max").say("/link ada slack T1 U0ADA77")
    await Member(bot, "lin").approve(link)
    decided = await Member(bot, "max").say("/link kim slack T1 U0KIM")
    await Member(bot, "ada").approve(decided, reason="quokka reason")
    assert asked.status == "failed", "there is no such cart, and what she typed is kept all the same"
    assert link.succeeded, link.outcome
    assert decided.succeeded, decided.outcome
    return asked, decided


async def ada_leaves(bot: Bot, profile: str = "team") -> None:
    bot.policy_file(OTHERS.format(profile=profile))
    await bot.later("1m")


async def proven(bot: Bot) -> Report:
    """Seals and anchors everything, and verifies it with the independent program."""
    folder = bot.services.settings.data_dir
    signer, anchors = load_or_create_key(folder / "keys" / "audit.pem"), folder / "anchors" / "audit.jsonl"
    async with transaction(bot.services.engine) as session:
        while await seal(session, signer):
            pass
    anchor = FileAnchor(anchors)
    async with reading(bot.services.engine) as session:
        await anchor_missing(session, anchor)
    anchor.close()
    owner = bot.owner.url.render_as_string(hide_password=False)
    return verify(owner, anchor_path=anchors, public_key_path=folder / "keys" / "audit.pub")


async def written(bot: Bot) -> str:
    """Every row of every table as text."""
    async with reading(bot.owner) as session:
        names = (await session.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))).all()
        rows = [f"{name}: {row}" for name in names for row in await session.scalars(text(f'SELECT t::text FROM "{name}" t'))]  # noqa: S608
    return "\n".join(rows)


def said(found: str, *words: str) -> list[str]:
    """The rows in which one of these words stands by itself."""
    return [row[:300] for row in found.splitlines() if any(re.search(rf"(?<![\w-]){re.escape(one)}(?![\w-])", row) for one in words)]


async def test_max_erases_ada_and_the_chain_holds(crew: Bot, tmp_path: Path) -> None:
    asked, decided = await ada_was_here(crew)
    assert said(await written(crew), "zebra", "quokka", "ada.byron@example.test", "U0ADA77", "ada")
    refused = await Member(crew, "max").say("/people erase ada")
    assert "still belongs to the company" in refused.outcome
    await ada_leaves(crew)
    assert (await proven(crew)).problems == []
    run = await Member(crew, "max").say("/people erase ada")
    assert run.summary.startswith("ada is erased; the record knows them as p_")
    await Member(crew, "lin").approve(run)
    assert run.succeeded, run.outcome
    await crew.later("1m")
    while await forget_old(crew.services):
        pass
    left = said(await written(crew), "zebra", "quokka", "ada.byron@example.test", "U0ADA77", "ada")
    assert not left, "\n".join(one[:200] for one in left)
    report = await proven(crew)
    assert report.problems == []
    assert report.erased
    assert all(f"under run {run.id}" in one for one in report.erased)
    await _evidence_holds(crew, asked, "p_")
    await _evidence_holds(crew, decided, "approve")
    await _export_holds(crew, tmp_path)
    row = await crew._row(asked)
    assert re.fullmatch(
        rf"what was said about this was erased on 20\d\d-\d\d-\d\d by max under run {(await crew._row(run)).number}", row.outcome
    )
    assert row.arguments == {}
    await _is_still_shown(crew, row)
    await _is_still_shown(crew, await crew._row(decided))
    async with transaction(crew.owner) as session:
        await session.execute(text("ALTER TABLE audit_events DISABLE TRIGGER USER"))
        await session.execute(
            text("UPDATE audit_events SET canonical = replace(canonical, 'approve', 'deny') WHERE kind = 'decision:approve'")
        )
        await session.execute(text("ALTER TABLE audit_events ENABLE TRIGGER USER"))
    assert (await proven(crew)).problems


async def _is_still_shown(bot: Bot, row: RunRow) -> None:
    """In the room, and as it was; Lin carries out a read as every door does."""
    told = (await Member(bot, "lin").ask(f"run {row.number}")).reply
    assert told.card is not None, told.text
    trail = (await Member(bot, "max").ask(f"audit {row.number}")).reply
    assert "run:submitted" in trail.code
    async with reading(bot.services.engine) as session:
        found = await read_as_of(session, row)
    assert found is not None
    assert found.asked.kind == "run:submitted"


async def _evidence_holds(bot: Bot, handle: RunHandle, word: str) -> None:
    async with reading(bot.services.engine) as session:
        row = await find_run(session, handle.id)
        assert row is not None
        file = json.dumps(await evidence.gather(session, bot.services.settings, row))
    assert said(file, "zebra", "quokka", "ada") == []
    report = verify_evidence.verify(file.encode())
    assert report.problems == []
    assert any("erased on" in one for one in report.notes), report.notes
    assert word in file


async def _export_holds(bot: Bot, folder: Path) -> None:
    async with reading(bot.owner) as session:
        now = (await session.execute(text("SELECT to_char(countersign_now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')"))).scalar_one()
    await bot.later("2m")
    run = await Member(bot, "max").say(f'/export 2020-01-01 "{now}"')
    assert run.succeeded, run.outcome
    (folder / "export").mkdir()
    await fetch(bot, run, folder / "export")
    files = "\n".join(gzip.decompress(one.read_bytes()).decode() for one in (folder / "export").glob("*.gz"))
    assert said(files, "zebra", "quokka", "ada") == []
    report = verify_export.verify(folder / "export")
    assert report.problems == []
    assert any("erased on" in one for one in report.notes), report.notes


async def test_a_legal_hold_keeps_what_it_covers(crew: Bot) -> None:
    asked, _ = await ada_was_here(crew)
    await ada_leaves(crew)
    number = (await crew._row(asked)).number
    for what in ("person ada", f"run {number}", "command cart"):
        hold = await Member(crew, "max").say(f'/legal hold "{what}" "case 12"')
        await Member(crew, "lin").approve(hold)
        assert hold.succeeded, hold.outcome
        assert what in (await Member(crew, "max").ask("legal holds")).reply.code
        again = await Member(crew, "max").say(f'/legal hold "{what}" "case 13"')
        assert f"{what} is under legal hold since" in again.outcome
        run = await Member(crew, "max").say("/people erase ada")
        assert f"ada cannot be erased: {what} is under legal hold since" in run.outcome
        lift = await Member(crew, "max").say(f'/legal lift "{what}"')
        await Member(crew, "lin").approve(lift)
        assert lift.succeeded, lift.outcome
    kinds = [kind for (kind,) in await _rows(crew, "SELECT kind FROM audit_events WHERE kind LIKE 'hold:%' ORDER BY seq")]
    assert kinds == ["hold:placed", "hold:lifted"] * 3
    nothing = await Member(crew, "max").say('/legal lift "person ada"')
    assert "is not under legal hold; nothing is" in nothing.outcome


async def test_a_hold_that_comes_between_stops_it(crew: Bot) -> None:
    await ada_was_here(crew)
    await ada_leaves(crew)
    async with crew.held():
        run = await Member(crew, "max").say("/people erase ada")
        await Member(crew, "lin").approve(run)
        async with transaction(crew.owner) as session:
            await session.execute(
                text("INSERT INTO legal_holds (id, kind, target, reason, held_by, run_id) VALUES (:id, 'person', 'ada', 'x', 'lin', :id)"),
                {"id": run.id},
            )
    await crew.refresh()
    assert "is under legal hold" in run.outcome
    assert said(await written(crew), "zebra")


async def test_strict_takes_two_and_nobody_else_erases(crew: Bot) -> None:
    await ada_was_here(crew)
    await ada_leaves(crew, "strict")
    run = await Member(crew, "max").say("/people erase ada")
    await Member(crew, "lin").approve(run)
    assert run.status == "awaiting_approval"
    await Member(crew, "kim").approve(run)
    assert run.succeeded, run.outcome
    for statement in (
        "UPDATE audit_events SET payload = NULL, salt = NULL",
        "SELECT countersign_erase_events(ARRAY(SELECT id FROM audit_events), gen_random_uuid(), NULL)",
        "SELECT countersign_erase_events(ARRAY(SELECT id FROM audit_events), NULL, NULL)",
        "SELECT countersign_erase_events(ARRAY(SELECT id FROM audit_events), NULL, -1)",
        "SELECT countersign_erase_events(ARRAY(SELECT id FROM audit_events), NULL, 0)",
        "SELECT countersign_erase_events(ARRAY(SELECT id FROM audit_events), NULL, 29)",
        "SELECT countersign_erase_person('lin', gen_random_uuid())",
        "SELECT countersign_erase_runs(ARRAY(SELECT id FROM runs), '')",
    ):
        with pytest.raises(Exception, match=r"permission denied|only a run of people erase|insert-only"):
            await _do(crew, statement)


async def _do(bot: Bot, statement: str) -> None:
    async with transaction(bot.services.engine) as session:
        await session.execute(text(statement))


async def _rows(bot: Bot, statement: str) -> list[tuple[str, ...]]:
    async with reading(bot.owner) as session:
        return [tuple(one) for one in await session.execute(text(statement))]


async def test_what_was_said_about_runs_goes_when_its_time_is_over_unless_it_is_held(crew: Bot) -> None:
    asked, decided = await ada_was_here(crew)
    hold = await Member(crew, "max").say(f'/legal hold "run {(await crew._row(decided)).number}" "case 12"')
    await Member(crew, "lin").approve(hold)
    settings = crew.services.settings.model_copy(update={"run_days": 30, "message_days": 30})
    object.__setattr__(crew.services, "settings", settings)
    await _forget(crew)
    assert said(await written(crew), "zebra"), "its time is not over"
    await crew.later("960h")
    await _forget(crew)
    found = await written(crew)
    assert said(found, "zebra") == []
    assert said(found, "quokka"), "it is held"
    assert (await crew._row(asked)).outcome.endswith("because its 30 days were over")
    report = await proven(crew)
    assert report.problems == []
    assert all(one.endswith("because 30 days were over") for one in report.erased)
    lift = await Member(crew, "max").say(f'/legal lift "run {(await crew._row(decided)).number}"')
    await Member(crew, "lin").approve(lift)
    await _forget(crew)
    assert said(await written(crew), "quokka") == []
    assert (await proven(crew)).problems == []
    kinds = [kind for (kind,) in await _rows(crew, "SELECT DISTINCT kind FROM audit_events WHERE kind LIKE 'messages:%'")]
    assert kinds == ["messages:forgotten"]


async def _forget(bot: Bot) -> None:
    while await forget_old(bot.services):
        pass
