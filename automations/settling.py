"""settling: how a worker lets go of a run that it holds, by a move or by giving it back, and what the journal says about it."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from countersign.runs import RunStatus
from store import claims
from store.beginnings import end_runs, move_alone
from store.journals import Finished, LostClaim, Phase, StepRow, find_steps
from store.locks import let_go
from store.runs import Move
from store.switches import hold

from .calling import Work
from .services import Services


async def settle(
    work: Work,
    to: RunStatus,
    *,
    because: str = "",
    outcome: str | None = None,
    keep_lease: bool = False,
    result: dict[str, Any] | None = None,
    detail: dict[str, Any] | None = None,
    last: Finished | None = None,
) -> None:
    """Moves the run under this worker's claim, and its `last` step with it; raises LostClaim when the claim has ended."""
    wanted = Move(
        work.run.id,
        to,
        by="countersign",
        attempt=work.attempt,
        because=because,
        outcome=outcome,
        keep_lease=keep_lease,
        result=result,
        detail=detail or {},
    )
    if last is not None:
        if not await work.services.together(_end_all, (wanted, last)):
            raise LostClaim
        return
    shown = await work.services.insist_alone(partial(move_alone, one=wanted))
    if shown is None:
        raise LostClaim
    if shown:
        work.services.teller.tell()


async def _end_all(services: Services, ends: Sequence[tuple[Move, Finished]]) -> list[bool]:
    """Whether each of these runs has ended here. Only what is written alone is insisted on: so trouble with one is not the others'."""
    if len(ends) == 1:
        moved, shown = await services.insist_alone(partial(end_runs, ends=ends))
    else:
        async with services.plain_statement() as driver:
            moved, shown = await end_runs(driver, ends)
    if shown:
        services.teller.tell()
    return [one.run_id in moved for one, _ in ends]


async def give_back(work: Work, because: str) -> None:
    """Ends the claim without a move: the run goes on where it is once the switch is off. Raises LostClaim."""
    async with work.services.transaction() as session:
        if not await hold(session, [work.run.id], because=because, attempt=work.attempt):
            raise LostClaim


async def hand_on(work: Work, *, begun: bool = True, after: float = 0.0) -> None:
    """Ends the claim without a move: whoever is free goes on at once or `after` seconds; one that has not begun keeps no lock.

    Raises LostClaim.
    """
    async with work.services.transaction() as session:
        if not begun:
            await let_go(session, work.run.id, attempt=work.attempt)
        if not await claims.give_back(session, work.run.id, attempt=work.attempt, worker=work.services.name, after=after):
            raise LostClaim


async def journal_of(work: Work) -> list[StepRow]:
    async with work.services.reading() as session:
        return await find_steps(session, work.run.id, revision=work.run.revision)


def steps_of(work: Work) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = (work.run.plan or {})["steps"]
    return steps


def step_of(work: Work, row: StepRow) -> dict[str, Any]:
    step = steps_of(work)[row.position]
    undo: dict[str, Any] = step["undo"]
    return undo if row.phase == Phase.undo else step


def listed(titles: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and 3 more`."""
    if len(titles) > 3:
        return f"{', '.join(titles[:2])} and {len(titles) - 2} more"
    return " and ".join(filter(None, [", ".join(titles[:-1]), titles[-1]]))
