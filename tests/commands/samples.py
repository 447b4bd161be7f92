"""Commands, people and policies for the tests of the use cases."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from commands.authorizing import Request
from commands.policies import BoundPolicy, bind, compile_policy
from countersign import Approval, Command, Context, Duration, Person, Plan, Risk, Secret, command, control, step
from countersign.invocations import Door, Place
from store.people import Person as Somebody


class Env(StrEnum):
    staging = "staging"
    prod = "production"


@step(idempotent=True)
async def nothing(ctx: Context) -> None:
    """Nothing."""


@command("deploy", permission="deploy:run", risk="medium", approval=Approval(by="deploy:approve", count=2, when={"env": "prod"}))
async def deploy(ctx: Context, service: str, version: str = "latest", env: Env = Env.staging, force: bool = False) -> Plan:
    """Move a service to a version."""
    return Plan("moved", nothing())


@command("scale", permission="deploy:run", risk="high", approval=Approval(by="deploy:approve"), may_loosen=True)
async def scale(ctx: Context, share: float = 1.0, pause: Duration | None = None, on_call: Person | None = None) -> Plan:
    """Scale everything."""
    return Plan("scaled", nothing())


@command("tell", permission="chat:tell", risk="low")
async def tell(ctx: Context, who: str, words: str) -> Plan:
    """Tell somebody something."""
    return Plan("told", nothing())


@command("rotate", permission="keys:rotate", risk="high")
async def rotate(ctx: Context, name: str, value: Secret, services: list[str]) -> Plan:
    """Rotate a key."""
    return Plan("rotated", nothing())


@command("erase", permission="data:erase", risk="critical")
async def erase(ctx: Context) -> Plan:
    """Erase everything."""
    return Plan("erased", nothing())


@command("policy apply", permission="countersign:admin", approval=Approval(by="countersign:admin"))
async def policy_apply(ctx: Context, text: str) -> Plan:
    """Put a policy in force."""
    return Plan("applied", nothing())


@control("look")
async def look(ctx: Context) -> None:
    """Look."""


COMMANDS: Mapping[str, Command] = {one.name: one for one in (deploy, scale, tell, rotate, erase, policy_apply, look)}


def policy(text: str, commands: Mapping[str, Command] = COMMANDS) -> BoundPolicy:
    return bind(compile_policy(text), commands)


def somebody(name: str = "ada", *groups: str, **more: Any) -> Somebody:
    fields: dict[str, Any] = {"name": name, "active": True, "groups": frozenset(groups), "roles": frozenset()}
    return Somebody(**fields | more)


def asking(command: Command, *, door: Door = Door.slack, channel: str = "ops", **arguments: Any) -> Request:
    """A request for a command with these arguments, the others by default, as `submit` makes it."""
    given = {"service": "api", "who": "lin", "words": "hello", "name": "k", "text": "t", "services": ["api"]}
    schema = command.schema.without(command.schema.secrets)
    known = {one.name for one in schema.parameters}
    written = schema.written(schema.validate({name: one for name, one in (given | arguments).items() if name in known}))
    return Request(permission=command.permission, door=door, place=Place("slack", "T1", channel), command=command, arguments=written)


def risky(risk: Risk, *, permission: str = "some:thing") -> Command:
    """A command of this risk that its author asks no approval for."""

    async def plan(ctx: Context) -> Plan:
        """Do something."""
        return Plan("done", nothing())

    return command(f"do-{risk.name}", permission=permission, risk=risk.name)(plan)
