"""The tables of this folder, read from the pages an auditor reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PERSONAS = ("nobody", "guest", "outsider", "staff", "approver", "asker", "admin", "leaver", "service")
FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Row:
    """One line of a table: where it stands, and its cells by the heading of their column."""

    place: str
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    @property
    def expected(self) -> dict[str, str]:
        """The decision for each persona."""
        return {one: self.cells[one] for one in PERSONAS}


def read_table(page: str) -> list[Row]:
    """The rows of all tables of a page of this folder; raises AssertionError for a line with too many or too few cells."""
    rows: list[Row] = []
    heads: Sequence[str] = ()
    for number, line in enumerate((FOLDER / page).read_text(encoding="utf-8").splitlines(), start=1):
        if not line.startswith("|"):
            heads = ()
            continue
        cells = [one.strip().strip("`") for one in line.strip().strip("|").split("|")]
        if not heads:
            heads = cells
        elif set(cells[0]) <= {"-", ":"}:
            continue
        else:
            assert len(cells) == len(heads), f"{page} line {number} has {len(cells)} cells, and its table {len(heads)} columns"
            rows.append(Row(f"{page} line {number}", dict(zip(heads, cells, strict=True))))
    return rows


def undecided(found: Mapping[str, str], stated: Sequence[str], *, page: str) -> list[str]:
    """A sentence for each thing that was found and has no row, and for each row of something that is not there any more."""
    missing = [f"{name}: {what}. Nobody has said who may use it: add a row to tests/matrix/{page}." for name, what in found.items()]
    missing = [one for name, one in zip(found, missing, strict=True) if name not in stated]
    gone = [f"{name} stands in tests/matrix/{page}, and there is no such thing any more: take the row out." for name in stated]
    return missing + [one for name, one in zip(stated, gone, strict=True) if name not in found]
