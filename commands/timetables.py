"""When a request may start: not before it is wanted, only inside the windows of the rules that concern it, and not into a freeze.

Pure, like `authorize`: asked at the door to say at once what will not be, again while planning, and again at execution, which decides.
"""

from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any

from countersign.calendars import Window, first_opening
from countersign.moments import shown
from countersign.records import value
from store.people import Person

from .matching import concerns, reason_missing
from .periods import BoundFreeze
from .policies import BoundPolicy
from .requests import Refused, Request
from .rules import approval_of
from .starts import FREEZES, START


@value
class Timing:
    """The first instant at which a request may start, the windows that say so, and the freezes whose approvers it needs then."""

    start: datetime
    windows: tuple[Window, ...] = ()
    freezes: tuple[BoundFreeze, ...] = ()

    def signed(self, *, start: datetime | None, zone: tzinfo, before: Mapping[str, Any]) -> dict[str, Any]:
        """What is signed with the plan: the start that is wanted, as people read it, and the freezes that approvers are told of.

        What was signed `before` stays: a freeze that has ended meanwhile takes no approval away.
        """
        freezes = {one.freeze.name for one in self.freezes} | set(before.get(FREEZES, ()))
        facts = {START: before.get(START) or (shown(start, zone) if start else ""), FREEZES: sorted(freezes)}
        return {name: value for name, value in facts.items() if value}

    def told(self, zone: tzinfo) -> dict[str, str]:
        """What the card says about it and is not signed: when the windows are open, until when it is frozen and why."""
        lines = {"window": "; ".join(map(str, self.windows)), "frozen": "; ".join(_line(one, zone) for one in self.freezes)}
        return {name: text for name, text in lines.items() if text}

    def waiting(self, zone: tzinfo) -> str:
        """Why what is approved has not begun, in a sentence."""
        opens = shown(self.start, zone)
        return f"Waits for the window {'; '.join(map(str, self.windows))}: it opens {opens}." if self.windows else f"Starts {opens}."


def timing_of(policy: BoundPolicy, person: Person, request: Request, wanted: datetime) -> Timing | Refused:
    """When the request may start from `wanted` on; refused where that is in a freeze without approvers, or never."""
    if not (policy.rules_for(request.command) or policy.freezes_for(request.command)):
        return Timing(wanted)
    windows = windows_for(policy, person, request)
    start = first_opening(windows, wanted)
    if start is None:
        names = " and ".join(one.name for one in windows)
        return Refused(f"The windows {names} are never open together, so this cannot run.", "no_window")
    met = tuple(one for one in policy.freezes_for(request.command) if one.freeze.covers(start) and _is_met(policy, one, person, request))
    held = next((one for one in met if one.entry.approve is None or one.bound.broken), None)
    if held is not None:
        return Refused(_sentence(held, person.zone), f"frozen:{held.freeze.name}"[:60])
    wanting = (reason_missing(request, pattern) for one in met for pattern in _reasons(one))
    return next(filter(None, wanting), None) or Timing(start, windows, met)


def explained(timing: Timing | Refused, zone: tzinfo, now: datetime) -> list[str]:
    """The lines about it in an explanation; none where nothing holds a request."""
    if isinstance(timing, Refused):
        return [f"may start    no: {timing.sentence}"]
    when = f"may start    {'now' if timing.start <= now else shown(timing.start, zone)}, in {'; '.join(map(str, timing.windows))}"
    return [when] * bool(timing.windows) + [f"frozen       {_line(one, zone)}" for one in timing.freezes]


def windows_for(policy: BoundPolicy, person: Person, request: Request) -> tuple[Window, ...]:
    """The windows inside which alone the request may start, each once."""
    rules = [one for one in policy.rules_for(request.command) if one.rule.window and concerns(policy, one, person, request)]
    return tuple(dict.fromkeys(policy.windows[one.rule.window] for one in rules))


def _is_met(policy: BoundPolicy, one: BoundFreeze, person: Person, request: Request) -> bool:
    """A freeze that cannot be read for the command holds whatever is asked of it."""
    return bool(one.bound.broken) or concerns(policy, one.bound, person, request)


def _reasons(one: BoundFreeze) -> tuple[str, ...]:
    """What the asker's reason must contain for the freeze's approvers."""
    approval = approval_of(one.entry.approve) if one.entry.approve else None
    return approval.reasons if approval else ()


def _sentence(one: BoundFreeze, zone: tzinfo) -> str:
    if one.bound.broken:
        return f"The policy cannot be read for this command, so nobody may run it: {one.bound.rule.place} {one.bound.broken}."
    return f"Frozen: {_line(one, zone)}. Nobody can let it through before; ask again then, or for then with --at."


def _line(one: BoundFreeze, zone: tzinfo) -> str:
    because = f" ({one.entry.because.rstrip('.')})" if one.entry.because else ""
    return f"{one.freeze.name}{because} until {shown(one.freeze.ends, zone)}"
