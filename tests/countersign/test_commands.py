import subprocess
import sys
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from countersign import (
    Approval,
    Asker,
    Command,
    Context,
    Integration,
    Plan,
    PlanningContext,
    Reply,
    Risk,
    Secret,
    action,
    command,
    control,
    step,
)
from countersign.commands import STEPS
from countersign.contexts import I
from tests.countersign import typing_examples
from tests.countersign.typing_examples import Env, Service, deploy, release, rotate

ROOT = Path(__file__).parents[2]


class Opener:
    def __call__(self, kind: type[I], /, *, planning: bool) -> I:
        client = kind(Integration.Settings())
        client.planning = planning
        return client


CONTEXT = PlanningContext(asker=Asker("ada"), now=datetime(2026, 11, 23, tzinfo=UTC), seed=1, opener=Opener())


def test_a_command_is_what_its_decorator_and_signature_say() -> None:
    assert (deploy.name, deploy.permission, deploy.risk, deploy.slash, deploy.kind) == ("deploy", "deploy:run", Risk.high, True, "command")
    assert deploy.summary == "Move a service to a version."
    assert deploy.usage == "/deploy <service> <version> [env=staging]"
    assert deploy.origin == typing_examples.__name__
    assert deploy.versioned("c1").code_version == "c1"
    assert deploy.code_version == ""


async def test_a_planner_describes_what_would_happen() -> None:
    plan = await deploy.function(CONTEXT, Service.api, "v2", env=Env.prod)
    first = plan.as_json()["steps"][0]
    assert first["arguments"] == {"service": "api", "env": "prod", "version": "v2"}
    assert first["undo"]["arguments"]["version"] == "v1"
    assert STEPS[first["name"]] is release


async def test_an_action_is_a_command_of_one_step() -> None:
    assert (rotate.permission, rotate.risk, rotate.usage) == ("keys:rotate", Risk.medium, "/rotate <service> <key>")
    assert rotate.schema.secrets == {"key"}
    plan = await rotate.function(CONTEXT, Service.api, key=Secret("hunter2"))
    assert isinstance(plan, Plan)
    assert plan.summary == "Rotate a service's key. rotate(service=api, key=••••••)"
    assert [one.function.idempotent for one in plan.steps] == [True]
    assert plan.steps[0].function is STEPS[f"{typing_examples.__name__}.rotate"]


def test_an_undeclared_risk_is_high() -> None:
    assert made(command("deploy", permission="deploy:run")).risk is Risk.high


def test_a_control_command_reads_and_answers_at_once() -> None:
    one = made(control("policy explain"))
    assert (one.kind, one.risk, one.permission) == ("control", Risk.read, "countersign:use")


def test_a_rules_values_are_kept_as_arguments_are_written() -> None:
    one = made(command("deploy", permission="deploy:run", approval=Approval(by="deploy:approve", when={"level": ["p", "staging"]})))
    assert one.approval is not None
    assert one.approval.when == {"level": ["prod", "staging"]}
    assert one.approval.applies_to(one.schema.written(one.schema.validate({"service": "api", "level": "p"})))


class Level(Enum):
    staging = "s"
    prod = "p"


def made(decorator: Any) -> Command:
    async def planner(ctx: Any, service: str, level: Level = Level.staging, token: Secret | None = None) -> Reply:
        """Say something."""
        return Reply(text=service)

    one: Command = decorator(planner)
    return one


async def silent(ctx: Any) -> Reply:
    return Reply()


def sync(ctx: Any) -> Reply:
    """Not async."""
    return Reply()


def rule(**options: Any) -> Any:
    return command("deploy", permission="deploy:run", approval=Approval(by="deploy:approve", **options))


