"""Runs, decisions and the record of a day as files that hold offline; and whatever is done to them is named."""

import gzip
import json
import re
from collections.abc import AsyncIterator
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from unittest.mock import patch

import pytest
from sqlalchemy import text

from commands.shipped import exports
from countersign.canonical import canonical
from kit.bots import Bot, Member, RunHandle
from kit.fixtures import open_bot
from store.artifacts import find_artifacts
from store.databases import reading, transaction
from store.embedded import DatabaseUrls
from store.sealing import load_or_create_key, seal
from store.verify_export import NotAnExport, main, verify
from tests.automations.carts import write_cart

DAY = "2020-01-01"


@pytest.fixture
async def crew(bot_database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Bot]:
    """Ada fills carts, Lin approves, Max may read the record, Eve is outside."""
    write_cart(tmp_path)
    async with open_bot(bot_database, tmp_path, commands=tmp_path / "commands") as bot:
        bot.cast("ada", may=["cart:fill"])
        bot.cast("lin", may=["countersign:admin"])
        bot.cast("max", may=["countersign:admin", "countersign:audit"])
        bot.cast("eve")
        bot.policy(roles={"filler": ["cart:fill"]})
        yield bot


async def seal_all(bot: Bot) -> Path:
    """Seals everything; returns the public key's file."""
    path = bot.services.settings.data_dir / "keys" / "audit.pem"
    signer = load_or_create_key(path)
    async with transaction(bot.services.engine) as session:
        while await seal(session, signer):
            pass
    return path.with_suffix(".pub")


async def a_minute_later(bot: Bot) -> str:
    """The beginning of the minute that it is a minute from now: what was done is before it, what is to be done after it."""
    await bot.later("1m")
    async with reading(bot.services.engine) as session:
        now: datetime = (await session.execute(text("SELECT countersign_now()"))).scalar_one()
    return f"{now:%Y-%m-%d %H:%M}"


async def fetch(bot: Bot, run: RunHandle, folder: Path) -> Path:
    """The files of a run, as countersign artifacts would fetch them."""
    async with reading(bot.services.engine) as session:
        rows = await find_artifacts(session, run.id)
    for row in rows:
        found = await bot.services.objects.get(row.key)
        (folder / row.name).write_bytes(b"".join([part async for part in found.chunks]))
    return folder


def rewrite(path: Path, old: str, new: str) -> None:
    written = gzip.decompress(path.read_bytes()).decode()
    assert old in written
    path.write_bytes(gzip.compress(written.replace(old, new, 1).encode(), mtime=0))


async def test_an_export_holds_offline_and_every_change_to_it_is_named(crew: Bot, tmp_path: Path) -> None:
    await seal_all(crew)
    since = await a_minute_later(crew)
    for _ in range(3):
        await Member(crew, "ada").say("/cart gone")
    given = await Member(crew, "lin").say("/grant eve filler")
    await Member(crew, "max").approve(given)
    key = await seal_all(crew)
    until = await a_minute_later(crew)
    await crew.later("1m")
    with patch.object(exports, "PART_BYTES", 100):
        run = await Member(crew, "max").say(f'/export "{since}" "{until}"')
    assert run.succeeded, run.outcome
    assert "4 runs, 1 decisions, " in run.result
    (tmp_path / "export").mkdir()
    folder = await fetch(crew, run, tmp_path / "export")
    report = verify(folder, keys=key.read_bytes())
    assert report.problems == [], report
    assert (report.rows["runs"], report.rows["decisions"]) == (4, 1)
    assert len(report.notes) == 1, "no anchors were given"
    assert main([str(folder), "--json"]) == 0
    (event,) = [one.detail for one in await crew.trail(run) if one.kind == "audit:exported"]
    assert (event["rows"]["runs"], event["files"]) == (4, len(list(folder.iterdir())) - 1)
    lines = [json.loads(one) for one in gzip.decompress((folder / "runs-001.jsonl.gz").read_bytes()).splitlines()]
    assert [one["command"] for one in lines] == ["cart", "cart", "cart", "grant"]
    _spoil(folder, key)


def sign_again(folder: Path, key: Path) -> None:
    """As whoever has the signing key might, who can sign files but not change blocks that were anchored."""
    whole = json.loads((folder / "manifest.json").read_text())
    for one in whole["manifest"]["files"]:
        content = (folder / one["name"]).read_bytes()
        lines = len(gzip.decompress(content).splitlines())
        one |= {"sha256": sha256(content).hexdigest(), "bytes": len(content), "rows": lines}
    signature = load_or_create_key(key.with_suffix(".pem")).sign(exports.SIGNED + canonical(whole["manifest"]))
    (folder / "manifest.json").write_text(json.dumps(whole | {"signature": signature.hex()}))


def _spoil(folder: Path, key: Path) -> None:
    kept = {one.name: one.read_bytes() for one in folder.iterdir()}
    other = key.read_bytes().replace(b"\nM", b"\nN", 1)

    def said() -> str:
        try:
            return "; ".join(verify(folder, keys=key.read_bytes()).problems)
        except NotAnExport as error:
            return str(error)
        finally:
            for name, content in kept.items():
                (folder / name).write_bytes(content)

    rewrite(folder / "runs-001.jsonl.gz", "gone", "kept")
    assert said() == "runs-001.jsonl.gz is not the file that was signed"
    decisions = folder / "decisions-001.jsonl.gz"
    whole = decisions.read_bytes()
    decisions.write_bytes(
        whole[:4] + bytes(255 - one for one in whole[4:8]) + whole[8:]
    )  # the time in gzip's header: as long, and reads the same
    assert "decisions-001.jsonl.gz is not the file that was signed" in verify(folder).problems
    (folder / "decisions-001.jsonl.gz").unlink()
    assert said() == "decisions-001.jsonl.gz is not in the folder"
    (folder / "manifest.json").write_text((folder / "manifest.json").read_text().replace('"asked_by": "max"', '"asked_by": "eve"'))
    assert said() == "the manifest or its signature was changed"
    (folder / "manifest.json").write_text("{}")
    assert said().startswith("The export is damaged")
    rewrite(folder / "events-001.jsonl.gz", "gone", "kept")
    sign_again(folder, key)
    assert "its payload was changed after it was recorded" in said()
    rewrite(folder / "events-001.jsonl.gz", "run:succeeded", "run:cancelled")
    sign_again(folder, key)
    assert "an event was changed, left out or put in after it was sealed" in said()
    events = folder / "events-001.jsonl.gz"
    rewrite(events, gzip.decompress(events.read_bytes()).decode().splitlines(keepends=True)[1], "")
    sign_again(folder, key)
    assert re.search(r"block \d+: 1 of its \d+ events are missing", said())
    with pytest.raises(NotAnExport):
        verify(folder, keys=other)


async def test_only_who_may_read_the_record_exports_it_and_nothing_that_is_still_to_come(crew: Bot) -> None:
    eve = await Member(crew, "eve").ask(f"/export {DAY} 2020-02-01")
    assert "countersign:audit" in eve.reply.text
    for until, said in (("2999-01-01", "still to come"), (DAY, "SINCE has to be before UNTIL"), ("soon", "until: ")):
        refused = await Member(crew, "max").say(f"/export {DAY} {until}")
        assert said in refused.outcome
    run = await Member(crew, "max").say(f"/export {DAY} 2020-02-01")
    assert "no key to sign with" in run.outcome
    await seal_all(crew)
    run = await Member(crew, "max").say(f"/export {DAY} 2020-02-01")
    assert run.result.startswith("0 runs, 0 decisions, 0 events in 3 files")
