"""Commands that sign a ledger when they are carried out, and plan on a world that changes under them."""

from pathlib import Path

SOURCE = '''
"""Commands that sign a ledger."""

from pathlib import Path

from countersign import Context, Plan, PlanningContext, command, step

FOLDER = Path({folder!r})


@step(idempotent=True)
async def sign(ctx: Context, what: str) -> None:
    """Signs the ledger."""
    with (FOLDER / "ledger").open("a") as file:
        file.write(ctx.key.partition(":")[0] + "\\n")


def made(ctx: PlanningContext, what: str) -> Plan:
    ctx.watch("world", (FOLDER / "world").read_text())
    return Plan(f"signs for {{what}}", sign(what))
'''
COMMAND = '''

@command("{name}", permission="ledger:sign", risk="medium")
async def {name}(ctx: PlanningContext, what: str) -> Plan:
    """Sign the ledger."""
    return made(ctx, what)
'''


def write_ledger(folder: Path, names: tuple[str, ...]) -> Path:
    """The commands in the folder `commands`; returns the ledger that their steps sign."""
    (folder / "commands").mkdir()
    source = SOURCE.format(folder=str(folder)) + "".join(COMMAND.format(name=name) for name in names)
    (folder / "commands" / "ledgers.py").write_text(source)
    (folder / "world").write_text("0")
    (folder / "ledger").touch()
    return folder / "ledger"
