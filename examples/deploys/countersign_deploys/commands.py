"""What people can ask: `deploy` and `rollout` plan moves that can be undone, `deploys` says what runs where."""

import asyncio
from typing import Annotated, Final

from countersign import (
    Approval,
    Choices,
    Context,
    Field,
    Plan,
    PlanningContext,
    PlanRefused,
    Reply,
    Step,
    StepFailed,
    command,
    each,
    sequence,
    step,
)

from .fleets import Fleet, configured_site
from .sites import Env

_MOST_NAMED: Final = 10
_PROD: Final = Approval(by="deploy:approve", count=2, when={"env": "prod"})


def known_services() -> list[str]:
    """For autocomplete: workers call it and keep the values for the doors."""
    site = configured_site()
    return site.services() if site else []


def known_versions() -> list[str]:
    """For autocomplete: every version of any service."""
    site = configured_site()
    return sorted({version for service in site.services() for version in site.versions(service)}) if site else []


Service = Annotated[str, Choices(source=known_services)]
Version = Annotated[str, Choices(source=known_versions)]


@command(
    "deploy",
    permission="deploy:run",
    risk="medium",
    slash=True,
    owner="platform",
    approval=_PROD,
    lock="deploy {env}",
    rehearsal={"service": "web", "version": "v2", "env": "staging"},
)
async def deploy(ctx: PlanningContext, service: Service, version: Version, env: Env = Env.staging) -> Plan:
    """Move a service to a version.

    In prod two other people approve first. A release that is not healthy is taken back by itself.
    """
    fleet = ctx.use(Fleet)
    _refuse_unknown("service", service, await fleet.services())
    _refuse_unknown(f"release of {service}", version, await fleet.releases(service))
    now = await fleet.version(service, env)
    if now == version:
        raise PlanRefused(f"{service} in {env} runs {version} already.")
    moved, checked = await _move(ctx, service, env, version, now)
    return Plan(
        f"{service} in {env}: {now or 'nothing'} → {version}",
        moved,
        checked,
        fields=(Field(label="Page", value=fleet.page(service, env)),),
        warning="" if now else f"{service} never ran in {env}, so there is nothing to go back to.",
    )


@command("rollout", permission="deploy:run", risk="medium", slash=True, owner="platform", approval=_PROD, lock="deploy {env}")
async def rollout(ctx: PlanningContext, version: Version, env: Env = Env.staging) -> Plan:
    """Move every service that has a release of this name to it, two at a time.

    In prod two other people approve first. When one release is not healthy, all of them are taken back.
    """
    fleet = ctx.use(Fleet)
    runs = {service: await fleet.version(service, env) for service in await fleet.services() if version in await fleet.releases(service)}
    behind = {service: now for service, now in runs.items() if now != version}
    if not behind:
        raise PlanRefused(f"Every service that has a release {version} runs it in {env} already." if runs else f"No service has {version}.")
    moves = [await _move(ctx, service, env, version, now) for service, now in behind.items()]
    return Plan(
        f"{', '.join(behind)} in {env} → {version}",
        each(moves, lambda steps: sequence(*steps), at_once=2),
        fields=tuple(Field(label=f"Page of {service}", value=fleet.page(service, env)) for service in behind),
    )


@command("deploys", permission="deploy:read", risk="read", slash=True, owner="platform")
async def deploys(ctx: PlanningContext) -> Reply:
    """Show what runs where, and which releases there are."""
    fleet = ctx.use(Fleet)
    lines: list[tuple[str, ...]] = [("service", *Env, "releases")]
    for service in await fleet.services():
        running = [await fleet.version(service, env) or "nothing" for env in Env]
        lines.append((service, *running, " ".join(_newest(await fleet.releases(service)))))
    return Reply(text="What runs where", code=_table(lines)) if len(lines) > 1 else Reply(text="Nothing was released yet.")


@step(idempotent=True, timeout="1m")
async def release(ctx: Context, service: str, env: Env, version: str) -> None:
    """Moves the link to the release, in one move, and says when the server follows."""
    fleet = ctx.use(Fleet)
    before = await fleet.version(service, env)
    await ctx.progress(0, 3, f"reading {version}")
    await ctx.log(f"{service} {version} has the fingerprint {await fleet.fingerprint(service, version)}")
    await ctx.progress(1, 3, f"moving from {before or 'nothing'}")
    await fleet.point(service, env, version)
    await ctx.progress(2, 3, "reading it back")
    if (after := await fleet.version(service, env)) != version:
        raise StepFailed(f"{service} in {env} is at {after or 'nothing'} and not at {version}; somebody else moved it.")
    await ctx.progress(3, 3, f"{env} has {version}")


@step(reads=True, timeout="2m")
async def check_health(ctx: Context, service: str, env: Env, version: str) -> None:
    """Asks the server several times in a row; one bad answer is enough to fail."""
    fleet = ctx.use(Fleet)
    checks, pause = fleet.settings.checks, fleet.settings.pause.total_seconds()
    for done in range(checks):
        if done:
            await asyncio.sleep(pause)
        await fleet.check(service, env, version)
        await ctx.progress(done + 1, checks, f"{fleet.page(service, env)} is well")


async def _move(ctx: PlanningContext, service: str, env: Env, version: str, now: str | None) -> tuple[Step, Step]:
    """The release, with the way back to what runs `now`, and the look at whether it is well; with the facts that both rest on."""
    ctx.watch(f"current {service}", now)
    ctx.watch(f"release {service}", await ctx.use(Fleet).fingerprint(service, version))
    moved = release(service, env, version)
    return moved.undone_by(release(service, env, now)) if now else moved, check_health(service, env, version)


def _refuse_unknown(what: str, name: str, known: list[str]) -> None:
    if name not in known:
        there_are = f"There are: {', '.join(_newest(known))}." if known else "There is none yet."
        raise PlanRefused(f"There is no {what} named '{name[:40]}'. {there_are}")


def _newest(names: list[str]) -> list[str]:
    return names if len(names) <= _MOST_NAMED else ["…", *names[-_MOST_NAMED:]]


def _table(lines: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)
