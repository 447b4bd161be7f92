"""waking: parked runs that have something to go on with are woken; any number of housekeepers may do so at once."""

from automations.services import Services
from countersign.runs import FINISHED
from store.waits import find_ripe, forget_waits, wake

_FINISHED = sorted(FINISHED)


async def wake_ripe(services: Services) -> int:
    """Wakes the runs whose due time has passed and those that nothing holds any more; returns how many."""
    async with services.reading() as session:
        ripe = await find_ripe(session, finished=_FINISHED)
    if not ripe:
        return 0
    async with services.transaction() as session:
        return len(await wake(session, ripe))


async def forget_old_waits(services: Services) -> None:
    """What runs that have ended in another way once waited for."""
    async with services.transaction() as session:
        await forget_waits(session)
