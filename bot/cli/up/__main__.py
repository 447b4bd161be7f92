"""`countersign up`: the whole hub in one terminal."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from bot.cli.endings import WrongCall, finish, new_app
from store.settings import Settings, WrongSetting

from .greetings import greet
from .hubs import Hub

app = new_app()


@app.command()
def up(
    *,
    data: Annotated[Path | None, typer.Option(help="The folder of everything that is kept; .countersign by default.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65_535, help="The port of 127.0.0.1; 8000 by default.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="With made-up people and a small site to deploy to; for this machine only.")] = False,
    reload: Annotated[bool, typer.Option("--reload", help="Make saved commands and runbooks live within 5 s.")] = False,
) -> None:
    """Run the whole hub here, with its own Postgres and Redis where no URL is set. Ctrl-C stops all of it."""
    given = {name: value for name, value in {"data_dir": data, "port": port}.items() if value is not None}
    try:
        settings = Settings.read(**given, **({"demo": True} if demo else {}))
    except WrongSetting as error:
        raise WrongCall(str(error)) from None
    settings = settings.model_copy(update={"data_dir": settings.data_dir.absolute()})
    asyncio.run(Hub(settings, reload=reload, greet=greet).run())


if __name__ == "__main__":
    finish(app, name="countersign up")
