"""A dry run of every command there is shows a plan and changes nothing: not on disk, not in any table but its own few rows."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from countersign import Command
from countersign.invocations import Door, Invocation, Place
from kit.bots import Bot, Member
from kit.fixtures import open_bot
from store.databases import reading
from store.embedded import DatabaseUrls
from tests.automations.carts import write_cart
from tests.stories.sites import serving_site

MAY = [
    "access:request",
    "countersign:start",
    "deploy:run",
    "deploy:read",
    "cart:fill",
    "countersign:admin",
    "countersign:audit",
    "countersign:rehearse",
    "countersign:approve",
    "countersign:schedule",
    "countersign:triggers",
]
ARGUMENTS: Mapping[str, Mapping[str, str]] = {
    "deploy": {"service": "api", "version": "v2", "env": "prod"},
    "rollout": {"version": "v2", "env": "prod"},
    "deploys": {},
    "clear-cache": {"service": "api"},
    "maintenance": {"service": "web", "state": "on", "env": "prod"},
    "cart": {"how": "all well"},
    "grant": {"person": "lin", "role": "role-lin"},
    "revoke": {"person": "lin", "role": "role-lin"},
    "link": {"person": "lin", "platform": "slack", "team": "T1", "account": "U1"},
    "policy apply": {},
    "policy matrix": {},
    "policy diff": {"new": "profile: strict"},
    "policy suggest": {},
    "delegate": {"person": "lin", "duration": "1h"},
    "delegate for": {"absent": "eve", "person": "lin", "duration": "1h"},
    "undelegate": {"person": "lin"},
    "access request": {"role": "role-lin", "duration": "1h"},
    "access review": {"reviewers": "lin,eve"},
    "legal hold": {"what": "person lin", "why": "case 12"},
    "export": {"since": "2020-01-01", "until": "2020-02-01"},
    "usage report": {},
    "catalogue": {},
    "catalogue review": {"reviewers": "lin,eve"},
    "trigger alerts": {"name": "pager", "sender": "bearer", "channel": "ops", "secret": "0123456789abcdef0123"},
    "rehearse": {"name": "deploy"},
    "standing allow": {"what": "deploy service=api version=v2 env=prod", "people": "lin", "uses": "2", "duration": "1h"},
}
# These need something that is not there in this story: the answer says so, and that leaves no trace either.
LACKING: Mapping[str, Mapping[str, str]] = {
    "access extend": {"role": "role-lin", "duration": "1h"},
    "access return": {"grant": "G99"},
    "passkey add": {"label": "phone", "key": "none"},
    "passkey revoke": {"key": "0000"},
    "standing end": {"number": "99"},
    "switch off": {"what": "everything"},
    "people erase": {"person": "lin"},
    "legal lift": {"what": "person lin"},
    "undo": {"number": "99"},
    "resume": {"number": "99"},
    "schedule add": {"name": "nightly", "when": "0 3 * * *", "what": "deploys", "account": "nobody"},
    "schedule change": {"name": "nightly", "when": "0 4 * * *"},
    "schedule remove": {"name": "nightly"},
    "schedule pause": {"name": "nightly"},
    "schedule resume": {"name": "nightly"},
    "schedule run": {"name": "nightly"},
    "schedule backfill": {"name": "nightly", "since": "2026-01-01", "until": "2026-01-02"},
    "trigger add": {"name": "ci", "sender": "github", "account": "nobody", "run": "deploys", "secret": "0123456789abcdef0123"},
    "trigger change": {"name": "ci", "run": "deploys"},
    "trigger remove": {"name": "ci"},
    "trigger rotate": {"name": "ci", "secret": "0123456789abcdef0123"},
}
ANSWERING = ("deploys", "policy matrix", "policy diff", "policy suggest", "usage report", "catalogue")
# A dry run is a run: its own row, its request's key, what the record says of it, and the message that answers.
ITS_OWN = {"runs": 1, "inbox": 1, "secrets": None, "audit_events": None, "audit_unsealed": None, "messages": None}


@pytest.fixture
async def crew(database: DatabaseUrls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bot]:
    """A hub with every shipped and example command, the demo's site, and a grant that could be revoked."""
    write_cart(tmp_path)
    async with serving_site(tmp_path / "site") as address:
        for name, value in {"ROOT": str(tmp_path / "site"), "URL": address, "CHECKS": "1"}.items():
            monkeypatch.setenv(f"COUNTERSIGN_FLEET__{name}", value)
        runbooks = tmp_path / "site" / "runbooks"
        async with open_bot(database, tmp_path, commands=tmp_path / "commands", runbooks=runbooks) as bot:
            max_, lin = bot.cast("max", "lin", may=MAY)
            (eve,) = bot.cast("eve", may=MAY)
            grant = await max_.say("grant lin role-lin")
            await eve.approve(grant)
            assert grant.succeeded, grant.outcome
            assert lin.name == "lin"
            kept = tmp_path / "site" / "cache" / "api" / "v1.html.gz"
            kept.parent.mkdir(parents=True)
            kept.write_text("a copy that clear-cache would remove")
            yield bot


