"""What a command answered stands on its run's page, all of it, for whoever could not read it in chat."""

import json

from sqlalchemy import text

from store.databases import transaction
from tests.bot.api.test_logs import asked
from tests.bot.webs import web_of
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
