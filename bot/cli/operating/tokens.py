"""`countersign token issue`: a personal token or a one-time link, made by whoever holds the hub's machine."""

import asyncio
from typing import Annotated, Final

import typer

from bot.cli.endings import Failed, WrongCall, finish, new_app
from bot.cli.reaching import committed, read_settings, web_url
from store.audits import AuditEvent, record
from store.databases import WriteSession
from store.people import find_all_people, find_person
from store.settings import Settings
from store.tokens import issue_token

SCOPES: Final = ("read", "submit", "decide", "admin")
LINK_SECONDS: Final = 15 * 60.0
app = new_app()


@app.command()
def issue(
    person: Annotated[str, typer.Argument(metavar="PERSON")],
    *,
    scope: Annotated[list[str] | None, typer.Option(help="read, submit, decide or admin; give it again for several.")] = None,
    days: Annotated[int, typer.Option(min=1, max=366, help="How long the token lives.")] = 90,
    label: Annotated[str, typer.Option(help="What the token is for.")] = "command line",
    link: Annotated[bool, typer.Option("--link", help="A one-time link into the browser room instead, good for 15 minutes.")] = False,
) -> None:
    """Make a personal token for PERSON (read, submit and decide unless --scope says otherwise) and print it; it is kept nowhere."""
    scopes = tuple(scope or SCOPES[:3])
    if unknown := sorted(set(scopes) - set(SCOPES)):
        raise WrongCall(f"--scope {unknown[0]} should be one of {', '.join(SCOPES)}.")
    settings = read_settings()

    async def make(session: WriteSession) -> str:
        await _check(session, person)
        if link:
            value = await issue_token(session, kind="link", person=person, label=label, scopes=(), lifetime=LINK_SECONDS)
        else:
            value = await issue_token(session, kind="api", person=person, label=label, scopes=scopes, lifetime=days * 24 * 3600.0)
        detail = {"for": person, "token": "link" if link else "api", "scopes": [] if link else list(scopes), "label": label}
        await record(session, [AuditEvent("token:issued", "countersign", None, detail)])
        return value

    value = asyncio.run(committed(web_url(settings), make))
    print(_link_of(settings, value) if link else value)


async def _check(session: WriteSession, name: str) -> None:
    person = await find_person(session, name)
    if person is None:
        known = ", ".join(one.name for one in (await find_all_people(session))[:20]) or "nobody; the policy names people"
        raise Failed(f"There is no person named {name}; there are {known}.")
    if not person.active or person.service:
        raise Failed(f"{name} is {'a service account' if person.service else 'not active any more'} and gets no personal token.")


def _link_of(settings: Settings, value: str) -> str:
    return f"{settings.url}/enter/{value}"


if __name__ == "__main__":
    finish(app, name="countersign token issue")
