"""access request, extend, return and list: a role for a while, approved by others, that ends by itself and leaves its history."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from commands.accesses import ASK, OWNERS, longest
from commands.authorizing import is_admin, is_auditor
from commands.controls import ControlContext
from commands.ending import length_of, moment
from commands.policies import USE
from countersign import Duration, Plan, PlanningContext, PlanRefused, command
from countersign.arguments import Person as PersonName
from countersign.commands import control
from countersign.errors import CountersignError
from countersign.replies import Field, Reply
from store.grants import Grant, find_grant, find_grants
from store.people import Person, find_person

from .givings import end_grant, extend_grant, give_role, shorten_grant, take_back

_SHORTEST: Final = timedelta(minutes=1)
_LISTED: Final = 15


@command("access request", permission=ASK, approval=OWNERS)
async def access_request(ctx: PlanningContext, role: str, duration: Duration) -> Plan:
    """Ask for a role for a while: it begins when others have approved it, and ends by itself."""
    person = await _asker(ctx, role)
    _check_length(ctx, role, duration, ahead=duration)
    if held := await _held(ctx, role):
        hint = f" To keep it longer: access extend {role} {duration}" if held[0].until else ""
        raise PlanRefused(f"You have the role {role} until {moment(held[0].until)} ({held[0].name}).{hint}")
    policy = ctx.services.rulebook.policy
    if role in policy.roles_of(person):
        raise PlanRefused(f"You have the role {role} already, through a group.")
    carries = sorted(policy.file.roles[role])
    ctx.watch("what the role carries", carries)
    return Plan(
        f"{person.name} gets the role {role} for {duration}, from its approval on",
        give_role(person.name, role, str(duration)).undone_by(take_back(person.name, role)),
        fields=(Field(label="Carries", value=", ".join(carries) or "nothing"),),
    )


@command("access extend", permission=ASK, approval=OWNERS)
async def access_extend(ctx: PlanningContext, role: str, duration: Duration) -> Plan:
    """Ask to keep a role that you have for a while, for longer; others approve that again."""
    person = await _asker(ctx, role)
    held = next(iter(await _held(ctx, role)), None)
    if held is None:
        raise PlanRefused(f"You do not have the role {role} for a while. Ask for it: access request {role} {duration}")
    if held.until is None or held.remaining is None:
        raise PlanRefused(f"You have the role {role} until it is revoked ({held.name}), so there is nothing to extend.")
    _check_length(ctx, role, duration, ahead=held.remaining + duration)
    return Plan(
        f"{person.name} keeps the role {role} for {duration} more, until {moment(held.until + duration)}",
        extend_grant(str(held.id), held.until.isoformat(), str(duration)).undone_by(shorten_grant()),
        fields=(
            Field(label=held.name, value=f"{moment(held.granted_at)} to {moment(held.until)}, approved by {_names(held.approved_by)}"),
        ),
    )


@command("access return", permission=USE, risk="low")
async def access_return(ctx: PlanningContext, grant: str) -> Plan:
    """Give a role back before its time, at once. GRANT is a role that was granted to you, or a grant's number such as G12."""
    found = await _meant(ctx, grant)
    whose = "" if found.subject == ctx.asker.name else f" of {found.subject}"
    return Plan(f"{ctx.asker.name} ends the role {found.role}{whose} ({found.name})", end_grant(str(found.id)))


@control("access list")
async def access_list(ctx: ControlContext, person: PersonName | None = None, history: bool = False) -> Reply:
    """Show the roles granted to you for a while; admins and auditors see everybody's. With --history also those that have ended."""
    reads_all = is_admin(ctx.rulebook.policy, ctx.person) or is_auditor(ctx.rulebook.policy, ctx.person)
    if person not in (None, ctx.person.name) and not reads_all:
        raise CountersignError("Only admins and auditors see what is granted to others.")
    subject = person or (None if reads_all else ctx.person.name)
    found = await find_grants(ctx.session, subject=subject, ended=history)
    whose = "to anybody" if subject is None else "to you" if subject == ctx.person.name else f"to {subject}"
    if not found:
        return Reply(text=f"No role {'was ever' if history else 'is'} granted {whose} at run time.")
    more = f"; the latest {_LISTED} of {len(found)}" if len(found) > _LISTED else ""
    return Reply(text=f"Roles granted {whose}, newest first (UTC){more}.", code="\n".join(_line(one) for one in found[:_LISTED]))


