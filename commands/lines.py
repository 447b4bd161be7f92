"""The words of each line beneath a card, and what people are told directly about a run."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from countersign.replies import Reply
from countersign.tallies import Verdict
from store.approvals import DecisionRow
from store.conversations import NewLine, say
from store.databases import WriteSession
from store.messages import NewMessage, add_messages, find_chat
from store.runs import RunRow

LONGEST: Final = 1_000
_DONE: Final = {Verdict.approve: "approves", Verdict.deny: "denies"}
_WITHDRAWS: Final = "withdraws the request"


async def say_vote(session: WriteSession, run: RunRow, row: DecisionRow) -> None:
    """One line for a vote."""
    withdraws = row.verdict == Verdict.deny and row.person == run.asker
    words = _WITHDRAWS if withdraws else _DONE[Verdict(row.verdict)]
    behalf = f" for {row.on_behalf}" if row.on_behalf else ""
    await say(session, NewLine(run.id, "vote", row.person, with_words(f"{words}{behalf}", row.reason)))


async def say_withdrawal(session: WriteSession, run: RunRow, *, reason: str) -> None:
    """The same line for an asker who takes the whole request back, whatever became of it so far."""
    await say(session, NewLine(run.id, "withdrawal", run.asker, with_words(_WITHDRAWS, reason)))


def with_words(said: str, words: str) -> str:
    """`denies: not today`; without words only what was done."""
    line = " ".join(words.split())[:LONGEST]
    return f"{said}: {line}" if line else said


def reply_about(run: RunRow, sentence: str) -> Reply:
    """A sentence about a run for one person alone."""
    return Reply(text=f"#{run.number} {run.command}: {sentence}")


async def tell_directly(session: WriteSession, run: RunRow, told: Mapping[str, Reply]) -> None:
    """Each reply to its person alone, in the chat where the run is shown; where it is shown nowhere yet, in the one it was asked in."""
    platform, team = await find_chat(session, run.id) or (run.place.get("platform"), run.place.get("team", ""))
    if platform in ("slack", "room"):
        await add_messages(session, [_message(platform, team, person, reply) for person, reply in told.items()])


def held_by(run: RunRow) -> str:
    """Who answers for a request: to whom it was handed over, else its asker."""
    return run.handed_to or run.asker


def names_of(people: Iterable[str | None], *, but: str) -> list[str]:
    """Each of these people once, in this order, without `but` and whoever is nobody."""
    return list(dict.fromkeys(one for one in people if one and one != but))


def _message(platform: str, team: str, person: str, reply: Reply) -> NewMessage:
    card: dict[str, Any] = reply.model_dump(mode="json")
    # It names no run: a run's own reply would go to the address its asker had asked from.
    return NewMessage(None, "reply", platform, team, person=person, card=card)
