"""`countersign slack manifest`: what to paste into a new Slack app."""

import json
from typing import Annotated

import typer

from bot.cli.endings import Failed, WrongCall, finish, new_app
from bot.cli.reaching import read_settings
from bot.slack.manifests import manifest
from commands.registries import RegistryError, load_registry

app = new_app()


@app.command("manifest")
def print_manifest(
    *,
    socket: Annotated[bool, typer.Option("--socket", help="For Socket Mode, where Slack needs no address of the hub.")] = False,
    user_groups: Annotated[bool, typer.Option("--user-groups", help="Where policy takes groups from Slack's user groups.")] = False,
) -> None:
    """Print the Slack app's manifest as JSON, for the commands installed here and COUNTERSIGN_PUBLIC_URL."""
    settings = read_settings()
    socket = socket or bool(settings.slack_app_token.get_secret_value())
    if not socket and not settings.url.startswith("https://"):
        raise WrongCall("COUNTERSIGN_PUBLIC_URL should be the https address where Slack reaches the hub; without one, use --socket.")
    try:
        registry = load_registry(folder=settings.commands, runbooks=settings.runbooks)
    except (RegistryError, TypeError) as error:
        raise Failed(f"The commands cannot be loaded: {error}") from None
    made = manifest(registry, settings.url, socket_mode=socket, user_groups=user_groups)
    print(json.dumps(made, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    finish(app, name="countersign slack manifest")
