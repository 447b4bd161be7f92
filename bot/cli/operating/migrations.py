"""`countersign migrate`: the schema brought to the newest version, and a first policy."""

import asyncio
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from bot.cli.endings import Failed, finish, new_app
from bot.cli.reaching import committed, first_line, owner_url, read_settings
from bot.cli.up.databases import seed_policy
from store.databases import WriteSession
from store.migrating import migrate
from store.secrets import Keys

app = new_app()


@app.command("migrate")
def migrate_database() -> None:
    """Bring the schema to the newest version as the tables' owner (COUNTERSIGN_MIGRATE_DATABASE_URL), and make keys and a first policy."""
    settings = read_settings()
    url = owner_url(settings)
    if not url:
        raise Failed("COUNTERSIGN_MIGRATE_DATABASE_URL is not set; it names the database as the role that owns the tables.")
    try:
        migrate(url)
    except SQLAlchemyError as error:
        raise Failed(f"The database could not be migrated: {first_line(error)}") from None

    async def seed(session: WriteSession) -> None:
        await seed_policy(session, settings)

    asyncio.run(committed(url, seed))
    Keys.prepared(Path(settings.data_dir).absolute() / "keys")
    print("The schema is current and a policy is in force.")


if __name__ == "__main__":
    finish(app, name="countersign migrate")
