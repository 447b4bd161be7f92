"""`countersign policy test FILE`: a table of who, what and where, decided under a policy; for CI."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from bot.cli.endings import Failed, WrongCall, finish, new_app
from bot.cli.files import read_text
from commands.policies import PolicyError, bind, compile_policy
from commands.policytests import Result, read_table, run_table

from .policychecks import commands_here

app = new_app()


@app.command()
def decide(
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    *,
    policy: Annotated[Path | None, typer.Option(metavar="FILE", help="The policy; without it, the one that the table names.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Decide every case of a table under a policy; exit 1 if one is not as wanted."""
    results = find_results(file, policy)
    wrong = [one for one in results if one.problems]
    if as_json:
        cases = [{"line": one.line, "ok": not one.problems, "problems": list(one.problems)} for one in results]
        print(json.dumps({"file": str(file), "ok": not wrong, "cases": cases}))
    else:
        print("\n".join(map(str, wrong)) or f"All {len(results)} cases are as wanted.")
    if wrong:
        raise Failed(f"{len(wrong)} of {len(results)} cases of {file} are not as wanted.")


def find_results(file: Path, policy: Path | None) -> list[Result]:
    """Raises WrongCall for a file that is not there or names no policy, Failed for one that cannot be read."""
    try:
        table, lines = read_table(read_text(file))
        if policy is None and not table.policy:
            raise WrongCall(f"{file} names no policy: add a key such as policy: policy.yaml, or say which with --policy FILE.")
        commands = commands_here()
        bound = bind(compile_policy(read_text(policy or file.parent / table.policy)), commands)
    except PolicyError as error:
        raise Failed(str(error)) from None
    return list(run_table(table, lines, bound, commands, now=datetime.now(UTC)))


if __name__ == "__main__":
    finish(app, name="countersign policy test")
