"""`countersign web`: becomes the web server that the settings describe."""

import os
import sys

from bot.cli.endings import Failed, finish, new_app
from bot.cli.reaching import read_settings
from bot.cli.servers import web_command

app = new_app()


@app.command()
def web() -> None:
    """Run the web server alone, on COUNTERSIGN_HOST and COUNTERSIGN_PORT."""
    settings = read_settings()
    if not settings.database_url:
        raise Failed("COUNTERSIGN_DATABASE_URL is not set; countersign up brings a Postgres of its own.")
    command = web_command(host=settings.host, port=settings.port)
    sys.stdout.flush()
    os.execv(command[0], command)  # noqa: S606 becoming the server is the point


if __name__ == "__main__":
    finish(app, name="countersign web")
