"""The demo: made-up people, a token for each of them, and a small site that really can be deployed to."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bot.cli.endings import Failed
from commands.seed import seed
from store.audits import AuditEvent, record, search
from store.databases import WriteSession
from store.people import find_all_people
from store.policies import find_policy
from store.tokens import find_token, issue_token

POLICY: Final = Path(__file__).with_name("demo.yaml")
MARK: Final = "demo:seeded"
SCOPES: Final = ("read", "submit", "decide", "admin")
TOKEN_SECONDS: Final = 90 * 24 * 3600.0
LINK_SECONDS: Final = 12 * 3600.0


async def is_demo(session: WriteSession) -> bool:
    """Whether `--demo` made this database: that is a fact of its audit, which nobody can take back."""
    return bool(await search(session, kind=MARK, limit=1))


async def seed_demo(session: WriteSession) -> None:
    """Puts the demo policy in force in an empty database; raises Failed for one that holds somebody's real policy."""
    if await is_demo(session):
        return
    if await find_policy(session) is not None:
        raise Failed("This database was not made by --demo: start without --demo, or choose another folder with --data.")
    await seed(session, POLICY.read_text(encoding="utf-8"))
    await record(session, [AuditEvent(MARK, "countersign")])


async def prepare_tokens(session: WriteSession, path: Path) -> None:
    """A personal token for every one of the cast in this file, which only this account may read; live ones are kept."""
    kept = _read(path)
    people = [one.name for one in await find_all_people(session) if not one.service]
    tokens = {name: await _live(session, name, kept.get(name, "")) for name in people}
    if tokens != kept:
        _write(path, tokens)


async def _live(session: WriteSession, person: str, value: str) -> str:
    found = await find_token(session, value, kind="api") if value else None
    if found is not None and found.person == person:
        return value
    return await issue_token(session, kind="api", person=person, label="demo", scopes=SCOPES, lifetime=TOKEN_SECONDS)


def _read(path: Path) -> dict[str, str]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(value) for name, value in kept.items()} if isinstance(kept, dict) else {}


def _write(path: Path, tokens: Mapping[str, str]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(dict(tokens), file, indent=1)
    draft.replace(path)