@pytest.mark.parametrize(
    ("decorate", "fix"),
    [
        (lambda: command("say", permission="say:run")(silent), "'say': add a docstring; its first line is the help"),
        (lambda: action("say", permission="say:run")(silent), "'say': add a docstring"),
        (lambda: command("say", permission="say:run")(sync), "'say': should be an 'async def' function"),  # type: ignore[arg-type]
        (lambda: control("say")(sync), "'say': should be an 'async def' function"),  # type: ignore[arg-type]
        (lambda: step()(sync), "sync: a step should be an 'async def' function"),  # type: ignore[arg-type]
        (lambda: action("say", permission="say:run")(sync), "sync: a step should be an 'async def' function"),  # type: ignore[arg-type]
        (lambda: made(command("say", permission="say:run", risk="huge")), "risk 'huge' should be one of read, low, medium, high, critical"),
        (lambda: made(command("say", permission="run")), "permission 'run' should read 'bundle:verb', for instance 'deploy:run'"),
        (lambda: made(command("Say", permission="say:run")), "a name is one or two lower-case words"),
        (lambda: made(command("say it now", permission="say:run")), "a name is one or two lower-case words"),
        (lambda: made(command("say it", permission="say:run", slash=True)), "a slash command's own name is one word"),
        (lambda: made(rule(when={"enviroment": "prod"})), "its approval names 'enviroment', which is not an argument"),
        (lambda: made(rule(when={"level": "production"})), "its approval can never apply: level: should be 'staging' or 'prod'"),
        (lambda: made(rule(when={"level": []})), "its approval can never apply: level: an empty list matches nothing"),
        (lambda: made(rule(when={"token": "x"})), "its approval can never apply: token: a rule cannot look at a secret"),
        (lambda: step(timeout="soon")(silent), "timeout should be a duration"),
        (lambda: step(timeout="0s")(silent), "timeout should leave the step some time"),
        (lambda: action("speak", permission="say:run", visibilty="private")(silent), "visibilty"),
    ],
)
def test_an_authoring_mistake_fails_at_import_and_names_the_fix(decorate: Any, fix: str) -> None:
    with pytest.raises(TypeError, match=fix):
        decorate()


def test_a_step_is_described_and_never_called() -> None:
    called: list[str] = []

    async def touch(ctx: Context, name: str) -> None:
        called.append(name)

    touch.__annotations__["ctx"] = Any
    described = step()(touch)("x")
    assert described.title == "touch(name=x)"
    assert called == []


def test_annotations_that_are_text_are_read_in_the_authors_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "written_by_ada.py").write_text(
        "from __future__ import annotations\n"
        "from enum import Enum\n"
        "from countersign import Context, action\n"
        "class Colour(Enum):\n"
        "    red = 'r'\n"
        "@action('paint', permission='paint:run')\n"
        "async def paint(ctx: Context, colour: Colour) -> None:\n"
        "    '''Paint it.'''\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    module = __import__("written_by_ada")
    assert module.paint.usage == "/paint <colour>"
    assert module.paint.origin == "written_by_ada"
    assert module.paint.schema.parameters[0].choices == ("red",)


def test_what_authors_write_is_strictly_typed() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "-m", typing_examples.__name__],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ({}, "service: is required"),
        ({"service": "api", "colour": "red"}, "colour"),
        ({"service": "api", "token": "x"}, "token is a secret"),
    ],
)
def test_a_safe_target_that_does_not_fit_the_signature_is_refused_at_import(target: dict[str, Any], problem: str) -> None:
    with pytest.raises(TypeError, match=rf"command 'ship': rehearsal: .*{problem}"):

        @command("ship", permission="ship:run", rehearsal=target)
        async def ship(ctx: PlanningContext, service: str, token: Secret | None = None) -> Plan:
            """Ship it."""
            raise NotImplementedError


def test_a_safe_target_is_kept_as_it_is_written_and_an_action_has_none() -> None:
    @command("ship", permission="ship:run", rehearsal={"service": "canary"})
    async def ship(ctx: PlanningContext, service: str) -> Plan:
        """Ship it."""
        raise NotImplementedError

    assert ship.rehearsal == {"service": "canary"}
    with pytest.raises(TypeError, match="an action has none"):

        @action("sail", permission="ship:run", rehearsal={})
        async def sail(ctx: Context) -> None:
            """Sail."""
