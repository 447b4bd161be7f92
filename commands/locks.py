"""locks: which locks a run takes, and the words that say who is in its way."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from countersign.commands import Command
from countersign.locks import Lock
from store.databases import ReadSession
from store.locks import InTheWay, Wanted, find_in_the_way
from store.runs import RunRow

from .requests import Refused

MOST_NAMED = 3


def locks_of(command: Command, arguments: Mapping[str, Any]) -> dict[str, Lock]:
    """The locks of a run with these canonical arguments, by name."""
    return {one.named(arguments): one for one in command.locks}


def wanted_of(command: Command, arguments: Mapping[str, Any]) -> list[Wanted]:
    """The same as the store takes them."""
    return [Wanted(name, one.most) for name, one in locks_of(command, arguments).items()]


def sentence_of(ahead: Sequence[InTheWay], *, seen_by: RunRow) -> str:
    """`run 12, which holds deploy prod`; a private run of others is not named on the card of one that staff may read."""
    holding = [one for one in ahead if one.holds]
    before = [one for one in ahead if not one.holds]
    parts = [f"{_run(one, seen_by)}, which {_doing(one)}" for one in holding[:MOST_NAMED]]
    if len(holding) > MOST_NAMED:
        parts.append(f"{len(holding) - MOST_NAMED} more that hold it")
    if before:
        first = _run(before[-1], seen_by)
        parts.append(
            f"{len(before)} in line before it"
            if len(before) > 1 or holding
            else f"{first}, which is before it in line for {before[0].name}"
        )
    return "; ".join(parts)


async def refused_by_lock(
    session: ReadSession, command: Command, arguments: Mapping[str, Any], run_id: UUID, run: RunRow
) -> Refused | None:
    """For a command whose lock refuses: that somebody holds or wants it now, before anybody is asked to approve."""
    names = [name for name, one in locks_of(command, arguments).items() if one.conflict == "refuse" and one.most == 1]
    ahead = await find_in_the_way(session, names, run_id=run_id) if names else []
    return Refused(f"Not now: {sentence_of(ahead, seen_by=run)}. Ask again when that has ended.", "lock") if ahead else None


def _run(one: InTheWay, seen_by: RunRow) -> str:
    return f"run #{one.number}" if one.visibility in ("staff", seen_by.visibility) else "a private run"


def _doing(one: InTheWay) -> str:
    more = " and is interrupted: somebody has to say what happened" if one.status == "interrupted" else ""
    return f"holds {one.name}{more}"
