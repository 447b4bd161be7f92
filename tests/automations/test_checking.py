"""Whether integrations are set up and answer is found once a minute, and shown without any value of their settings."""

from typing import Any

from pydantic import BaseModel, SecretStr

from automations.housekeeping.checking import check_integrations
from countersign import Integration, StepFailed
from integrations.catalogs import Catalog
from kit.bots import Bot
from store.databases import reading
from store.integrations import find_integrations, note_used
from tests.automations.test_artifacts import bot as bot

VALUE = "canary-5e1f"


class Lighthouse(Integration):
    """Answers or not, as the test says."""

    scopes = ("lamps:read",)
    trouble = ""

    class Settings(BaseModel):
        token: SecretStr
        height: int = 40

    async def health(self) -> None:
        if self.trouble:
            raise StepFailed(self.trouble)


async def found(bot: Bot) -> Any:
    await check_integrations(bot.services)
    async with reading(bot.owner) as session:
        return next(one for one in await find_integrations(session) if one.name == "lighthouse")


async def test_an_integration_is_watched_from_before_it_is_set_up_until_it_is_well_again(bot: Bot) -> None:
    before, bot.services.catalog = bot.services.catalog, Catalog({})
    one = await found(bot)
    assert (one.configured, one.well_since, one.failed_at, one.used_at) == (False, None, None, None)
    assert "COUNTERSIGN_LIGHTHOUSE__TOKEN is required" in one.problem
    bot.services.catalog = Catalog({"COUNTERSIGN_LIGHTHOUSE__TOKEN": VALUE})
    one = await found(bot)
    well = one.well_since
    assert (one.configured, one.problem, one.failed_at, one.error, one.scopes) == (True, "", None, "", ["lamps:read"])
    assert [(each["name"], each["secret"], each["set"]) for each in one.variables] == [
        ("COUNTERSIGN_LIGHTHOUSE__TOKEN", True, True),
        ("COUNTERSIGN_LIGHTHOUSE__HEIGHT", False, False),
    ]
    assert (await found(bot)).well_since == well, "since it answers, not since it was asked last"
    bot.services.catalog(Lighthouse, planning=True).trouble = f"the keeper refused {VALUE}"
    one = await found(bot)
    assert (one.well_since, one.failed_at is not None, one.error == one.problem) == (None, True, True)
    assert VALUE not in repr(one.__dict__)
    async with bot.services.transaction() as session:
        await note_used(session, bot.services.catalog.take_used())
    bot.services.catalog(Lighthouse, planning=True).trouble = ""
    one = await found(bot)
    assert one.well_since > well
    assert (one.problem, "the keeper refused" in one.error, one.used_at is not None) == ("", True, True)
    await bot.services.catalog.close()
    bot.services.catalog = before
