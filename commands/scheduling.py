"""What a schedule's turn does: counts the runs that ended, starts what waited, and decides each slot that is due, once and for all.

It holds the schedule's lock; a slot's row, its run and the audit are of one transaction, so any number of schedulers asks for each once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Any, Final
from uuid import UUID, uuid5

from countersign.arguments import Duration
from countersign.calendars import zone_of
from countersign.errors import BadArgument
from countersign.invocations import Door, Invocation, Place
from countersign.moments import shown
from countersign.replies import Reply
from countersign.runs import FINISHED, RunStatus
from store.audits import AuditEvent, record
from store.databases import WriteSession
from store.messages import NewMessage, add_messages
from store.people import Person, find_person
from store.runs import find_run
from store.schedules import (
    ScheduleRow,
    Slot,
    SlotKind,
    SlotState,
    add_slots,
    count_failures,
    find_open_slots,
    lock_schedule,
    look_again,
    pause_schedule,
    settle_slot,
)

from .cadences import Cadence, filled, read_cadence
from .cancel import cancel
from .rulebooks import Rulebook
from .unattended import submit_unattended

AT_ONCE: Final = 100
MOST_COUNTED: Final = 1_000
BAD: Final = (
    RunStatus.failed,
    RunStatus.rolled_back,
    RunStatus.rollback_failed,
    RunStatus.refused,
    RunStatus.denied,
    RunStatus.expired,
)
_TICK: Final = timedelta(microseconds=1)


class Overlap(StrEnum):
    """What becomes of a slot while an earlier run has not ended."""

    skip = "skip"
    queue_one = "queue_one"
    queue_all = "queue_all"
    cancel_other = "cancel_other"
    allow = "allow"


async def tend_schedule(session: WriteSession, rulebook: Rulebook, schedule: UUID, *, chat: str) -> int:
    """One turn of one schedule; returns how much there was to do, 0 too when another scheduler has it. `chat` is where people are told."""
    found = await lock_schedule(session, schedule)
    if found is None:
        return 0
    turn = _Turn(session, rulebook, found[0], found[1], chat, await find_open_slots(session, schedule), found[0].failures)
    await turn.count_ended()
    if found[0].removed_at is None:
        await turn.start_waiting()
        await turn.decide_due()
    return turn.done


def cadence_of(row: ScheduleRow) -> Cadence:
    """Raises BadArgument or ValueError for what this version cannot read."""
    return read_cadence(row.cadence, zone_of(row.zone), row.anchor)


def asked(row: ScheduleRow) -> str:
    """The command with its arguments as one would type them."""
    return " ".join([row.command, *(f"{name}={value}" for name, value in row.arguments.items())])


@dataclass
class _Turn:
    """A schedule under its lock, with its slots that are open."""

    session: WriteSession
    rulebook: Rulebook
    row: ScheduleRow
    now: datetime
    chat: str
    open: list[Slot]
    failures: int
    done: int = 0
    account: Person | None = None

    async def count_ended(self) -> None:
        """Slots whose runs have ended are done; bad ends are counted and told."""
        ended = [one for one in self.open if one.state is SlotState.sent and one.status in FINISHED]
        for one in ended:
            self.open.remove(one)
            await settle_slot(self.session, self.row.id, one.slot, SlotState.done)
            await self._count(RunStatus(one.status or ""), one.number, one.outcome)
        self.done += len(ended)

    async def start_waiting(self) -> None:
        """The first of those that wait, and the next where that one was refused."""
        for one in [each for each in self.open if each.state is SlotState.waiting]:
            if self._busy and self.row.overlap != Overlap.allow:
                return
            self.open.remove(one)
            await self._send(one)

    async def decide_due(self) -> None:
        """Every slot up to now, a hundred at a time."""
        if self.row.next_at is None or self.row.next_at > self.now or self._is_paused():
            return
        self.done += 1
        try:
            cadence = cadence_of(self.row)
        except (BadArgument, ValueError) as error:
            await self._pause(f"it cannot be read: {error}")
            return
        first = await self._after_missed(cadence)
        slots = list(islice(cadence.within(first - _TICK, self.now), AT_ONCE))
        latest = slots[-1] if slots else first - _TICK
        # Written first, so that a schedule that pauses itself below stays paused.
        await look_again(self.session, self.row.id, looked_at=latest, next_at=next(cadence.slots(latest), None))
        fresh = await add_slots(self.session, self.row.id, slots, kind=SlotKind.due, state=SlotState.waiting)
        for slot in [one for one in slots if one in fresh]:
            await self._decide(Slot(slot, SlotKind.due, SlotState.waiting, "", "", None, None, None, ""))

    async def _after_missed(self, cadence: Cadence) -> datetime:
        """From when on slots are still made up for; older ones are one row and one event together."""
        first = self.row.next_at
        assert first is not None  # noqa: S101  decide_due() has looked
        oldest = self.now - Duration.parse(self.row.catch_up)
        if first >= oldest:
            return first
        missed = list(islice(cadence.within(first - _TICK, oldest - _TICK), MOST_COUNTED))
        count = f"{len(missed)}{'' if len(missed) < MOST_COUNTED else ' or more'}"
        zone = zone_of(self.row.zone)
        because = f"{count} missed up to {shown(missed[-1], zone)}: that is longer ago than {self.row.catch_up}"
        if await add_slots(self.session, self.row.id, [first], kind=SlotKind.due, state=SlotState.skipped, because=because):
            await self._note("schedule:missed", slot=first.isoformat(), because=because, count=len(missed))
        return oldest

    async def _decide(self, slot: Slot) -> None:
        overlap, waiting = Overlap(self.row.overlap), [one for one in self.open if one.state is SlotState.waiting]
        if self._is_paused():
            await self._skip(slot, "the schedule was paused")
            return
        if overlap is Overlap.allow or not (self._busy or waiting):
            await self._send(slot)
            return
        if overlap is Overlap.skip or (overlap is Overlap.queue_one and waiting):
            await self._skip(slot, "an earlier run had not ended" if overlap is Overlap.skip else "another slot waited already")
            return
        if overlap is Overlap.cancel_other:
            await self._cancel_others(waiting)
        self.open.append(slot)

    async def _send(self, one: Slot) -> None:
        """Asks for one slot's run."""
        row, zone = self.row, zone_of(self.row.zone)
        place = Place(self.chat, channel=row.channel) if row.channel else Place("schedule")
        invocation = Invocation(
            key=f"schedule:{row.id}:{one.slot.isoformat()}:{one.kind}:{one.run_id or ''}",
            door=Door.schedule,
            place=place,
            command=row.command,
            arguments=filled(row.arguments, one.slot, zone),
            reason=row.reason or f"{row.source}, due {shown(one.slot, zone)}",
            trace=uuid5(row.id, one.slot.isoformat()).hex,
        )
        holder = one.asked_by or row.owner
        if self.account is None:
            self.account = await find_person(self.session, row.account)
        sent = await submit_unattended(
            self.session, self.rulebook, invocation, account=row.account, source=row.source, holder=holder, known=self.account
        )
        run, self.done = sent.born.run_id if sent.born else None, self.done + 1
        if sent.refused or sent.born is None:
            await settle_slot(self.session, row.id, one.slot, SlotState.refused, run=run, because=sent.sentence[:500])
            await self._count(RunStatus.refused, sent.born.number if sent.born else None, sent.sentence)
            return
        await settle_slot(self.session, row.id, one.slot, SlotState.sent, run=run)
        self.open.append(replace(one, state=SlotState.sent, run_id=run, number=sent.born.number, status=sent.born.status))

    async def _skip(self, one: Slot, because: str) -> None:
        await settle_slot(self.session, self.row.id, one.slot, SlotState.skipped, because=because)
        await self._note("schedule:skipped", slot=one.slot.isoformat(), because=because)

    async def _cancel_others(self, waiting: Sequence[Slot]) -> None:
        """What is under way is asked to end; what waited gives way to the later slot."""
        account = self.account = self.account or await find_person(self.session, self.row.account)
        for one in [each for each in self.open if each.under_way and each.run_id]:
            assert one.run_id is not None  # noqa: S101  chosen by it
            if account is not None:
                await cancel(self.session, self.rulebook, account, one.run_id, door=Door.schedule)
            if (run := await find_run(self.session, one.run_id)) and run.status in FINISHED:
                self.open[self.open.index(one)] = replace(one, status=run.status)
        for one in waiting:
            self.open.remove(one)
            await self._skip(one, "a later slot took its place")

    async def _count(self, status: RunStatus, number: int | None, outcome: str) -> None:
        """A good end forgets the bad ones before it; a cancelled run says nothing about the next."""
        if status is RunStatus.cancelled:
            return
        self.failures = self.failures + 1 if status in BAD else 0
        await count_failures(self.session, self.row.id, self.failures)
        if status not in BAD:
            return
        if self.row.pause_after and self.failures >= self.row.pause_after and not self._is_paused():
            await self._pause(f"{self.failures} runs in a row ended badly")
        elif self.failures & (self.failures - 1) == 0:  # the first, second, fourth, eighth … in a row
            await self._tell(f"{self._named(number)} {status.replace('_', ' ')}{self._why(outcome)}{self._in_a_row()}")

    async def _pause(self, because: str) -> None:
        if await pause_schedule(self.session, self.row.id, by="countersign", because=because):
            self.row.paused_at = self.now
            await self._note("schedule:paused", because=because)
            await self._tell(f"{self.row.source} is paused: {because}. To go on: schedule resume {self.row.name}")

    async def _tell(self, sentence: str) -> None:
        """The channel it names, else who answers for it; nobody where that person has left and there is no channel."""
        owner = None if self.row.channel else await find_person(self.session, self.row.owner)
        if self.row.channel or (owner and owner.active):
            to = {"channel": self.row.channel} if self.row.channel else {"person": self.row.owner}
            card = Reply(text=sentence).model_dump(mode="json")
            await add_messages(self.session, [NewMessage(None, "reply", self.chat, "", card=card, **to)])  # type: ignore[arg-type]

    def _named(self, number: int | None) -> str:
        return f"{self.row.source}, as {self.row.account}:{f' run #{number}' if number else ''} {self.row.command}"

    def _why(self, outcome: str) -> str:
        """Not where others than those concerned may read it."""
        command = self.rulebook.registry.find(self.row.command)
        shared = command is None or command.visibility == "staff" or not self.row.channel
        return f": {outcome[:300]}" if outcome and shared else "."

    def _in_a_row(self) -> str:
        return f" That was {self.failures} times in a row." if self.failures > 1 else ""

    async def _note(self, kind: str, **detail: Any) -> None:
        await record(self.session, [AuditEvent(kind, "countersign", None, {"schedule": self.row.name, "id": str(self.row.id), **detail})])

    def _is_paused(self) -> bool:
        return self.row.paused_at is not None

    @property
    def _busy(self) -> bool:
        return any(one.under_way for one in self.open)
