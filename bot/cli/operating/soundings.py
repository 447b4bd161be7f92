"""More of what `countersign doctor` looks at: what waits, what is kept and promised, the room on disk, clocks and rights."""

import shutil
import time
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.cli.endings import Failed
from bot.cli.files import read_text
from commands.policies import PolicyError, compile_policy
from store.databases import reading
from store.messages import find_backlog
from store.policies import find_policy
from store.promises import find_late, find_promises
from store.settings import LOOPBACK, Settings
from store.undeliverables import count_undeliverable
from store.workers import find_workers
from store.workloads import find_workload

from .findings import Wrong

CLOCK_SECONDS: Final = 5.0
LAG_SECONDS: Final = 60.0
BACKLOG_SECONDS: Final = 120.0
LOOKED_SECONDS: Final = 120.0
ROOM_BYTES: Final = 1 << 30
# What a running process needs, and what neither role may have: the rest is said by the first statement that is refused.
_NEEDED: Final = (("runs", "INSERT"), ("inbox", "INSERT"), ("messages", "INSERT"), ("policies", "SELECT"), ("audit_events", "SELECT"))
_FORBIDDEN: Final = (("audit_events", "UPDATE"), ("audit_events", "DELETE"), ("audit_blocks", "UPDATE"), ("runs", "DELETE"))


async def rights(engine: AsyncEngine) -> str:
    """Raises Wrong when the role may too little or too much."""
    query = "SELECT current_user, has_any_column_privilege(:table, :right) OR has_table_privilege(:table, :right)"
    plain = "SELECT current_user, has_table_privilege(:table, :right)"
    async with reading(engine) as session:

        async def has(table: str, right: str) -> bool:
            sql = plain if right == "DELETE" else query
            return bool((await session.execute(text(sql), {"table": table, "right": right})).one()[1])

        name = (await session.execute(text("SELECT current_user"))).scalar_one()
        missing = [f"{right} on {table}" for table, right in _NEEDED if not await has(table, right)]
        extra = [f"{right} on {table}" for table, right in _FORBIDDEN if await has(table, right)]
    if missing:
        raise Wrong(f"{name} lacks {', '.join(missing)}; grant it countersign_web or countersign_worker, and run: countersign migrate")
    if extra:
        raise Wrong(f"{name} has {', '.join(extra)}, which nobody may have; revoke it")
    return f"{name} has what it needs, and cannot change the record"


async def clock(engine: AsyncEngine) -> str:
    """Raises Wrong when this machine and Postgres disagree: codes, signatures and what is shown depend on both."""
    async with reading(engine) as session:
        before = time.time()
        row = (await session.execute(text("SELECT extract(epoch FROM clock_timestamp()) AS at, shift FROM clock"))).one()
        after = time.time()
    apart = float(row.at) - (before + after) / 2
    if abs(apart) > CLOCK_SECONDS + (after - before):
        raise Wrong(f"Postgres is {apart:+.0f} s from this machine; have both keep time by NTP")
    if row.shift.total_seconds():
        raise Wrong(f"the hub's time was set {row.shift} apart from Postgres's own, as only tests do; have the owner set clock.shift to 0")
    return f"this machine and Postgres are {abs(apart):.1f} s apart"


async def versions(engine: AsyncEngine, *, within: float) -> str:
    """What differs between the workers that live: two sets of code mean a restart under way, or a host left behind."""
    async with reading(engine) as session:
        rows: list[Any] = await find_workers(session, within=within)
    sets = {tuple(sorted(row.versions)) for row in rows}
    return f"; they offer {len(sets)} different sets of commands: a restart is under way, or a host is behind" if len(sets) > 1 else ""


async def work(engine: AsyncEngine) -> str:
    """Raises Wrong when the record is not sealed, or schedules or triggers fail."""
    async with reading(engine) as session:
        found = await find_workload(session)
        failing = await session.execute(
            text(
                "SELECT t.name, sum(d.count) AS n FROM deliveries d JOIN triggers t ON t.id = d.trigger_id WHERE d.state = 'failed'"
                " AND d.received_at > countersign_now() - interval '1 day' GROUP BY t.name ORDER BY t.name"
            )
        )
        triggers = [f"{row.name} ({row.n})" for row in failing]
    problems = []
    if found.unsealed > LAG_SECONDS:
        problems.append(f"the record is not sealed since {found.unsealed:.0f} s; see the log of the housekeeping worker")
    if found.schedule_oldest > LAG_SECONDS:
        problems.append(f"{found.schedules_late} schedules are late, by up to {found.schedule_oldest:.0f} s; is a housekeeper alive?")
    if found.schedules_paused:
        problems.append(f"{found.schedules_paused} schedules were paused by their failures; countersign schedules names them")
    if triggers:
        problems.append(f"deliveries failed in the last day: {', '.join(triggers)}; ask: trigger deliveries NAME")
    if problems:
        raise Wrong("; ".join(problems))
    queues = ", ".join(f"{one.waiting} wait for {one.name}" for one in found.queues)
    return f"{queues}; the record is sealed; no schedule or trigger fails"


