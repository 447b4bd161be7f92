"""locking: a run takes all its locks before it begins; while others are before it, it waits for its turn, is refused, or replaces them."""

from collections.abc import Sequence
from typing import Final

from commands.locks import locks_of, sentence_of, wanted_of
from countersign.commands import Command
from countersign.locks import Lock
from countersign.runs import RunStatus
from store.databases import WriteSession
from store.halts import ask_to_cancel
from store.journals import LostClaim
from store.locks import InTheWay, find_since, leave_line, let_go, show_line, take_locks
from store.runs import Move, move
from store.waits import Waiting, WaitKind, wake
from store.waits import park as park_run

from .calling import Work

_REPLACED: Final = (RunStatus.queued, RunStatus.running, RunStatus.waiting)


async def take_turn(work: Work, command: Command) -> str | None:
    """Empty when the run holds all its locks, a sentence when it is refused, None when it waits. Raises LostClaim."""
    locks = locks_of(command, work.run.arguments)
    if not locks:
        return ""
    async with work.services.transaction() as session:
        ahead = await _taken(work, session, command)
        if ahead and await _replaced(session, work, ahead, locks):
            ahead = await _taken(work, session, command)
        if not ahead:
            await show_line(session, list(locks))
            return ""
        refusing = [one for one in ahead if locks[one.name].conflict == "refuse"]
        if refusing:
            await leave_line(session, work.run.id)
            return sentence_of(refusing, seen_by=work.run)
        await _wait(work, session, ahead)
    return None


async def give_turn_back(work: Work) -> None:
    """The run does not begin after all and stays queued: others may."""
    async with work.services.transaction() as session:
        await let_go(session, work.run.id, attempt=work.attempt)


async def leave_turn(work: Work) -> None:
    """The run may not begin before some later time, so it is not in line."""
    if work.command is None or not work.command.locks:
        return
    async with work.services.transaction() as session:
        await leave_line(session, work.run.id)


async def _taken(work: Work, session: WriteSession, command: Command) -> list[InTheWay]:
    wanted = wanted_of(command, work.run.arguments)
    ahead = await take_locks(session, work.run.id, wanted, attempt=work.attempt, priority=command.rank)
    if ahead is None:
        raise LostClaim
    return ahead


async def _wait(work: Work, session: WriteSession, ahead: Sequence[InTheWay]) -> None:
    since = await find_since(session, work.run.id)
    names = {one.name for one in ahead}
    told = {name: sentence_of([one for one in ahead if one.name == name], seen_by=work.run) for name in sorted(names)}
    waits = [Waiting(WaitKind.lock, said, subject=name, since=since) for name, said in told.items()]
    if not await park_run(session, work.run.id, attempt=work.attempt, waits=waits):
        raise LostClaim


async def _replaced(session: WriteSession, work: Work, ahead: Sequence[InTheWay], locks: dict[str, Lock]) -> bool:
    """Cancels older runs at locks that replace; those under way are asked to stop. Whether any has ended at once."""
    older = {
        one.run_id: one
        for one in ahead
        if locks[one.name].conflict == "replace" and one.number < work.run.number and RunStatus(one.status) in _REPLACED
    }
    said = f"Replaced by run #{work.run.number} of {work.run.asker}."
    wanted = [
        Move(
            one,
            RunStatus.cancelled,
            by=work.run.asker,
            because=f"replaced by run #{work.run.number}",
            outcome=said,
            come_from=(RunStatus.queued,),
        )
        for one in older
    ]
    ended = await move(session, wanted)
    for one in older.values():
        if one.run_id not in ended and await ask_to_cancel(session, one.run_id, by=work.run.asker):
            await wake(session, [one.run_id], by=work.run.asker, because=said)
    return bool(ended)
