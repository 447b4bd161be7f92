"""catalogues: what the owner of a command should look at: nobody asks for it, nobody owns it, it mostly fails, or it is to be given up."""

from typing import Any, Final

from countersign.commands import Command

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
        ("mostly failing", used.bad > used.good and used.bad >= FEW),
    )
    return [words for words, so in found if so]
