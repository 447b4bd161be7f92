"""What an author writes, checked by mypy --strict. Each `type: ignore` marks a mistake that mypy must find: an unused one is an error."""

from collections.abc import AsyncIterator
from enum import Enum

from countersign import Approval, Context, Integration, Plan, PlanningContext, Reply, Secret, Step, action, acts, command, reads, step


class Service(Enum):
    api = "api"
    web = "web"


class Env(Enum):
    staging = "staging"
    prod = "prod"


class Fleet(Integration):
    @reads
    async def version(self, service: Service, env: Env) -> str:
        return "v1"

    @acts(repeat="idempotent")
    async def release(self, service: Service, env: Env, version: str) -> AsyncIterator[tuple[int, int]]:
        yield 3, 3


@step(idempotent=True, timeout="5m")
async def release(ctx: Context, service: Service, env: Env, version: str) -> None:
    async for done, total in ctx.use(Fleet).release(service, env, version):
        await ctx.progress(done, total, f"pods on {version}")


@command("deploy", permission="deploy:run", risk="high", slash=True, approval=Approval(by="deploy:approve", count=2, when={"env": "prod"}))
async def deploy(ctx: Context, service: Service, version: str, env: Env = Env.staging) -> Plan:
    """Move a service to a version."""
    now = await ctx.use(Fleet).version(service, env)
    return Plan(f"{service} in {env}: {now} → {version}", release(service, env, version).undone_by(release(service, env, now)))


@command("versions", permission="deploy:read", risk="read")
async def versions(ctx: PlanningContext, service: Service) -> Reply:
    """Say which version runs."""
    return Reply(text=await ctx.use(Fleet).version(service, Env.prod))


@command("promote", permission="deploy:run")
async def promote(ctx: PlanningContext, service: Service) -> Plan | Reply:
    """Bring what runs in staging to production, if it differs."""
    staged = await ctx.use(Fleet).version(service, Env.staging)
    if staged == await ctx.use(Fleet).version(service, Env.prod):
        return Reply(text="Nothing to do.")
    return Plan("promote", release(service, Env.prod, staged))


@action("rotate", permission="keys:rotate", idempotent=True, risk="medium")
async def rotate(ctx: Context, service: Service, key: Secret) -> int:
    """Rotate a service's key."""
    await ctx.log(f"rotating {key}")
    return 1


def described() -> list[Step]:
    return [
        release(Service.api, Env.prod, "v2"),
        release(Service.api, Env.prod, version="v2"),
    ]


def mistakes_that_mypy_finds() -> None:
    release(Service.api, Env.prod)  # type: ignore[call-arg]
    release("api", Env.prod, "v2")  # type: ignore[arg-type]
    release(Service.api, Env.prod, "v2", when="now")  # type: ignore[call-arg]
    Plan("not a step", Reply(text="x"))  # type: ignore[arg-type]


async def a_planner_that_mypy_refuses(ctx: PlanningContext) -> str:
    """Returns neither a Plan nor a Reply, and reports progress, which only steps do."""
    await ctx.progress(1, 2)  # type: ignore[attr-defined]
    command("wrong", permission="deploy:run")(a_planner_that_mypy_refuses)  # type: ignore[arg-type]
    return "done"
