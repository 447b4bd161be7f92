"""schedule add, change, remove, pause, resume, run, backfill and show; schedules: what service accounts ask for by the clock."""

from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final
from uuid import UUID

from commands.controls import ControlContext
from commands.schedules import check_numbers, check_terms, coming, line_of, preview, read_asked, slot_line, told
from commands.scheduling import Overlap, asked
from countersign import Duration, Plan, PlanningContext, PlanRefused, Step, command
from countersign.calendars import zone_of
from countersign.commands import control
from countersign.errors import CountersignError
from countersign.moments import instant, shown
from countersign.replies import Field, Reply
from store.people import find_people
from store.schedules import TERMS, ScheduleRow, find_schedule, find_schedules, find_slots

from .schedulings import ask_slots, end_schedule, hold, let_go_on, write_terms

SCHEDULE: Final = "countersign:schedule"
MOST_BACKFILLED: Final = 500
NOWHERE: Final = "none"
_DAY: Final = Duration.parse("24h")
_SAME: Final = -1


@command("schedule add", permission=SCHEDULE, risk="medium")
async def schedule_add(
    ctx: PlanningContext,
    name: str,
    when: str,
    what: str,
    account: str,
    zone: str = "",
    overlap: Overlap = Overlap.skip,
    catch_up: Duration = _DAY,
    pause_after: int = 0,
    channel: str = "",
    why: str = "",
) -> Plan:
    """Have WHAT asked for by a service ACCOUNT whenever it is WHEN: "30 2 * * *", "every 15m" or @daily, by the clocks of ZONE.

    OVERLAP says what becomes of it while an earlier run has not ended, CATCH_UP how late it may still be made up for, and after
    PAUSE_AFTER bad ends in a row it pauses (0: never). Without a CHANNEL you are told of bad ends directly. Arguments in WHAT may
    contain {date}, {time} and {slot}.
    """
    if await _row(ctx, name) is not None:
        raise PlanRefused(f"There is a schedule {name[:40]} already; to change it: schedule change {name[:40]}")
    wanted = read_asked(ctx.services.rulebook, what)
    terms = {
        "account": account,
        "owner": ctx.asker.name,
        "command": wanted.command.name,
        "arguments": dict(wanted.arguments),
        "cadence": " ".join(when.split()),
        "zone": zone or ctx.asker.timezone,
        "overlap": str(overlap),
        "catch_up": str(catch_up),
        "pause_after": pause_after,
        "channel": channel.removeprefix("#"),
        "reason": why,
    }
    schedule = str(UUID(int=ctx.random.getrandbits(128), version=4))
    step = write_terms(schedule, name, terms).undone_by(end_schedule(schedule))
    return await _planned(ctx, name, terms, step, f"schedule {name}:")


@command("schedule change", permission=SCHEDULE, risk="medium")
async def schedule_change(
    ctx: PlanningContext,
    name: str,
    when: str = "",
    what: str = "",
    account: str = "",
    zone: str = "",
    overlap: Overlap | None = None,
    catch_up: Duration | None = None,
    pause_after: int = _SAME,
    channel: str = "",
    why: str = "",
) -> Plan:
    """Change a schedule; what is left out stays. CHANNEL none takes the channel away. You answer for its requests from then on."""
    row = await _known(ctx, name)
    old = _terms(row)
    new = old | {"owner": ctx.asker.name}
    if what:
        wanted = read_asked(ctx.services.rulebook, what)
        new |= {"command": wanted.command.name, "arguments": dict(wanted.arguments)}
    given: dict[str, Any] = {"account": account, "cadence": " ".join(when.split()), "zone": zone, "reason": why}
    given |= {"overlap": str(overlap or ""), "catch_up": str(catch_up or ""), "channel": channel.removeprefix("#")}
    new |= {key: value for key, value in given.items() if value}
    new |= {"pause_after": pause_after} if pause_after != _SAME else {}
    new |= {"channel": ""} if channel == NOWHERE else {}
    if new == old:
        raise PlanRefused(f"Nothing of the schedule {name} would change.")
    id_ = str(row.id)
    changed = ", ".join(f"{key} {old[key] or 'none'} → {new[key] or 'none'}" for key in TERMS if new[key] != old[key])
    step = write_terms(id_, name, new).undone_by(write_terms(id_, name, old))
    return await _planned(ctx, name, new, step, f"schedule {name} changes: {changed[:300]};")


