"""walking: a plan's steps in their shape, from wherever the journal says that they are."""

import asyncio
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from countersign.shapes import Node, chosen, shape_of
from countersign.values import REF_KEY
from store.beginnings import Start
from store.journals import Begun, Finished, Phase, StepKey, StepRow, StepState
from store.waits import Waiting

from .calling import Ended, Outcome, Work
from .guarding import watch_step
from .halting import Gate, Watch, begin
from .journaling import write_end
from .settling import steps_of
from .trying import key_of, take_step


@dataclass(frozen=True)
class Stop:
    """A step that did not end well, and how."""

    position: int
    outcome: Outcome


@dataclass
class Ahead:
    """The node that comes next in a row, taken by whoever asks first whether there is one."""

    left: Iterator[Node]

    @cached_property
    def node(self) -> Node | None:
        return next(self.left, None)


@dataclass
class Walk:
    """One way through a plan. `results` are those of the steps done, by position; `stops` are the ends that stopped it,
    `waits` is what it has to wait for. The step that began with the run, if `start` says so, is not called yet. The `last` of all is done,
    which the run's own end is to say."""

    work: Work
    rows: Sequence[StepRow]
    start: Start | None = None
    results: dict[int, Any] = field(default_factory=dict)
    stops: list[Stop] = field(default_factory=list)
    waits: dict[tuple[str, str], Waiting] = field(default_factory=dict)
    last: Finished | None = None

    def __post_init__(self) -> None:
        self._rows = {row.position: row for row in self.rows if row.phase == Phase.do}
        self._guards = {row.position: row.state for row in self.rows if row.phase == Phase.guard}
        self._gate = Gate(self.work)
        self._after: dict[int, Finished] = {}
        self.results |= {row.position: row.result for row in self._rows.values() if row.state == StepState.done}

    async def go(self) -> None:
        """Carries out what is left, until all is done or something stops it. Raises LostClaim."""
        async with Watch(self.work) as self._watch:
            if failed := [row for row in self.rows if row.phase != Phase.undo and row.state == StepState.failed]:
                await self._finish_flying(failed)
            else:
                await self._in_order(shape_of(self.work.run.plan or {}))
        if self.last and self.stops:  # by a branch without steps, whose question had no answer
            await write_end(self.work.services, self.last)

    async def _finish_flying(self, failed: Sequence[StepRow]) -> None:
        """A step had failed when the worker died: nothing further begins, and what was under way beside it is finished first."""
        self.stops += [Stop(row.position, Outcome(Ended.failed, error=row.error)) for row in failed]
        for row in list(self._rows.values()):
            if row.state == StepState.calling:
                await self._take(row.position)

    async def _node(self, node: Node, ahead: Ahead | None = None) -> bool:
        """Whether it is done, so that what comes after it may begin."""
        if isinstance(node, int):
            if node not in self.results and (self.stops or not await self._take(node, ahead)):
                return False
            return await self._guarded(node)
        if "branch" in node:
            return await self._branch(node)
        if "parallel" in node:
            return await self._beside(node["parallel"], at_once=node["at_once"])
        return await self._in_order(node["sequence"])

    async def _in_order(self, nodes: Sequence[Node]) -> bool:
        return await self._row(iter(nodes), strict=True)

    async def _beside(self, nodes: Sequence[Node], *, at_once: int) -> bool:
        """The nodes beside each other; all that were begun have ended when it returns."""
        left = iter(nodes)
        return all(await _together([self._row(left, strict=False) for _ in nodes[:at_once]]))

    async def _row(self, left: Iterator[Node], *, strict: bool) -> bool:
        """Those that are left and nobody else has taken, one after the other; a `strict` row ends at the first that is not done."""
        well, ahead = True, Ahead(left)
        while (well or not strict) and (node := ahead.node) is not None:
            ahead = Ahead(left)
            well = await self._node(node, ahead) and well
            if isinstance(node, int) and (after := self._after.pop(node, None)):
                await write_end(self.work.services, after)  # it was not begun after all
        return well

    async def _branch(self, node: dict[str, Any]) -> bool:
        try:
            side = chosen(node, self.results)
        except (KeyError, IndexError, TypeError):
            error = f"does not say whether {node['branch']['title']}"
            self.stops.append(Stop(node["branch"][REF_KEY], Outcome(Ended.failed, error=error)))
            return False
        return side is None or await self._node(side)

    async def _take(self, position: int, ahead: Ahead | None = None) -> bool:
        work, row = self.work, self._rows.get(position)
        waits = row is not None and row.state == StepState.waiting
        if waits and (halt := await self._gate.look()) is not None:
            return self._went_well(position, halt)
        key, step = key_of(work, position, Phase.do), steps_of(work)[position]
        held = partial(self._held_back, ahead)
        outcome = await take_step(work, key, step, self.results, begin=self._begin, watch=self._watch, waits=waits, held_back=held)
        if outcome.how is Ended.done:
            self.results[position] = outcome.result
        return self._went_well(position, outcome)

    async def _guarded(self, position: int) -> bool:
        """Whether the guard of a step that is done has held, if it has one."""
        step = steps_of(self.work)[position]
        if not step.get("guard") or self._guards.get(position) == StepState.done:
            return True
        if self.stops:
            return False
        key = key_of(self.work, position, Phase.guard)
        outcome = await watch_step(self.work, key, step, self.results, gate=self._gate, watch=self._watch)
        return self._went_well(position, outcome)

    def _went_well(self, position: int, outcome: Outcome) -> bool:
        if outcome.how is Ended.parked:
            self.waits |= {(one.kind, one.subject): one for one in outcome.waits}
        elif outcome.how is not Ended.done:
            self.stops.append(Stop(position, outcome))
            self._watch.awake.set()
        return outcome.how is Ended.done

    def _held_back(self, ahead: Ahead | None, finished: Finished) -> bool:
        """Whether what comes behind it says that it is done: the statement that begins a step for the first time, or that ends the run.

        Behind the last of all nothing begins any more, so that the run needs no slot while this is written down.
        """
        if self.stops or steps_of(self.work)[finished.key.position].get("guard"):
            return False
        steps = steps_of(self.work)
        if len(self.results) + 1 == len(steps) and not any(one.get("guard") for one in steps):
            self.work.slot.free()
            self.last = finished
            return True
        if ahead is None:
            return False
        if not isinstance(then := ahead.node, int) or then in self._rows:
            return False
        self._after[then] = finished
        return True

    async def _begin(self, key: StepKey, step: Mapping[str, Any]) -> Begun | Outcome:
        """Nothing begins, or begins again, once something has stopped the run, but what was under way when its worker died is finished."""
        if (start := self.start) is not None and key.position == start.begun:
            self.start = None
            return await self._gate.confirm(key, step, seen=start.seen) if start.ahead else Begun(1, 0.0)
        after = None if self.stops else self._after.pop(key.position, None)
        if not self.stops:
            return await self._gate.begin(key, step, after)
        if (row := self._rows.get(key.position)) is not None and row.state == StepState.calling:
            return await begin(self.work, key, step)
        if all(stop.outcome.how in (Ended.held, Ended.left) for stop in self.stops):
            return self.stops[0].outcome  # the run goes on elsewhere or later, and so does this step
        return Outcome(Ended.failed, error="was not begun again")


async def _together(calls: Sequence[Awaitable[bool]]) -> list[bool]:
    """All of them; when one raises, the others are cancelled and ended before it is raised here."""
    tasks = [asyncio.ensure_future(one) for one in calls]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