async def _asker(ctx: PlanningContext, role: str) -> Person:
    """Whoever asks, if there can be somebody else to approve it."""
    rulebook = ctx.services.rulebook
    if role not in rulebook.policy.file.roles:
        raise PlanRefused(f"There is no role '{role[:40]}'; policy defines {', '.join(sorted(rulebook.policy.file.roles)) or 'none'}.")
    async with ctx.services.reading() as session:
        person = await find_person(session, ctx.asker.name)
    if person is None or person.service:
        raise PlanRefused("Only people ask for a role for a while; a service account's roles are granted by an admin.")
    if rulebook.alone:
        raise PlanRefused("Nobody grants to themselves, and there is nobody else yet who could approve it.")
    return person


def _check_length(ctx: PlanningContext, role: str, duration: Duration, *, ahead: timedelta) -> None:
    most = longest(ctx.services.rulebook.policy.file.access, role)
    if duration < _SHORTEST:
        raise PlanRefused("A role is given for a minute at least.")
    if ahead > most:
        later = "" if ahead == duration else "; ask again when less of it is left"
        raise PlanRefused(f"The role {role} is given for {most} at most{later}.")


async def _held(ctx: PlanningContext, role: str) -> list[Grant]:
    """The asker's live grants of the role, the one that ends last first."""
    async with ctx.services.reading() as session:
        found = await find_grants(session, subject=ctx.asker.name, role=role)
    return sorted(found, key=lambda one: (one.until is None, one.until or one.granted_at, one.number), reverse=True)


async def _meant(ctx: PlanningContext, reference: str) -> Grant:
    """One's own grant, or for an admin anybody's; what is not one's own does not exist for others."""
    number = reference.strip().upper().removeprefix("G")
    if not number.isdecimal() or len(number) > 17 or reference in ctx.services.rulebook.policy.file.roles:
        if held := await _held(ctx, reference.strip()):
            return held[0]
        raise PlanRefused(f"You have no granted role '{reference[:40]}'. To see what you have: access list")
    async with ctx.services.reading() as session:
        found = await find_grant(session, int(number))
        person = await find_person(session, ctx.asker.name)
    mine = found is not None and person is not None and (found.subject == person.name or is_admin(ctx.services.rulebook.policy, person))
    if found is None or not mine:
        raise PlanRefused(f"There is no grant G{number} of yours. To see what you have: access list")
    if not found.live:
        raise PlanRefused(f"{found.name} has ended already: {_ending(found)}.")
    return found


def _line(grant: Grant) -> str:
    when = f"{grant.granted_at:%Y-%m-%d %H:%M} {_ending(grant)}"
    how = [f"#{grant.run}" if grant.run else "", f"approved by {_names(grant.approved_by)}"]
    how += [f"extended #{run} by {_names(names)}" for run, names in grant.extensions]
    reason = f": {grant.reason}" if grant.reason else ""
    return f"{grant.name:<5} {grant.subject:<10} {grant.role:<14} {when}  {', '.join(filter(None, how))}{reason}"[:180]


def _ending(grant: Grant) -> str:
    if grant.live:
        return f"until {moment(grant.until)}"
    how = "expired" if grant.over or grant.ended_how == "expired" else f"{grant.ended_how} by {grant.ended_by}"
    return f"to {grant.ended_at or grant.until:%Y-%m-%d %H:%M} ({length_of(grant)}), {how}"


def _names(names: Sequence[str]) -> str:
    return " and ".join(names) or "nobody"
