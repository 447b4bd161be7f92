"""A command of three steps whose second waits for a file, so that something can happen in the middle."""

from pathlib import Path

SOURCE = '''
"""A command of three steps whose second waits for a file."""

import asyncio
from pathlib import Path

from countersign import Context, Plan, PlanningContext, command, step

HERE = Path({folder!r})


@step(idempotent=True)
async def put(ctx: Context, what: str) -> None:
    with (HERE / "trace").open("a") as trace:
        trace.write("+" + what + "\\n")


@step(idempotent=True)
async def take(ctx: Context, what: str) -> None:
    with (HERE / "trace").open("a") as trace:
        trace.write("-" + what + "\\n")


@step(idempotent=True)
async def wait(ctx: Context) -> None:
    with (HERE / "trace").open("a") as trace:
        trace.write("waits\\n")
    while not (HERE / "gate").exists():
        await asyncio.sleep(0.01)


@command("convoy", permission="convoy:run", risk="medium")
async def convoy(ctx: PlanningContext, how: str = "undoable") -> Plan:
    """Do three things, one after the other."""
    first = put("a").undone_by(take("a")) if how == "undoable" else put("a")
    return Plan("three things", *([] if how == "at once" else [first]), wait(), put("c"))
'''


def write_convoy(folder: Path) -> None:
    """The command in the folder `commands`; its steps write what they do into the file `trace`, the second waits for the file `gate`."""
    (folder / "commands").mkdir()
    (folder / "commands" / "convoys.py").write_text(SOURCE.format(folder=str(folder)))


def traced(folder: Path) -> str:
    """What the steps did, in order."""
    return " ".join((folder / "trace").read_text().split()) if (folder / "trace").exists() else ""
