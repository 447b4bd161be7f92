"""`countersign directory token`: what a SCIM directory shows us, made and ended by whoever holds the hub's machine."""

import asyncio
import sys
from typing import Annotated, Final

import typer

from bot.cli.endings import Failed, finish, new_app
from bot.cli.reaching import committed, read_settings, record_url
from store.audits import AuditEvent, record
from store.databases import WriteSession
from store.tokens import end_labelled, issue_token

KIND: Final = "scim"
app = new_app()


@app.command()
def token(
    *,
    label: Annotated[str, typer.Option(help="Which directory it is for.")] = "directory",
    days: Annotated[int, typer.Option(min=1, max=3_660, help="How long the token lives.")] = 366,
    end: Annotated[bool, typer.Option("--end", help="End every token with this label instead of making one.")] = False,
) -> None:
    """Make a token for a SCIM directory and print it; it is kept nowhere. Its address is printed beside it."""
    settings = read_settings()

    async def make(session: WriteSession) -> str:
        value = await issue_token(session, kind=KIND, person=None, label=label, scopes=(), lifetime=days * 24 * 3600.0)
        await record(session, [AuditEvent("token:issued", "countersign", None, {"token": KIND, "label": label})])
        return value

    async def stop(session: WriteSession) -> int:
        count = await end_labelled(session, kind=KIND, label=label)
        await record(session, [AuditEvent("token:ended", "countersign", None, {"token": KIND, "label": label, "count": count})])
        return count

    if not end:
        print(f"Address for the directory: {settings.url}/scim/v2", file=sys.stderr)
        print(asyncio.run(committed(record_url(settings), make)))
    elif not (count := asyncio.run(committed(record_url(settings), stop))):
        raise Failed(f"There is no live token with the label {label!r}.")
    else:
        print(f"{count} ended.")


if __name__ == "__main__":
    finish(app, name="countersign directory token")
