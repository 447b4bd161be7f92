"""What comes after an answer as a file: all of a long one, as text, for who would rather have it in Slack; and its picture."""

from collections.abc import Iterator
from typing import Final
from uuid import UUID

from countersign.replies import Card, Reply

PICTURE: Final = ".png"


def text_of(reply: Reply) -> str:
    """All that the answer says, without buttons and forms."""
    parts = [reply.text, reply.code, *(_parts(reply.card) if reply.card else ())]
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"


def file_name(message: UUID) -> str:
    """The name by which the file of this message is known again: nothing else in a channel has it."""
    return f"answer-{message.hex[-12:]}.txt"


def picture_name(message: UUID) -> str:
    """The same for its picture."""
    return f"picture-{message.hex[-12:]}{PICTURE}"


def _parts(card: Card) -> Iterator[str]:
    yield card.title
    yield card.text
    yield "\n".join(f"{one.label}: {one.value}" for one in card.fields)
    yield card.code
    yield card.footer
