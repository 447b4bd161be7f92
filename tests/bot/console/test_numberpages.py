"""Numbers and the catalogue: what was asked is counted, for those who may see it, and as CSV."""

from bot.console.numberpages import Chart, as_csv
from tests.bot.console.pages import Page
from tests.bot.console.test_pages import ask_for_grant
from tests.bot.webs import Web
from tests.hubs import World


async def test_runs_are_counted_for_admins_and_auditors(web: Web, world: World) -> None:
    await ask_for_grant(web, world)
    await ask_for_grant(web, world, role="approver")
    max_, eve = await web.browser("max"), await web.browser("eve")
    page = await max_.client.get("/numbers?days=30")
    assert page.status_code == 200, page.text
    assert 'aria-label="grant: 2 asked, 0 failed"' in page.text
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
    told = as_csv(Chart("t", ("Command", "Asked"), [("=1+1", 2), ("-x", 1)]))
    assert told.splitlines() == ["Command,Asked", "'=1+1,2", "'-x,1"]
