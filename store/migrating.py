"""Bringing a database's schema to the newest version, and asking whether it is."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from .databases import reading

_FOLDER = Path(__file__).parent / "migrations"


def migrate(url: str) -> None:
    """Upgrades the database at `url` (the owner's) to the newest version; safe to run from several hosts at once."""
    command.upgrade(_config(url), "head")


def check(url: str) -> None:
    """Raises CommandError when the models and the migrations disagree."""
    command.check(_config(url))


async def is_current(engine: AsyncEngine) -> bool:
    """Whether the database has exactly the version this code needs."""
    async with reading(engine) as session:
        found = (await session.execute(text("SELECT version_num FROM alembic_version"))).scalar_one_or_none()
    return found == ScriptDirectory.from_config(_config("")).get_current_head()


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.attributes["url"] = url
    return config
