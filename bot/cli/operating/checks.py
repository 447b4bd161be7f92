"""What `countersign doctor` looks at: each check says in a sentence what is, and what to do when it is not right."""

import asyncio
import json
import stat
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.cli.endings import Failed
from bot.cli.reaching import first_line, record_url, redis_url, web_url
from bot.health import ROLES, SEEN_SECONDS
from commands.checks import check_policy
from commands.policies import PolicyError, compile_policy
from commands.registries import Registry, RegistryError, load_registry
from integrations.slack.clients import SlackClient
from integrations.slack.errors import SlackError
from store.databases import PowerfulRole, open_engine, reading, refuse_powerful_role
from store.migrating import is_current
from store.policies import find_policy
from store.settings import Settings
from store.verifications import verifier
from store.workers import find_workers

from . import soundings
from .findings import Finding, Wrong

VERIFY_SECONDS: Final = 60.0


@dataclass
class Patient:
    """What the checks hand on to each other."""

    settings: Settings
    engine: AsyncEngine | None = None
    current: AsyncEngine | None = None
    """The engine, once the schema is known to be the one that this code reads."""
    registry: Registry | None = None


async def examine(settings: Settings) -> list[Finding]:
    """Every check in turn; one that cannot be made because an earlier one failed is left out."""
    patient = Patient(settings)
    findings: list[Finding] = []
    try:
        for part, check in _CHECKS.items():
            if finding := await _finding(part, check, patient):
                findings.append(finding)
    finally:
        if patient.engine is not None:
            await patient.engine.dispose()
    return findings


async def _finding(part: str, check: "Check", patient: Patient) -> Finding | None:
    try:
        said = await check(patient)
    except Wrong as error:
        return Finding(part, ok=False, said=str(error))
    except Failed as error:
        return Finding(part, ok=False, said=error.format_message())
    except (SQLAlchemyError, RedisError, OSError) as error:
        return Finding(part, ok=False, said=f"does not answer: {first_line(error)}")
    return Finding(part, ok=True, said=said) if said else None


async def _commands(patient: Patient) -> str:
    try:
        patient.registry = load_registry(folder=patient.settings.commands, runbooks=patient.settings.runbooks)
    except (RegistryError, TypeError, ValueError, ImportError) as error:
        raise Wrong(f"they cannot be loaded: {error}") from None
    return f"{len(patient.registry.commands)} can be asked"


async def _keys(patient: Patient) -> str:
    folder = patient.settings.data_dir / "keys"
    for name in ("seal.public", "seal.private", "mark"):
        path = folder / name
        if not path.exists():
            raise Wrong(f"{path} is missing; countersign up or countersign migrate makes it, or restore it: what it sealed needs it")
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise Wrong(f"{path} can be read by other accounts; chmod 600 it")
    return "are there, and closed to other accounts"


async def _database(patient: Patient) -> str:
    patient.engine = open_engine(web_url(patient.settings), name="countersign-doctor", pool=2, door=False)
    try:
        await refuse_powerful_role(patient.engine)
    except PowerfulRole as error:
        raise Wrong(str(error)) from None
    return "answers, and its role may not change the record"


async def _schema(patient: Patient) -> str:
    if patient.engine is None:
        return ""
    if not await is_current(patient.engine):
        raise Wrong("is not the version this code needs; run: countersign migrate")
    patient.current = patient.engine
    return "is the newest"


async def _policy(patient: Patient) -> str:
    if patient.current is None:
        return ""
    async with reading(patient.current) as session:
        stored = await find_policy(session)
    if stored is None:
        raise Wrong("none is in force; run: countersign migrate")
    try:
        policy = compile_policy(stored.body)
    except PolicyError as error:
        raise Wrong(f"{error}; apply a corrected one: countersign policy apply FILE") from None
    problems = check_policy(policy, patient.registry.commands) if patient.registry else []
    if problems:
        raise Wrong(f"{'; '.join(problems)}; apply a corrected one: countersign policy apply FILE")
    return f"{policy.digest[:12]} is in force, profile {policy.profile}{await soundings.file_of_policy(patient.current, patient.settings)}"


