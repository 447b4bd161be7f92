"""What a person reads when a command answers them at once."""

from kit.bots import Member


async def said(person: Member, line: str) -> str:
    """The text of the answer, and its lines."""
    reply = (await person.ask(line)).reply
    return "\n".join(filter(None, (reply.text, reply.code)))
