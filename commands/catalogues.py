"""catalogues: what an owner should look at: nobody asks for it or owns it, it mostly fails, or it is to be given up or rehearsed."""

from typing import Any, Final

from countersign.commands import Command
from store.figures import PROVEN_DAYS

FEW: Final = 5
UNUSED: Final = "unused"


def is_shipped(one: Command) -> bool:
    """Whether it is Countersign's own, which Countersign keeps."""
    return one.origin.startswith("commands.")


def marks_of(one: Command, used: Any) -> list[str]:
    """What there is to look at; `used` are its figures of the last days."""
    found = (
        (UNUSED, not is_shipped(one) and not used.asked),
        ("ownerless", not is_shipped(one) and not one.owner),
        (f"deprecated: {one.deprecated}", bool(one.deprecated)),
        (f"retired: {one.retired}", bool(one.retired)),
        (f"undo not verified for {PROVEN_DAYS} days", one.rehearsal is not None and not used.proven),
        ("mostly failing", used.bad > used.good and used.bad >= FEW),
    )
    return [words for words, so in found if so]
