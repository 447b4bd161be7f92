"""`countersign policy check FILE`: what is wrong with a policy, before anybody applies it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from bot.cli.endings import Failed, finish, new_app
from bot.cli.files import read_text
from bot.cli.reaching import read_settings
from commands.checks import check_policy, notes_on
from commands.policies import PolicyError, compile_policy
from commands.registries import RegistryError, load_registry
from countersign.commands import Command

app = new_app()


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Check a policy against the commands that are installed here."""
    problems, notes = find_problems(file)
    if as_json:
        print(json.dumps({"file": str(file), "ok": not problems, "problems": problems, "notes": notes}))
    else:
        print("\n".join([*problems, *(f"note: {one}" for one in notes)] + ([] if problems else [f"{file} can be applied."])))
    if problems:
        raise Failed(f"{file} has {len(problems)} problem{'s' if len(problems) > 1 else ''}.")


def find_problems(file: Path) -> tuple[list[str], list[str]]:
    """Problems and notes, one sentence each; raises WrongCall when there is no such file, Failed when the commands cannot be loaded."""
    body = read_text(file)
    commands = commands_here()
    try:
        policy = compile_policy(body)
    except PolicyError as error:
        return [str(error)], []
    return check_policy(policy, commands), notes_on(policy, commands)


def commands_here() -> Mapping[str, Command]:
    """The commands that are installed here; raises Failed when they cannot be loaded."""
    settings = read_settings()
    try:
        return load_registry(folder=settings.commands, runbooks=settings.runbooks).commands
    except (RegistryError, TypeError) as error:
        raise Failed(f"The commands cannot be loaded: {error}") from None


if __name__ == "__main__":
    finish(app, name="countersign policy check")