async def tables_of(bot: Bot) -> dict[str, set[str]]:
    """Every row of every table as text."""
    found: dict[str, set[str]] = {}
    async with reading(bot.owner) as session:
        names = await session.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
        for name in names.all():
            found[name] = set(await session.scalars(text(f'SELECT t::text FROM "{name}" t')))  # noqa: S608  a name from the catalog
    return found


def files_of(folder: Path) -> dict[str, str | bytes]:
    """Every file below the folder with its content, links with where they lead, folders as they are."""
    return {
        str(path): str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else "" for path in folder.rglob("*")
    }


def commands_of(bot: Bot) -> list[Command]:
    return [one for one in bot.services.registry.commands.values() if one.kind == "command"]


async def arguments_of(bot: Bot, command: Command) -> dict[str, Any]:
    if command.name != "policy apply":
        return dict({**ARGUMENTS, **LACKING}[command.name])
    async with reading(bot.services.engine) as session:
        body = (await session.execute(text("SELECT body FROM policies WHERE in_force"))).scalar_one()
    return {"text": body + "# a remark\n"}


async def dry_run(bot: Bot, person: Member, command: Command) -> str:
    """Asks for a dry run as one types it, or fills a form where a secret is wanted; returns what came of it."""
    arguments = await arguments_of(bot, command)
    if command.schema.secrets:
        place = Place("room", "", "ops")
        wanted = Invocation(key=str(uuid4()), door=Door.browser, place=place, command=command.name, arguments=arguments, dry_run=True)
        answer = await bot.hub.submit(await bot.person(person.name), wanted)
        assert answer.run_id is not None, answer.reply.text
        run = await bot.watch(answer.run_id, answer.reply)
    else:
        given = " ".join(f"--{name} '{value}'" for name, value in arguments.items())
        run = await person.say(f"{command.name} {given} --dry-run")
    assert run.status == ("failed" if command.name in LACKING else "answered"), f"{command.name}: {run.outcome}"
    assert "run:queued" not in run.trail
    assert "run:awaiting_approval" not in run.trail
    return run.outcome


def unexpected(before: Mapping[str, set[str]], after: Mapping[str, set[str]]) -> list[str]:
    """What changed in the tables, beyond what a run's own rows are; nothing that was there may be gone or different."""
    lines = [f"{table}: {row} is gone" for table, rows in before.items() for row in rows - after[table]]
    for table, rows in after.items():
        fresh = rows - before[table]
        if fresh and (table not in ITS_OWN or (ITS_OWN[table] is not None and len(fresh) != ITS_OWN[table])):
            lines += [f"{table}: {row} is new" for row in fresh]
    return lines


async def test_every_command_can_be_tried_without_a_trace(crew: Bot, tmp_path: Path) -> None:
    (max_,) = crew.cast("max")
    commands = commands_of(crew)
    assert {one.name for one in commands} == set(ARGUMENTS) | set(LACKING), "give the new command's arguments above"
    await crew.settle()
    for command in commands:
        tables, files = await tables_of(crew), files_of(tmp_path)
        outcome = await dry_run(crew, max_, command)
        assert command.name in (*ANSWERING, *LACKING) or outcome == "Dry run: nothing was done."
        assert files_of(tmp_path) == files, command.name
        assert unexpected(tables, await tables_of(crew)) == [], command.name


async def test_this_test_would_notice(crew: Bot, tmp_path: Path) -> None:
    (max_,) = crew.cast("max")
    await crew.settle()
    tables, files = await tables_of(crew), files_of(tmp_path)
    assert (await max_.say("deploy api v2")).succeeded
    assert files_of(tmp_path) != files
    changed = unexpected(tables, await tables_of(crew))
    assert any(line.startswith("steps: ") for line in changed)
