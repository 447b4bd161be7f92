"""new command: a small working command and its test, to be changed into what is needed."""

import keyword
import re
from pathlib import Path
from typing import Annotated, Final

import typer

from .endings import Failed, WrongCall

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}\Z")
_CONFIGURATIONS: Final = ("pytest.toml", "pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg")
_COMMAND: Final = '''"""The command {name}."""

from countersign import Context, Plan, PlanningContext, command, step


@step(idempotent=True, timeout="1m")
async def carry_out_{function}(ctx: Context, target: str) -> str:
    # Runs after the approvals, in a worker. idempotent=True says that it may be repeated after a crash.
    await ctx.progress(1, 2, f"looking at {{target}}")
    await ctx.log(f"{{ctx.asker.name}} asked for {{target}}")
    await ctx.progress(2, 2, "done")
    return f"{{target}} is done"


@command("{name}", permission="{name}:run", risk="medium")
async def {function}(ctx: PlanningContext, target: str) -> Plan:
    """Say here, in one line, what it does: people read it in help."""
    # Plans only: the steps named here run later, and exactly as they were shown.
    return Plan(f"{name} for {{target}}", carry_out_{function}(target))
'''
_TEST: Final = '''"""What the command {name} promises, on the real engine."""

from pathlib import Path

import pytest

from kit.bots import Bot


@pytest.fixture(autouse=True)
def _commands_of_this_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERSIGN_COMMANDS", str(Path(__file__).parents[1]))


async def test_{function}_does_what_was_asked(bot: Bot) -> None:
    (ada,) = bot.cast("ada", may=["{name}:run"])
    run = await ada.say("/{name} api")
    assert run.succeeded
    assert run.result == "api is done"


async def test_a_dry_run_only_plans(bot: Bot) -> None:
    (ada,) = bot.cast("ada", may=["{name}:run"])
    run = await ada.say("/{name} api --dry-run")
    assert run.summary == "{name} for api"
    assert run.status == "answered"


async def test_{function}_takes_a_permission(bot: Bot) -> None:
    (eve,) = bot.cast("eve")
    answer = await eve.ask("/{name} api")
    assert "{name}:run" in answer.reply.text
'''
_CONFIGURATION: Final = """[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
addopts = --import-mode=importlib
"""


def new_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What people will type: lower case, as in 'restart-api'.")],
) -> None:
    """Write NAME.py and tests/test_NAME.py in this folder: a command that works, and a test that passes, as they stand."""
    if not _NAME.match(name):
        raise WrongCall(f"{name!r} is no command's name: it begins with a letter and has only a-z, 0-9, - and _, at most 40 of them.")
    function = name.replace("-", "_")
    function += "_" if keyword.iskeyword(function) else ""
    files = {Path(f"{function}.py"): _COMMAND, Path("tests") / f"test_{function}.py": _TEST}
    if not any(Path(one).exists() for one in _CONFIGURATIONS):
        files[Path("pytest.ini")] = _CONFIGURATION
    for path in files:
        if path.exists():
            raise Failed(f"{path} is there already; nothing was written.")
    for path, template in files.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(template.format(name=name, function=function), encoding="utf-8")
        print(f"wrote {path}")
    print(f"Test it: pytest tests/test_{function}.py")
    print("Run it:  COUNTERSIGN_COMMANDS=. countersign up --demo --reload")
