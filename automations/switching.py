"""Runs that a kill switch stands in the way of are not claimed: they wait outside of what is due, and go on when it is off."""

import logging
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from commands.switches import against_run, sentences
from countersign.runs import RunStatus
from store.switches import Held, Switch, find_held, find_marks, hold, let_go_on, show_again

from .services import Services

_log = logging.getLogger(__name__)
_TAKEN: Final = (RunStatus.submitted, RunStatus.planning, RunStatus.queued, RunStatus.running, RunStatus.undoing)
_PLANNED: Final = (RunStatus.submitted, RunStatus.planning)


async def without_held(
    services: Services, ids: Sequence[UUID], *, planning: bool, attempts: Mapping[UUID, int] | None = None
) -> list[UUID]:
    """Those of these runs that nothing stands in the way of; the others are held back. Costs nothing while no switch is on.

    `attempts` are those under which this worker has claimed the runs already, and gives them back.
    """
    if not services.rulebook.switches and attempts is None:
        return list(ids)
    async with services.transaction() as session:
        switches = await services.current_switches(session)
        found = {one.run_id: against_run(switches, one, planning=planning) for one in await find_marks(session, ids)}
        for run_id, because in found.items():
            if because:
                await hold(session, [run_id], because=because, attempt=attempts[run_id] if attempts else None)
    return [one for one, because in found.items() if not because]


class SwitchTender:
    """What housekeeping does about switches: it frees what no switch holds any more, and shows every change on the cards."""

    def __init__(self) -> None:
        self._shown: tuple[Switch, ...] | None = None

    async def tend(self, services: Services) -> None:
        """To be called every second; costs two look-ups in small tables while nothing changes."""
        async with services.reading() as session:
            switches = await services.current_switches(session)
            held = await find_held(session)
        said = set(sentences(switches))
        free = [one.run_id for one, because in held if one.status not in _TAKEN or not (because in said or _against(switches, one))]
        if free:
            async with services.transaction() as session:
                await let_go_on(session, free, statuses=_TAKEN)
        if switches != self._shown:
            await self._show(services, switches)

    async def _show(self, services: Services, switches: tuple[Switch, ...]) -> None:
        async with services.transaction() as session:
            count = await show_again(session)
        for sentence in sentences(switches):
            _log.warning("%s", sentence)
        if self._shown or switches:
            _log.info("%d cards are brought up to date about what is stopped", count)
        self._shown = switches


def _against(switches: Sequence[Switch], run: Held) -> str:
    return against_run(switches, run, planning=run.status in _PLANNED)
