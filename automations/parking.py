"""parking: a run that has to wait gives its claim back, holds no slot of a worker, and goes on when something wakes it."""

from store.journals import LostClaim
from store.waits import Waiting, WaitKind
from store.waits import park as park_run

from .calling import Work


async def park(work: Work, *waits: Waiting) -> None:
    """Ends the claim until one of these things comes; whoever takes the run then looks again what is missing. Raises LostClaim.

    Something may have come just before: whoever parks need not care, because the sweep wakes a run that has nothing to wait for any more.
    """
    async with work.services.transaction() as session:
        if not await park_run(session, work.run.id, attempt=work.attempt, waits=waits):
            raise LostClaim


def paused(by: str) -> Waiting:
    """Waits until somebody lets it go on."""
    return Waiting(WaitKind.pause, f"paused by {by}; somebody has to let it go on")
