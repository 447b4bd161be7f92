"""`countersign audit verify`: becomes the verifier, which shares no code with the writer, with this hub's addresses filled in."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from bot.cli.endings import finish, new_app
from bot.cli.reaching import read_settings, record_url
from store.verifications import verifier

app = new_app()


@app.command()
def verify(
    *,
    database: Annotated[str, typer.Option(help="postgresql://… of a role that may read the audit tables.")] = "",
    anchors: Annotated[Path | None, typer.Option(help="The anchor file, from where the database's host cannot change it.")] = None,
    public_key: Annotated[Path | None, typer.Option(help="PEM file with the sealers' public keys.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Prove that nobody changed the audit, or name what was changed; exit 1 when something was."""
    settings = read_settings()
    words, environment = verifier(settings, database or record_url(settings), anchors=anchors, public_key=public_key)
    sys.stdout.flush()
    os.execve(words[0], [*words, *(["--json"] if as_json else [])], environment)  # noqa: S606 becoming the verifier is the point


if __name__ == "__main__":
    finish(app, name="countersign audit verify")
