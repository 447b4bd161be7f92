"""catalogue review: owners say what becomes of commands that nobody uses, that nobody owns or that mostly fail; a schedule asks them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from commands.catalogues import marks_of
from commands.policies import AUDIT, BoundPolicy
from countersign import Context, Duration, Plan, PlanningContext, PlanRefused, Reply, Step, ask_review, command, parallel, step
from countersign.commands import Command
from store.audits import AuditEvent, record
from store.figures import USED_DAYS, find_used
from store.people import Person, find_all_people

from .givings import run_of

AT_ONCE: Final = 40
_FORTNIGHT: Final = Duration.parse("14d")
_TOLD: Final = "accept: it stays as it is. reject: its author should give it up."


@command("catalogue review", permission=AUDIT, risk="medium", visibility="private", quiet=True)
async def catalogue_review(ctx: PlanningContext, reviewers: list[str], due: Duration = _FORTNIGHT) -> Plan | Reply:
    """Ask owners about commands that are unused, ownerless or mostly failing: should each stay, or be given up?

    A command whose owner is a group of the policy is that group's to answer, REVIEWERS answer for the rest. They find a table in the inbox
    and are reminded until they have answered. Every month: schedule add unused "0 9 1 * *" "catalogue review @admins" ACCOUNT
    """
    async with ctx.services.reading() as session:
        everybody = await find_all_people(session)
        commands = [one for one in ctx.services.rulebook.registry.commands.values() if one.kind == "command"]
        used = await find_used(session, [one.name for one in commands])
    marked = {one.name: marks for one in commands if (marks := marks_of(one, used[one.name]))}
    if not marked:
        return Reply(text="There is nothing to look at.")
    owners = _by_owner(ctx.services.rulebook.policy, everybody, [one for one in commands if one.name in marked], _named(reviewers))
    rows = {who: [_row(one, marked[one.name], used[one.name]) for one in some] for who, some in owners.items()}
    asks = [ask for who, table in rows.items() for ask in _asks(who, table, due)]
    return Plan(
        f"{len(marked)} commands are looked at by {', '.join(' and '.join(one) for one in rows)}",
        parallel(*asks, at_once=min(len(asks), 100)),
        note_review([one.result for one in asks]),  # type: ignore[misc]
    )


@step(idempotent=True, timeout="1m")
async def note_review(ctx: Context, answers: list[dict[str, Any]]) -> str:
    """Records what was said of every command."""
    kept = sorted(row["command"] for one in answers for row in one["accepted"])
    given_up = sorted(row["command"] for one in answers for row in one["rejected"])
    detail = {"kept": kept, "to_give_up": given_up, "by": sorted({one["by"] for one in answers})}
    async with ctx.services.transaction() as session:
        await record(session, [AuditEvent("catalogue:reviewed", ctx.asker.name, run_of(ctx), detail)])
    return f"{len(kept)} stay as they are; to be given up: {', '.join(given_up) or 'none'}"


def _named(reviewers: Sequence[str]) -> tuple[str, ...]:
    if not reviewers:
        raise PlanRefused("Name somebody, or a group as in @admins, who answers for what nobody owns.")
    return tuple(dict.fromkeys(reviewers))


def _by_owner(
    policy: BoundPolicy, everybody: Sequence[Person], commands: Sequence[Command], otherwise: tuple[str, ...]
) -> Mapping[tuple[str, ...], list[Command]]:
    """Each command with whom to ask; a group in which nobody is cannot answer."""
    groups = {group for one in everybody if one.active and not one.service for group in policy.groups_of(one)}
    found: dict[tuple[str, ...], list[Command]] = {}
    for one in sorted(commands, key=lambda one: one.name):
        found.setdefault((f"@{one.owner}",) if one.owner in groups else otherwise, []).append(one)
    return found


def _row(one: Command, marks: Sequence[str], used: Any) -> dict[str, str]:
    last = f"{used.last_at:%Y-%m-%d}" if used.last_at else f"not in {USED_DAYS} days"
    return {"command": one.name, "look": "; ".join(marks), "owner": one.owner or "nobody", "last asked": last}


def _asks(who: Sequence[str], rows: Sequence[Mapping[str, str]], due: Duration) -> list[Step]:
    times = {"due": str(due), "remind": str(Duration(seconds=max(3_600.0, due.total_seconds() / 4)))}
    tables = [rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE)]
    return [ask_review(list(who), "Which commands stay?", table, prefilled=False, text=_TOLD, **times) for table in tables]