async def _redis(patient: Patient) -> str:
    async with Redis.from_url(redis_url(patient.settings), socket_timeout=2, socket_connect_timeout=2) as client:
        await client.ping()
        try:
            found = (await client.config_get("maxmemory-policy")).get("maxmemory-policy", "")
            memory = await client.info("memory")
        except ResponseError:
            return "answers; it does not tell its maxmemory-policy, which should be noeviction"
    if found != "noeviction":
        raise Wrong(f"maxmemory-policy is {found}, which may throw hints away; set it to noeviction")
    used, most = int(memory.get("used_memory", 0)), int(memory.get("maxmemory", 0))
    if most and used > 0.9 * most:
        raise Wrong(f"{used >> 20} of {most >> 20} MiB are used; give it more, or hints are refused and each run starts two seconds late")
    return "answers, and throws nothing away; that it may lose everything in a crash is no matter"


async def _workers(patient: Patient) -> str:
    if patient.current is None:
        return ""
    async with reading(patient.current) as session:
        seen = {row.role for row in await find_workers(session, within=SEEN_SECONDS)}
    if missing := [role for role in ROLES if role not in seen]:
        raise Wrong(f"none for {' and '.join(missing)} in the last {SEEN_SECONDS:g} s; run: countersign worker (or countersign up)")
    return f"seen for {', '.join(ROLES)}{await soundings.versions(patient.current, within=SEEN_SECONDS)}"


async def _slack(patient: Patient) -> str:
    settings = patient.settings
    if not settings.has_slack:
        return ""
    async with SlackClient(settings.slack_bot_token.get_secret_value(), base_url=settings.slack_api_url) as client:
        try:
            us = await client.auth_test()
            files = await client.may_upload()
        except SlackError as error:
            raise Wrong(f"{error}; see Install App in your Slack app's settings") from None
    if not files and settings.slack_long_answers == "file":
        raise Wrong(
            "the app may not upload files (files:write), so long answers come as links; update it from countersign slack manifest,"
            " or set COUNTERSIGN_SLACK_LONG_ANSWERS=link"
        )
    without = "" if files else "; the app may not upload files (files:write), so answers come without their pictures"
    return f"answers for the workspace {us.url or us.team}{without}"


async def _audit(patient: Patient) -> str:
    if patient.current is None:
        return ""
    words, environment = verifier(patient.settings, record_url(patient.settings))
    process = await asyncio.create_subprocess_exec(
        *words, "--json", env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(VERIFY_SECONDS):
            output, trouble = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return f"takes longer than {VERIFY_SECONDS:g} s to verify; run: countersign audit verify"
    try:
        report = json.loads(output)
    except ValueError:
        raise Wrong(f"could not be verified: {(trouble.decode(errors='replace').strip().splitlines() or ['no report'])[-1]}") from None
    if any("permission denied" in one for one in report["problems"]):
        return "can only be verified with the workers' role: countersign audit verify --database URL"
    if report["problems"]:
        raise Wrong(f"{report['problems'][0]}; run: countersign audit verify")
    return f"{report['rows']:,} events in {report['blocks']:,} blocks are as they were recorded{soundings.anchor(patient.settings)}"


def _of(look: Callable[[AsyncEngine], Awaitable[str]]) -> "Check":
    """A check of a database whose schema is current."""

    async def check(patient: Patient) -> str:
        return await look(patient.current) if patient.current is not None else ""

    return check


async def _disk(patient: Patient) -> str:
    return soundings.room(patient.settings)


async def _address(patient: Patient) -> str:
    return soundings.address(patient.settings)


Check = Callable[[Patient], Awaitable[str]]
_CHECKS: Final[dict[str, Check]] = {
    "commands": _commands,
    "keys": _keys,
    "disk": _disk,
    "address": _address,
    "database": _database,
    "schema": _schema,
    "rights": _of(soundings.rights),
    "clock": _of(soundings.clock),
    "policy": _policy,
    "redis": _redis,
    "workers": _workers,
    "work": _of(soundings.work),
    "messages": _of(soundings.messages),
    "promises": _of(soundings.promises),
    "slack": _slack,
    "audit": _audit,
}