async def messages(engine: AsyncEngine) -> str:
    """Raises Wrong when people do not see what they should."""
    async with reading(engine) as session:
        waiting, dead = await find_backlog(session), await count_undeliverable(session)
    if dead:
        told = ", ".join(f"{count} for {platform}" for platform, count in dead.items())
        raise Wrong(f"{told} cannot be delivered; ask: messages, mend it, then: messages resend all")
    if slow := [one for one in waiting if one.oldest > BACKLOG_SECONDS]:
        told = ", ".join(f"{one.waiting} wait for {one.platform}, the oldest {one.oldest:.0f} s" for one in slow)
        raise Wrong(f"{told}; does the platform answer, and is a housekeeping worker alive?")
    return f"{sum(one.waiting for one in waiting)} wait, none is stuck"


async def promises(engine: AsyncEngine) -> str:
    """Raises Wrong when something was lost, done twice or is late."""
    async with reading(engine) as session:
        kept, late = await find_promises(session), await find_late(session)
    broken = [f"{one.count} {one.what} {one.promise} ({one.example})" for one in kept if one.count]
    broken += [f"{one.count} {one.what} late by {one.seconds:.0f} s ({one.example})" for one in late if one.count]
    if broken:
        raise Wrong(f"{', '.join(broken)}; see docs/operators/observing.md")
    if (looked := max(one.looked for one in kept)) > LOOKED_SECONDS:
        raise Wrong(f"nobody looked for {looked:.0f} s whether anything is lost; is a housekeeping worker alive?")
    return "nothing is lost, done twice or late"


async def file_of_policy(engine: AsyncEngine, settings: Settings) -> str:
    """Whether the file that the settings name is what is in force; empty without one."""
    if settings.policy is None:
        return ""
    try:
        written = compile_policy(read_text(settings.policy))
    except (PolicyError, Failed, OSError) as error:
        return f"; COUNTERSIGN_POLICY cannot be read: {error}"
    async with reading(engine) as session:
        stored = await find_policy(session)
    same = stored is not None and stored.digest == written.digest
    return "" if same else f"; the file {settings.policy} says something else: apply it with countersign policy apply, or write it anew"


def room(settings: Settings) -> str:
    """Raises Wrong when the disk of the data folder is nearly full."""
    folder = next(one for one in (settings.data_dir.absolute(), *settings.data_dir.absolute().parents) if one.exists())
    usage = shutil.disk_usage(folder)
    if usage.free < ROOM_BYTES and usage.free < usage.total / 20:
        raise Wrong(f"{usage.free >> 20:,} MiB are free in {folder}; make room before Postgres or the anchor file cannot be written")
    return f"{usage.free >> 30:,} GiB are free"


def address(settings: Settings) -> str:
    """Raises Wrong when links on cards lead nowhere for others."""
    if settings.host not in LOOPBACK and not settings.public_url:
        raise Wrong(f"others reach this hub, and cards would lead to {settings.url}; set COUNTERSIGN_PUBLIC_URL")
    if settings.public_url and not settings.url.startswith("https://") and settings.host not in LOOPBACK:
        raise Wrong(f"{settings.url} is not https: passkeys do not work there, and cookies can be read on the way")
    return f"cards lead to {settings.url}"


def anchor(settings: Settings) -> str:
    """Where blocks are anchored; raises Wrong when the named file is missing on a machine that should have it."""
    path = settings.anchor or settings.data_dir / "anchors" / "audit.jsonl"
    if not path.exists():
        return f"; {path} is not on this machine: the workers' host has it"
    beside = ", on the disk of the data" if settings.anchor is None else ""
    return f"; the anchor file {path} was written {time.time() - path.stat().st_mtime:.0f} s ago{beside}"
