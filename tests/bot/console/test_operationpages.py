"""Operations: for admins alone, and no secret on any of its pages."""

from pydantic import SecretStr

from bot.console.operationpages import TABS
from bot.console.settingpanes import shown
from store.settings import Settings
from tests.bot.console.pages import Page
from tests.bot.webs import Web
from tests.hubs import World


async def test_operations_are_for_admins_alone(web: Web) -> None:
    max_, lin = await web.browser("max"), await web.browser("lin")
    for tab in TABS:
        page = await max_.client.get(f"/operations?tab={tab}")
        assert page.status_code == 200, page.text
        assert Page(page.text).wrong == [], tab
        assert (await lin.client.get(f"/operations?tab={tab}")).status_code == 403
    assert 'href="/operations"' in (await max_.client.get("/runs")).text
    assert 'href="/operations"' not in (await lin.client.get("/runs")).text


async def test_settings_say_where_they_come_from_and_hide_what_is_secret(web: Web, world: World) -> None:
    page = await (await web.browser("max")).client.get("/operations?tab=settings")
    assert "COUNTERSIGN_LEASE_SECONDS" in page.text
    address = world.environment(role="web")["COUNTERSIGN_DATABASE_URL"]
    assert address not in page.text
    for name in Settings.model_fields:
        value = getattr(web.hub.settings, name)
        if isinstance(value, SecretStr) and value.get_secret_value():
            assert value.get_secret_value() not in page.text, name


def test_a_database_address_is_shown_without_names_and_options() -> None:
    told = shown("database_url", "postgresql+psycopg://web:hunter2@db.example.test:5432/hub?password=hunter3")
    assert told == "••••••@db.example.test:5432/hub"
    assert shown("secret_key", SecretStr("hunter2")) == "••••••"
    assert shown("secret_key", SecretStr("")) == ""
