"""doubting: calls that were under way when their worker died and may not be repeated: whoever can say what became of them is asked."""

from collections.abc import Iterable, Sequence

from countersign.runs import RunStatus
from store.journals import Phase, StepRow, StepState, settle_steps

from .calling import Work
from .halting import Watch
from .inquiring import Said, inquire, may_ask, told_of
from .settling import listed, settle, step_of
from .trying import key_of


async def in_doubt(work: Work, rows: Sequence[StepRow], phase: Phase) -> bool:
    """Whether such calls leave the run to a person. A person's word on them is taken up first; then the other side is asked."""
    doubtful = [row for row in rows if row.phase == phase and row.state == StepState.calling and not step_of(work, row)["idempotent"]]
    choice = work.run.choice
    if choice in ("happened", "again"):
        await resolve(work, doubtful or _failed(rows, phase), phase, happened=choice == "happened")
        return False
    if not doubtful or choice == "undo":
        return False
    left = await _look_up(work, rows, doubtful, phase)
    if left:
        await _interrupt(work, [row for row, _ in left], phase, told="".join(told for _, told in left))
    return bool(left)


async def _look_up(work: Work, rows: Sequence[StepRow], doubtful: Sequence[StepRow], phase: Phase) -> list[tuple[StepRow, str]]:
    """Those that are in doubt still, and for each of them who was asked in vain."""
    if not any(step_of(work, row).get("lookup") for row in doubtful) or not await may_ask(work, phase):
        return [(row, "") for row in doubtful]
    results = {row.position: row.result for row in rows if row.phase == Phase.do and row.state == StepState.done}
    left: list[tuple[StepRow, str]] = []
    async with Watch(work, undoing=phase == Phase.undo) as watch:
        for row in doubtful:
            step = step_of(work, row)
            if not step.get("lookup"):
                left.append((row, ""))
                continue
            answer = await inquire(work, key_of(work, row.position, phase), step, results, watch, made_by=row.worker)
            if answer.said is Said.unclear:
                left.append((row, f" {told_of(step, answer).rstrip('.')}."))
    return left


async def _interrupt(work: Work, rows: Sequence[StepRow], phase: Phase, *, told: str) -> None:
    titles = [step_of(work, row)["title"] for row in rows]
    several = len(titles) > 1
    await settle(
        work,
        RunStatus.interrupted,
        because=f"its worker died during {'calls' if several else 'a call'} that must not be repeated",
        outcome=f"{listed(titles)} {'were' if several else 'was'} under way when {'their' if several else 'its'} worker died;"
        f" {'they' if several else 'it'} may have happened.{told}",
        detail={"position": rows[0].position, "positions": [row.position for row in rows], "phase": phase, "in_flight": True},
    )


async def resolve(work: Work, rows: Iterable[StepRow], phase: Phase, *, happened: bool) -> None:
    """A person's word on these steps."""
    positions = [row.position for row in rows]
    async with work.services.transaction() as session:
        await settle_steps(session, work.run.id, revision=work.run.revision, phase=phase, positions=positions, happened=happened)


async def take_back_all(work: Work, rows: Sequence[StepRow]) -> None:
    """A person wants the run undone: whether or not what was under way happened, it is taken back."""
    flying = [row for row in rows if row.phase == Phase.do and row.state == StepState.calling]
    await resolve(work, flying or _failed(rows, Phase.do), Phase.do, happened=True)


def _failed(rows: Sequence[StepRow], phase: Phase) -> list[StepRow]:
    return [row for row in rows if row.phase == phase and row.state == StepState.failed]
