"""Ada ships things; Lin, Kim and Max approve; Eve is outside. What was really shipped stands in a book."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from bot.presses import Press
from countersign.invocations import Door
from countersign.replies import Form, Reply
from kit.bots import Bot, Member, RunHandle
from kit.fixtures import open_bot
from store.databases import reading
from store.embedded import DatabaseUrls
from store.runs import RunRow, find_run

COMMANDS: Final = '''
from pathlib import Path

from countersign import Approval, Context, Plan, PlanningContext, PlanRefused, Secret, command, step

BOOK = Path({book!r})


@step(idempotent=True)
async def ship(ctx: Context, what: str, where: str) -> None:
    with BOOK.open("a") as book:
        book.write(f"{{what}} to {{where}}\\n")


@step(idempotent=True)
async def store(ctx: Context, name: str, value: Secret) -> None:
    with BOOK.open("a") as book:
        book.write(f"{{name}} is {{value.reveal()}}\\n")


@command("ship", permission="ship:run", approval=Approval(by="ship:approve", count=2))
async def shipping(ctx: PlanningContext, what: str, where: str = "staging", urgent: bool = False) -> Plan:
    """Ship something somewhere."""
    if what == "nothing":
        raise PlanRefused("There is nothing to ship.")
    return Plan(f"{{what}} goes to {{where}}", ship(what, where))


@command("parcel", permission="ship:run", approval=Approval(by="ship:approve", editor_may=True))
async def parcel(ctx: PlanningContext, what: str, where: str = "staging") -> Plan:
    """Ship one thing; who changes it may approve it."""
    return Plan(f"{{what}} goes to {{where}}", ship(what, where))


@command("carry", permission="ship:run")
async def carry(ctx: PlanningContext, what: str) -> Plan:
    """Carry something; policy says who approves that."""
    return Plan(f"{{what}} is carried", ship(what, "door"))


@command("rotate", permission="ship:run", approval=Approval(by="ship:approve"))
async def rotate(ctx: PlanningContext, name: str, value: Secret) -> Plan:
    """Give a key another value."""
    return Plan(f"{{name}} gets another value", store(name, value))
'''
NAMES: Final = ("ada", "lin", "kim", "max", "eve")


def write_ships(folder: Path) -> Path:
    """The folder of the commands."""
    (folder / "commands").mkdir()
    (folder / "commands" / "ships.py").write_text(COMMANDS.format(book=str(folder / "book")))
    return folder / "commands"


@asynccontextmanager
async def open_crew(urls: DatabaseUrls, folder: Path) -> AsyncIterator[Bot]:
    async with open_bot(urls, folder, commands=write_ships(folder)) as bot:
        bot.cast("ada", may=["ship:run"])
        bot.cast("lin", "kim", "max", may=["ship:approve", "ship:run"])
        bot.cast("eve", may=["countersign:use"])
        yield bot


def cast(crew: Bot) -> tuple[Member, ...]:
    return tuple(Member(crew, name) for name in NAMES)


def book(folder: Path) -> list[str]:
    path = folder / "book"
    return path.read_text().splitlines() if path.exists() else []


async def row(crew: Bot, run: RunHandle) -> RunRow:
    async with reading(crew.services.engine) as session:
        found = await find_run(session, run.id)
    assert found is not None
    return found


async def told(crew: Bot, name: str, run: RunHandle) -> list[Reply]:
    """What this person was told directly about the run, first to last."""
    sign = f"#{(await row(crew, run)).number} "
    replies = [Reply.model_validate(one.card) for one in await crew.messages(name) if one.kind == "reply" and one.run_id is None]
    return [one for one in replies if (one.card.title if one.card else one.text).startswith(sign)]


async def form(crew: Bot, who: Member, intent: str, target: Any) -> Form:
    """The form that this person's press opens."""
    reply = await crew.hub.press(await crew.person(who.name), Press(str(uuid4()), intent, str(target), Door.browser))
    assert reply.form is not None, reply.text
    return reply.form


async def fields(crew: Bot, run: RunHandle) -> dict[str, str]:
    """The fields of the run's card."""
    return {one.label: one.value for one in (await crew.card(run)).fields}
