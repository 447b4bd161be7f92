"""A long answer as the text of a file, for who would rather have it in Slack than follow a link."""

from collections.abc import Iterator
from uuid import UUID

from countersign.replies import Card, Reply


def text_of(reply: Reply) -> str:
    """All that the answer says, without buttons and forms."""
    parts = [reply.text, reply.code, *(_parts(reply.card) if reply.card else ())]
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"


def file_name(message: UUID) -> str:
    """The name by which the file of this message is known again: nothing else in a channel has it."""
    return f"answer-{message.hex[-12:]}.txt"


def _parts(card: Card) -> Iterator[str]:
    yield card.title
    yield card.text
    yield "\n".join(f"{one.label}: {one.value}" for one in card.fields)
    yield card.code
    yield card.footer
