"""The start that was asked for: signed with the plan, shown on the card, put off by approvers, and never made an earlier one."""

from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any, Final

from countersign.calendars import zone_of
from countersign.moments import instant, moment, shown
from countersign.replies import Field
from countersign.runs import RunStatus
from store.people import Person
from store.runs import RunRow

START: Final = "wanted start"
FREEZES: Final = "freezes"
SIGNED: Final = (START, FREEZES)
"""Names of facts about time that are signed with the plan, beside the facts that its author watches."""
_NOT_BEGUN: Final = (RunStatus.submitted, RunStatus.planning, RunStatus.awaiting_approval, RunStatus.queued, RunStatus.stale)


def signed_facts(plan: Mapping[str, Any] | None) -> dict[str, Any]:
    """Those facts of a stored plan."""
    watched: Mapping[str, Any] = (plan or {}).get("watched", {})
    return {name: watched[name] for name in SIGNED if name in watched}


def wanted_start(run: RunRow, now: datetime) -> datetime:
    """When the run should start: not before what was signed, whatever stands beside the plan, and not before now."""
    signed = signed_facts(run.plan).get(START)
    return max([now, *(one for one in (run.start_at, instant(signed) if signed else None) if one)])


def later_start(text: str, run: RunRow, person: Person, now: datetime) -> datetime:
    """The start that an approver says; raises ValueError where it is none, or earlier than the one that is wanted."""
    found = moment(text, now, person.zone)
    if run.start_at is not None and found < run.start_at:
        raise ValueError(f"is earlier than what was asked for, which is {shown(run.start_at, person.zone)}")
    return found


def shown_start(run: RunRow) -> str:
    """The start that is wanted, in the zone it was signed in; empty when it is as soon as it may."""
    if run.start_at is None:
        return ""
    return shown(run.start_at, _zone(str(signed_facts(run.plan).get(START, ""))))


def start_fields(run: RunRow) -> list[Field]:
    """When the run starts and what holds it until then, for its card; nothing once it has begun."""
    if run.status not in _NOT_BEGUN and not run.dry_run:
        return []
    plan = run.plan or {}
    parts = [shown_start(run), f"in the window {plan['window']}" if plan.get("window") else ""]
    starts = ", ".join(one for one in parts if one)
    found = [("Starts", starts), ("Frozen", plan.get("frozen", ""))]
    return [Field(label=label, value=value) for label, value in found if value]


def _zone(text: str) -> tzinfo:
    """The zone at the end of a moment that `shown` wrote."""
    try:
        return zone_of(text.rpartition(" ")[2])
    except ValueError:
        return zone_of("UTC")
