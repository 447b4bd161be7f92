"""What a command answered stands on its run's page, all of it, for whoever could not read it in chat."""

import json

from sqlalchemy import text

from countersign import Bar, Chart, Part, Picture, Reply, Tone
from store.databases import transaction
from tests.bot.api.test_logs import asked
from tests.bot.console.pages import Page
from tests.bot.webs import Web, web_of
from tests.hubs import World, disposing

_ANSWERED = text("UPDATE runs SET status = 'answered', result = cast(:result AS jsonb) WHERE id = :run")


async def test_a_long_answer_is_shown_whole(world: World) -> None:
    async with web_of(world) as web, await web.caller("max") as max_:
        run = await asked(max_)
        browser = (await web.browser("max")).client
        assert "<h2>Answer</h2>" not in (await browser.get(f"/runs/{run}")).text
        long = "\n".join(f"line <{n}>" for n in range(5_000))
        async with disposing(world.engine()) as engine, transaction(engine) as session:
            await session.execute(_ANSWERED, {"run": run, "result": json.dumps({"text": "Found much.", "code": long})})
        page = (await browser.get(f"/runs/{run}")).text
        assert "<h2>Answer</h2>" in page
        assert "Found much." in page
        assert "line &lt;4999&gt;" in page


async def test_what_a_schedule_was_answered_is_drawn_for_everybody_in_its_channel_and_told_in_words(web: Web) -> None:
    parts = (Part(name="succeeded", tone=Tone.good), Part(name="failed", tone=Tone.bad), Part(name="other", tone=Tone.neutral))
    bars = (Bar(label="deploy", values=(6, 2, 0), told="8, 2 failed"), Bar(label="grant", values=(4, 0, 0), told="4"))
    charts = (Chart(title="Runs by command", parts=parts, bars=bars), Chart(title="Time saved", nothing="No run saved any."))
    reply = Reply(text="The last 7 days:", code="runs  12", picture=Picture(title="The last 7 days", aside="until Monday", charts=charts))
    async with await web.caller("max") as max_:
        run = await asked(max_)
        await web.show(str(run), reply.model_dump(mode="json"), kind="reply")
        told = (await max_.get("/api/v1/room/messages?channel=ops")).json()["items"][-1]["reply"]
        assert Reply.model_validate(told) == reply, "programs have its figures"
    page = (await (await web.browser("eve")).page(channel="ops")).text
    assert Page(page).wrong == []
    assert "only you see this" not in page
    assert '<div role="group" aria-label="Runs by command">' in page
    assert 'role="img" aria-label="deploy: 8, 2 failed">' in page
    assert '<rect class="good" x="0" y="2" width="750" height="16"></rect><rect class="bad" x="750" y="2" width="250"' in page
    assert '<rect class="good" x="0" y="2" width="500" height="16"></rect></svg>' in page
    assert "</svg> failed</span>" in page, "what a colour stands for"
    assert "</svg> other</span>" not in page, "of which there is none"
    assert "No run saved any." in page
