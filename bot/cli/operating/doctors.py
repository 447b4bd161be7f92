"""`countersign doctor`: is every part well, and what to do about what is not."""

import asyncio
import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from bot.cli.endings import Failed, finish, new_app
from store.settings import Settings, WrongSetting

from .checks import examine
from .findings import Finding

app = new_app()


@app.command()
def doctor(*, as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False) -> None:
    """Check every part of the hub and say what to do about what is wrong; exit 1 when something is."""
    try:
        settings = Settings.read()
        findings = [Finding("settings", ok=True, said="can be used"), *asyncio.run(examine(settings))]
    except WrongSetting as error:
        findings = [Finding("settings", ok=False, said=str(error))]
    wrong = [one.part for one in findings if not one.ok]
    if as_json:
        print(json.dumps({"ok": not wrong, "findings": [asdict(one) for one in findings]}))
    else:
        for one in findings:
            print(f"{'ok   ' if one.ok else 'WRONG'}  {one.part:<9} {one.said}")
    sys.stdout.flush()
    if wrong:
        raise Failed(f"{len(wrong)} of {len(findings)} parts need care: {', '.join(wrong)}.")


if __name__ == "__main__":
    finish(app, name="countersign doctor")
