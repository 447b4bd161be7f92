"""`countersign migrate`: the schema brought to the newest version, and a first policy."""

import asyncio
from pathlib import Path

from bot.cli.endings import Failed, finish, new_app
from bot.cli.reaching import committed, owner_url, read_settings
from bot.cli.up.databases import migrate_database, seed_policy
from store.databases import WriteSession
from store.secrets import Keys

app = new_app()


@app.command()
def migrate() -> None:
    """Bring the schema to the newest version as the tables' owner (COUNTERSIGN_MIGRATE_DATABASE_URL), and make keys and a first policy."""
    settings = read_settings()
    url = owner_url(settings)
    if not url:
        raise Failed("COUNTERSIGN_MIGRATE_DATABASE_URL is not set; it names the database as the role that owns the tables.")
    migrate_database(url)

    async def seed(session: WriteSession) -> None:
        await seed_policy(session, settings)

    asyncio.run(committed(url, seed))
    Keys.prepared(Path(settings.data_dir).absolute() / "keys")
    print("The schema is current and a policy is in force.")


if __name__ == "__main__":
    finish(app, name="countersign migrate")
