"""`countersign policy check FILE`: what is wrong with a policy, before anybody applies it."""

import json
from pathlib import Path
from typing import Annotated

import typer

from bot.cli.endings import Failed, finish, new_app
from bot.cli.files import read_text
from bot.cli.reaching import read_settings
from commands.policies import PolicyError, check_policy, compile_policy
from commands.registries import RegistryError, load_registry

app = new_app()


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Check a policy against the commands that are installed here."""
    problems = find_problems(file)
    if as_json:
        print(json.dumps({"file": str(file), "ok": not problems, "problems": problems}))
    else:
        print("\n".join(problems) or f"{file} can be applied.")
    if problems:
        raise Failed(f"{file} has {len(problems)} problem{'s' if len(problems) > 1 else ''}.")


def find_problems(file: Path) -> list[str]:
    """One sentence each; raises WrongCall when there is no such file, Failed when the commands cannot be loaded."""
    body = read_text(file)
    settings = read_settings()
    try:
        commands = load_registry(folder=settings.commands, runbooks=settings.runbooks).commands
    except (RegistryError, TypeError) as error:
        raise Failed(f"The commands cannot be loaded: {error}") from None
    try:
        return check_policy(compile_policy(body), commands)
    except PolicyError as error:
        return [str(error)]


if __name__ == "__main__":
    finish(app, name="countersign policy check")