@command("schedule remove", permission=SCHEDULE, risk="medium")
async def schedule_remove(ctx: PlanningContext, name: str) -> Plan:
    """End a schedule: nothing more is due. Its runs under way go on, and what became of its slots stays in the record."""
    row = await _known(ctx, name)
    undo = write_terms(str(row.id), name, _terms(row))
    return Plan(f"schedule {name} ends: {asked(row)}, {row.cadence}", end_schedule(str(row.id)).undone_by(undo))


@command("schedule pause", permission=SCHEDULE, risk="low")
async def schedule_pause(ctx: PlanningContext, name: str, why: str = "") -> Plan:
    """Have nothing of a schedule due until it is resumed."""
    row = await _known(ctx, name)
    if row.paused_at is not None:
        raise PlanRefused(f"The schedule {name} is paused already, by {row.paused_by}.")
    return Plan(f"schedule {name} pauses", hold(str(row.id), why).undone_by(let_go_on(str(row.id))))


@command("schedule resume", permission=SCHEDULE, risk="medium")
async def schedule_resume(ctx: PlanningContext, name: str) -> Plan:
    """Go on with a schedule that is paused, from now on; to make up for what was missed: schedule backfill."""
    row = await _known(ctx, name)
    if row.paused_at is None:
        raise PlanRefused(f"The schedule {name} is not paused.")
    cadence = await _checked(ctx, name, _terms(row))
    undo = hold(str(row.id), row.paused_because)
    return Plan(f"schedule {name} goes on", let_go_on(str(row.id)).undone_by(undo), preview=preview(cadence, ctx.now))


@command("schedule run", permission=SCHEDULE, risk="medium")
async def schedule_run(ctx: PlanningContext, name: str) -> Plan:
    """Ask at once for what a schedule asks for, beside its slots, as soon as an earlier run has ended. You answer for the request."""
    row = await _known(ctx, name)
    await _checked(ctx, name, _terms(row))
    at = ctx.now.replace(microsecond=ctx.random.randrange(1, 1_000_000))  # beside any slot, which is at a whole minute
    return Plan(f"schedule {name} asks for {asked(row)} now, as {row.account}", ask_slots(str(row.id), [at.isoformat()], "now"))


@command("schedule backfill", permission=SCHEDULE, risk="medium")
async def schedule_backfill(ctx: PlanningContext, name: str, since: str, until: str) -> Plan:
    """Make up for the slots from SINCE until UNTIL that were not asked for, one run after the other.

    Both as 2026-12-01 22:00, by the clocks of the schedule, and past. You answer for the requests.
    """
    row = await _known(ctx, name)
    cadence = await _checked(ctx, name, _terms(row))
    first, last = _instant("since", since, row), _instant("until", until, row)
    if last > ctx.now:
        raise PlanRefused(f"until: {shown(last, zone_of(row.zone))} is still to come; slots that are to come need no backfill.")
    slots = list(islice(cadence.within(first - timedelta(microseconds=1), last), MOST_BACKFILLED + 1))
    if not slots or len(slots) > MOST_BACKFILLED:
        said = f"has more than {MOST_BACKFILLED} slots" if slots else "has no slot"
        raise PlanRefused(f"The schedule {name} {said} between these two.")
    listed = "\n".join(shown(one, cadence.zone) for one in slots[:20]) + (f"\n… {len(slots) - 20} more" if len(slots) > 20 else "")
    step = ask_slots(str(row.id), [one.isoformat() for one in slots], "backfill")
    return Plan(f"schedule {name} makes up for {len(slots)} slots of {asked(row)}, as {row.account}", step, preview=listed)


