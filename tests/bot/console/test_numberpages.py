"""Numbers and the catalogue: what was asked is counted, for those who may see it, and as CSV."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from bot.console.numberpages import Table, as_csv
from store.databases import reading, transaction
from store.figures import find_days
from store.sealing import load_or_create_key, seal
from store.searches import index_blocks
from tests.bot.console.pages import Page
from tests.bot.console.test_pages import ask_for_grant
from tests.bot.webs import Web
from tests.hubs import World, disposing


async def test_runs_are_counted_for_admins_and_auditors(web: Web, world: World) -> None:
    await ask_for_grant(web, world)
    await ask_for_grant(web, world, role="approver")
    max_, eve = await web.browser("max"), await web.browser("eve")
    page = await max_.client.get("/numbers?days=30")
    assert page.status_code == 200, page.text
    assert 'aria-label="grant: 2 asked"' in page.text
    assert Page(page.text).wrong == []
    table = await max_.client.get("/numbers/commands.csv?days=30")
    assert table.text.splitlines() == ["Command,Asked,Succeeded,Failed", "grant,2,0,0"]
    for path in ("/numbers", "/numbers/commands.csv"):
        assert (await eve.client.get(path)).status_code == 403
    for wrong, status in (("/numbers/none.csv", 404), ("/numbers?days=0", 422), ("/numbers?days=9999", 422)):
        assert (await max_.client.get(wrong)).status_code == status
    for path in ("days", "failures", "decisions", "deciders"):
        assert (await max_.client.get(f"/numbers/{path}.csv")).status_code == 200


async def test_the_catalogue_says_when_a_command_was_last_asked_for(web: Web, world: World) -> None:
    await ask_for_grant(web, world)
    max_, eve = await web.browser("max"), await web.browser("eve")
    page, hers = await max_.client.get("/catalogue"), await eve.client.get("/catalogue")
    assert 'href="/ask?command=grant"' in page.text
    assert 'href="/ask?command=grant"' not in hers.text
    assert page.text.count("<time datetime=") >= 1
    assert Page(page.text).wrong == []


async def test_a_finished_run_and_coming_runs_have_their_links(web: Web, world: World) -> None:
    await ask_for_grant(web, world)
    max_ = await web.browser("max")
    coming = await max_.client.get("/runs?coming=1")
    assert "No schedule has a slot to come." in coming.text
    assert "Ask again" not in (await max_.client.get("/runs/1")).text, "it has not ended"
    async with await web.caller("max") as caller:
        assert (await caller.post("/api/v1/runs/1/cancel")).status_code == 200
    page = await max_.client.get("/runs/1")
    assert "/ask?command=grant&amp;a." in page.text
    assert "command=undo&amp;a.number=1" in page.text
    picture = await max_.client.get("/runs/1/plan.svg")
    assert picture.headers["content-type"].startswith("image/svg+xml")
    assert "default-src 'none'; script-src 'self';" in picture.headers["content-security-policy"]


def test_csv_holds_nothing_that_a_spreadsheet_would_run() -> None:
    told = as_csv(Table("t", ("Command", "Asked"), [("=1+1", 2), ("-x", 1)]))
    assert told.splitlines() == ["Command,Asked", "'=1+1,2", "'-x,1"]


async def test_what_the_housekeeper_has_counted_and_what_is_newer_are_told_together(web: Web, world: World, tmp_path: Path) -> None:
    max_, zones = await web.browser("max"), {"UTC", "Europe/Berlin", "Asia/Kolkata"}
    signer = load_or_create_key(tmp_path / "audit.pem")
    for asked in (1, 2, 3):
        run, _ = await ask_for_grant(web, world)
        if asked == 2:  # it ends in a half hour that is counted already
            async with await web.caller("max") as caller:
                assert (await caller.post(f"/api/v1/runs/{run}/cancel")).status_code == 200
        if asked < 3:
            async with disposing(world.engine()) as engine:
                async with transaction(engine) as session:
                    await seal(session, signer)
                async with transaction(engine) as session:
                    assert await index_blocks(session)
        table = await max_.client.get("/numbers/commands.csv?days=30")
        assert table.text.splitlines() == ["Command,Asked,Succeeded,Failed", f"grant,{asked},0,0"]
    async with disposing(world.engine(role="web")) as engine, reading(engine) as session:
        since = datetime.now(UTC) - timedelta(days=3)
        for zone in zones:
            [day] = await find_days(session, since, zone=zone)
            assert (day.day, day.asked) == (datetime.now(ZoneInfo(zone)).date(), 3)
