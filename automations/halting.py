"""halting: why the next step of a run may not begin, as of now, and how a person's cancel reaches the steps that are under way."""

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from sqlalchemy.exc import SQLAlchemyError

from commands.authorizing import Refused
from commands.switches import against_run
from countersign.shapes import shape_of
from countersign.tasks import ASK
from store.beginnings import First, Following, find_unchanged, follow
from store.databases import ReadSession
from store.journals import (
    Bearing,
    Begun,
    Finished,
    LostClaim,
    StepKey,
    StepState,
    begin_step,
    begin_step_unchanged,
    end_step,
    find_bearing,
)
from store.switches import Held

from .calling import Ended, Outcome, Work
from .journaling import write_end
from .makingplans import may_go_on
from .parking import paused
from .services import Services

_log = logging.getLogger(__name__)
LOOK_SECONDS: Final = 2.0
WATCH_SECONDS: Final = 0.7
GRACE_SECONDS: Final = 1.0
LEFT: Final = Outcome(Ended.left, error="was left to another worker")


@dataclass
class Gate:
    """Asked before each step whether it may begin.

    It looks at everything every 2 s; in between, the statement that begins the step sees whether anything has changed since. What was
    looked at for the run to begin counts as the first look.
    """

    work: Work
    _looked: float = 0.0
    _bearing: Bearing | None = None

    def __post_init__(self) -> None:
        if self.work.looked is not None:
            self._looked, self._bearing = self.work.looked

    async def begin(self, key: StepKey, step: Mapping[str, Any], after: Finished | None = None) -> Begun | Outcome:
        """Records the intent to call, or says why the step may not begin; and that the step before it is done. Raises LostClaim."""
        services = self.work.services
        if not services.ending and (bearing := self._recent()) is not None:
            if (begun := await self._begin(key, step["name"], bearing, after)) is not None:
                return begun
        elif after is not None:
            await write_end(services, after)
        if services.ending:
            return LEFT
        halt = await self.look()
        return await begin(self.work, key, step) if halt is None else halt

    async def _begin(self, key: StepKey, name: str, bearing: Bearing, after: Finished | None) -> Begun | None:
        """Alone in one statement of its own: as one of several it takes a tenth longer, which is only worth it where there are others."""
        services = self.work.services
        begin_now = partial(begin_step_unchanged, key=key, bearing=bearing, name=name, worker=services.name, after=after)
        with services.stepping() as alone:
            if after is None or alone:
                return await services.insist_alone(begin_now)
            held, begun = await services.together(_follow, Following(key, name, bearing, after))
        if not held:
            raise LostClaim
        return begun

    async def confirm(self, key: StepKey, step: Mapping[str, Any], *, seen: bool) -> Begun | Outcome:
        """Of a step that has begun and was not called at once: that it may be called, if nothing has changed since. Raises LostClaim.

        Postgres is asked, unless that was `seen` a moment ago. A worker that ends meanwhile makes the call: another one may not have the
        code, and asking anew about what has begun is no way back.
        """
        services, bearing = self.work.services, self._recent()
        if bearing is not None and (seen or all(await services.insist_alone(partial(find_unchanged, begun=[(key, bearing)])))):
            return Begun(1, 0.0)
        await services.insist_alone(partial(end_step, key=key, state=StepState.not_done))
        return await self.begin(key, step)

    async def look(self) -> Outcome | None:
        """Why the run may not go on at this moment; None when it may."""
        async with self.work.services.reading() as session:
            bearing = await find_bearing(session, self.work.run.id)
            if (halt := await self._halted(session, bearing)) is None:
                self._looked, self._bearing = time.monotonic(), bearing
        return halt

    def _recent(self) -> Bearing | None:
        """What was found lately. While a switch is on, each step is looked at anew: it may stand in the way of this run."""
        passed, known = time.monotonic() - self._looked, self._bearing
        if known is None or self.work.services.switches != () or passed > LOOK_SECONDS or overtime(self.work, known.seconds + passed):
            return None
        return known

    async def _halted(self, session: ReadSession, bearing: Bearing) -> Outcome | None:
        work = self.work
        rulebook = await work.services.current_rulebook(session)
        if rulebook.policy.digest != bearing.policy:
            rulebook = await work.services.newest_rulebook(session)
        if bearing.cancelled_by is not None:
            return Outcome(Ended.cancelled, error="before it began")
        if bearing.paused_by is not None:
            return Outcome(Ended.parked, waits=(paused(bearing.paused_by),))
        if why := await stopped(work, session):
            return Outcome(Ended.held, error=why)
        if over := overtime(work, bearing.seconds):
            return Outcome(Ended.failed, error=f"was not begun: {over}")
        if not bearing.person.active:
            return Outcome(Ended.barred, error=f"the account of {work.run.asker} is not active any more.")
        right = may_go_on(rulebook, bearing.person, work.run, work.command) if work.command else None
        if isinstance(right, Refused):
            return Outcome(Ended.barred, error=f"{bearing.person.name} may not run {work.run.command} any more. {right.sentence}")
        return None


