"""A plugin whose world is two files: a level that plans rest on, and a book of what was really done."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

SOURCE: Final = '''
from pathlib import Path

from countersign import Approval, Context, Plan, PlanningContext, command, step

LEVEL, BOOK = Path({level!r}), Path({book!r})


@step()
async def put(ctx: Context, name: str, level: int) -> None:
    with BOOK.open("a") as book:
        book.write(f"{{name}} {{level}}\\n")


@command("stock", permission="shelf:run", risk="high", approval=Approval(by="shelf:approve", count=1))
async def stock(ctx: PlanningContext, name: str) -> Plan:
    """Put one more of something on the shelf."""
    level = int(LEVEL.read_text())
    ctx.watch("level", level)
    return Plan(f"{{name}}: {{level}} → {{level + 1}}", put(name, level + 1))
'''


@dataclass
class Shelf:
    """Where the plugin and its world are."""

    folder: Path

    def __post_init__(self) -> None:
        self.commands.mkdir()
        self.book.touch()
        self.fill(1)
        self.upgrade("")

    @property
    def commands(self) -> Path:
        return self.folder / "commands"

    @property
    def book(self) -> Path:
        return self.folder / "book.txt"

    def fill(self, level: int) -> None:
        """Somebody else changes the world."""
        (self.folder / "level.txt").write_text(str(level))

    def upgrade(self, comment: str) -> None:
        """Another version of the plugin is installed."""
        source = SOURCE.format(level=str(self.folder / "level.txt"), book=str(self.book))
        (self.commands / "shelf.py").write_text(source + (f"\n# {comment}\n" if comment else ""))

    @property
    def done(self) -> list[str]:
        """What was really done, line by line."""
        return self.book.read_text().splitlines()