@control("schedules")
async def schedules(ctx: ControlContext, coming_only: bool = False) -> Reply:
    """List the schedules and when each is due next; COMING_ONLY lists the next slots of all of them in order."""
    rows = await find_schedules(ctx.session)
    if not rows:
        return Reply(text="There is no schedule. To make one: schedule add NAME WHEN WHAT ACCOUNT")
    if coming_only:
        next_ones = coming(rows, limit=20)
        lines = [f"{shown(at, ctx.person.zone):<34}{row.name:<24}{told(ctx.rulebook, ctx.person, row)[:60]}" for at, row in next_ones]
        return Reply(text="What is due next.", code="\n".join(lines))
    lines = [line_of(row, told(ctx.rulebook, ctx.person, row)) for row in rows[:40]]
    more = f" The first 40 of {len(rows)}." if len(rows) > 40 else ""
    return Reply(text=f"Schedules.{more} For one of them: schedule show NAME", code="\n".join(lines))


@control("schedule show")
async def schedule_show(ctx: ControlContext, name: str) -> Reply:
    """Show a schedule: its terms, its next ten slots, and what became of the last ten."""
    row = await find_schedule(ctx.session, name.strip().lower())
    if row is None:
        raise CountersignError(f"There is no schedule {name[:40]!r}. To see them all: schedules")
    zone = zone_of(row.zone)
    next_ones = [shown(at, zone) for at, _ in coming([row], limit=10)] or [state_line(row)]
    past = [slot_line(one, zone) for one in await find_slots(ctx.session, row.id)] or ["none yet"]
    text = (
        f"{row.name}: {told(ctx.rulebook, ctx.person, row)}, {row.cadence} ({row.zone}), as {row.account}; {row.owner} answers for it."
        f" Overlap: {row.overlap}. Catch-up: {row.catch_up}. Pauses after: {row.pause_after or 'never'}."
    )
    return Reply(text=text, code="\n".join(["due next:", *next_ones, "", "the last slots:", *past]))


def state_line(row: ScheduleRow) -> str:
    return "paused" if row.paused_at else "never"


async def _planned(ctx: PlanningContext, name: str, terms: dict[str, Any], step: Step, summary: str) -> Plan:
    cadence = await _checked(ctx, name, terms)
    fields = (
        Field(label="As", value=f"{terms['account']}; {terms['owner']} answers for it"),
        Field(label="When", value=f"{terms['cadence']} ({terms['zone']})"),
        Field(label="Overlap", value=f"{terms['overlap']}; made up for within {terms['catch_up']}"),
    )
    what = " ".join([terms["command"], *(f"{key}={value}" for key, value in terms["arguments"].items())])
    return Plan(f"{summary} {what}, {terms['cadence']} ({terms['zone']})", step, fields=fields, preview=preview(cadence, ctx.now))


async def _checked(ctx: PlanningContext, name: str, terms: dict[str, Any]) -> Any:
    """The cadence, where account and asker may do what the schedule asks."""
    check_numbers(name, Duration.parse(terms["catch_up"]), terms["pause_after"])
    async with ctx.services.reading() as session:
        people = await find_people(session, [terms["account"], ctx.asker.name])
    return check_terms(ctx.services.rulebook, terms, now=ctx.now, account=people.get(terms["account"]), author=people[ctx.asker.name])


async def _row(ctx: PlanningContext, name: str) -> ScheduleRow | None:
    async with ctx.services.reading() as session:
        return await find_schedule(session, name)


async def _known(ctx: PlanningContext, name: str) -> ScheduleRow:
    """The schedule as it is, watched: what was planned for it is planned again when somebody has changed it meanwhile."""
    row = await _row(ctx, name)
    if row is None:
        raise PlanRefused(f"There is no schedule {name[:40]!r}. To see them all: schedules")
    ctx.watch("schedule as it was", {"changed": row.changed_at.isoformat(), "paused": bool(row.paused_at)})
    return row


def _terms(row: ScheduleRow) -> dict[str, Any]:
    return {one: getattr(row, one) for one in TERMS}


def _instant(argument: str, text: str, row: ScheduleRow) -> datetime:
    try:
        return instant(text, zone_of(row.zone))
    except ValueError as error:
        raise PlanRefused(f"{argument}: {error}.") from None