async def _follow(services: Services, following: Sequence[Following]) -> list[tuple[bool, Begun | None]]:
    """Only what is written alone is insisted on, as it is when there was trouble with several."""
    write = partial(follow, following=following, worker=services.name)
    if len(following) == 1:
        return await services.insist_alone(write)
    async with services.plain_statement() as driver:
        return await write(driver)


def first_step(work: Work) -> First | None:
    """The step that begins with the run: the first, if it is a plain call, and how things stood when somebody looked."""
    steps, shape = (work.run.plan or {})["steps"], shape_of(work.run.plan or {})
    node = shape[0] if shape else None
    if work.looked is None or work.services.switches != () or not isinstance(node, int):
        return None
    step = steps[node]
    return None if step["name"] == ASK.name or step.get("submits") else First(node, step["name"], work.looked[1])


async def begin(work: Work, key: StepKey, step: Mapping[str, Any]) -> Begun:
    """Records the intent to call without asking anything; raises LostClaim."""
    return await work.services.insist_alone(partial(begin_step, key=key, name=step["name"], worker=work.services.name))


async def stopped(work: Work, session: ReadSession) -> str:
    """What a kill switch that is on at this moment says against this run; empty when none does."""
    run = work.run
    switches = await work.services.current_switches(session)
    return against_run(switches, Held(run.id, run.command, run.risk, run.dry_run, run.status), planning=False)


def overtime(work: Work, seconds: float) -> str:
    """That the run has taken longer than its command allows; empty while it has not."""
    limit = work.command.timeout if work.command else None
    return f"the run took longer than {limit}" if limit and seconds > limit.total_seconds() else ""


class Watch:
    """While it is open, ends the calls it knows within 2 s of a person's cancel, and when the run's time is over.

    A step hears of a cancel first and has a second to end by itself. An integration that is stopped meanwhile refuses its next call.
    """

    def __init__(self, work: Work, *, undoing: bool = False) -> None:
        """What is undone has no limit on its time; only a cancel that comes after the undo has begun stops it."""
        self.cancelled = asyncio.Event()
        self.awake = asyncio.Event()
        self.over = ""
        self._work, self._undoing, self._before = work, undoing, False
        self._calls: set[asyncio.Future[Any]] = set()
        self._looking: asyncio.Task[None] | None = None

    @contextmanager
    def ends(self, call: "asyncio.Future[Any]") -> Iterator[None]:
        """Lets this call be ended meanwhile."""
        self._calls.add(call)
        try:
            yield
        finally:
            self._calls.discard(call)

    async def sleep(self, seconds: float) -> None:
        """Waits so long, or until something happens because of which there is nothing to wait for any more."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.awake.wait()

    async def __aenter__(self) -> Self:
        if self._undoing:
            async with self._work.services.reading() as session:
                self._before = (await find_bearing(session, self._work.run.id)).cancelled_by is not None
        self._looking = asyncio.create_task(self._look())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking

    async def _look(self) -> None:
        while not self.over and not self.cancelled.is_set():
            await asyncio.sleep(WATCH_SECONDS)
            try:
                async with self._work.services.reading() as session:
                    bearing = await find_bearing(session, self._work.run.id)
                    await self._work.services.current_switches(session)
            except (SQLAlchemyError, OSError) as error:
                _log.warning("a run that is under way could not be looked at: %s", type(error).__name__)
                continue
            await self._act(bearing)

    async def _act(self, bearing: Bearing) -> None:
        if bearing.cancelled_by and not self._before:
            self.cancelled.set()
            self.awake.set()
            await asyncio.sleep(GRACE_SECONDS)
        elif not self._undoing:
            self.over = overtime(self._work, bearing.seconds)
        if self.over or self.cancelled.is_set():
            self.awake.set()
            for call in list(self._calls):
                call.cancel()
