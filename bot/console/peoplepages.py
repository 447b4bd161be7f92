"""People and access: who there is, which accounts are theirs, what groups and grants give them; others see themselves."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from bot.api.problems import Problem
from bot.api.stories import HIDDEN, hidden
from bot.hubs import Hub
from commands.ending import moment
from commands.policies import BoundPolicy
from commands.rulebooks import uses_roles
from countersign.invocations import Door
from store.databases import ReadSession
from store.grants import Grant, find_grants
from store.people import Person, find_linked, find_people, find_roster
from store.rosters import Membership, find_memberships

from .frames import Frame, framed, here_of
from .panes import Asking, Cell, Pane, panes_page, reads_all

router = APIRouter(include_in_schema=False)
SHOWN: Final = 200
NOBODY: Final = "There is nobody of this name whom you may see."


@dataclass(frozen=True)
class Known:
    """What is known of one person."""

    person: Person
    accounts: list[Any]
    memberships: list[Membership]
    grants: list[Grant]


@router.get("/people")
async def show_all(
    request: Request, q: Annotated[str, Query(max_length=64)] = "", after: Annotated[str, Query(max_length=64)] = ""
) -> Response:
    here = await here_of(request, "/people", q=q)
    frame = await framed(request, here, "/people")
    everybody = reads_all(frame)
    hub: Hub = request.app.state.hub

    async def read(session: ReadSession) -> tuple[list[Person], list[Grant]]:
        if not everybody:
            return [here.visitor.person], await find_grants(session, subject=here.visitor.person.name)
        return await find_roster(
            session, q.strip().lower().replace("\0", ""), after=after.replace("\0", ""), limit=SHOWN + 1
        ), await find_grants(session)

    people, grants = await hub.read(read)
    more = people[SHOWN - 1].name if len(people) > SHOWN else ""
    panes = list(_list(frame, people[:SHOWN], grants, more, q)) + (list(_groups(frame)) if everybody else [])
    search = {"method": "get", "action": "/people", "hidden": {}, "inputs": [("q", "Name begins with", q)], "words": "Show"}
    lead = "" if everybody else "You see yourself here; admins and auditors see everybody."
    return panes_page(request, frame, "People", panes, form=search if everybody else None, lead=lead)


@router.get("/people/{name}")
async def show(request: Request, name: str) -> Response:
    here = await here_of(request, f"/people/{name[:64]}")
    frame = await framed(request, here, "/people")
    hub: Hub = request.app.state.hub
    if name != here.visitor.person.name and not reads_all(frame):
        await hub.record([hidden(here.visitor.person, name, door=Door.browser, trace=here.visitor.trace)])
        raise Problem(404, HIDDEN, NOBODY)

    async def read(session: ReadSession) -> Known | None:
        person = None if "\0" in name else (await find_people(session, [name])).get(name)
        if person is None:
            return None
        grants = await find_grants(session, subject=name, ended=True)
        return Known(person, await find_linked(session, name), await find_memberships(session, name), grants)

    known = await hub.read(read)
    if known is None:
        raise Problem(404, HIDDEN, NOBODY)
    return panes_page(request, frame, known.person.name, _person(frame, known))


def _list(frame: Frame, people: list[Person], grants: list[Grant], more: str, q: str) -> Iterator[Pane]:
    here, policy = frame.here, frame.rulebook.policy
    ends: dict[str, list[str]] = {}
    for one in grants:
        ends.setdefault(one.subject, []).append(f"{one.role} until {moment(one.until)}")
    head = ("Name", "State", "Groups and departments", "Roles", "Granted for a while")
    for title, some in (
        ("People", [one for one in people if not one.service]),
        ("Service accounts", [one for one in people if one.service]),
    ):
        rows = [
            (
                Cell(one.name, here.link(f"/people/{one.name}")),
                Cell("active", tone="good") if one.active else Cell("deactivated", tone="bad"),
                _names(policy.groups_of(one)),
                _names(policy.roles_of(one)),
                "; ".join(ends.get(one.name, ())),
            )
            for one in some
        ]
        access = (
            (Cell("Who has what", here.link("/access", q=q)),)
            if title == "People" and reads_all(frame) and uses_roles(frame.rulebook)
            else ()
        )
        further = (*access, *((Cell("More", here.link("/people", q=q, after=more)),) if more else ()))
        if rows or title == "People":
            yield Pane(title, head, rows, "Nobody's name begins so.", links=further)


def _groups(frame: Frame) -> Iterator[Pane]:
    file = frame.rulebook.policy.file
    if file.groups:
        rows = [(name, _names(roles)) for name, roles in sorted(file.groups.items())]
        yield Pane("Groups", ("Group", "Roles that come with it"), rows)
    if file.departments:
        told = [(name, _names(groups), _names(file.groups.get(name, ()))) for name, groups in sorted(file.departments.items())]
        aside = "Whoever is in one of the groups is in the department too, and has its roles."
        yield Pane("Departments", ("Department", "Groups in it", "Roles that come with it"), told, aside=aside)
    if file.roles:
        carried = [(name, _names(patterns)) for name, patterns in sorted(file.roles.items())]
        yield Pane("Roles", ("Role", "Permissions"), carried)


def _person(frame: Frame, known: Known) -> Iterator[Pane]:
    person, asking, here = known.person, Asking(frame), frame.here
    yield Pane("Facts", rows=_facts(known))
    accounts = [(one.platform, one.team, Cell(one.account, code=True), one.linked_at, one.linked_by) for one in known.accounts]
    head = ("Platform", "Team", "Account", "Linked", "By")
    yield Pane("Linked accounts", head, accounts, "None is linked.", links=asking.link("Link one", "link", person=person.name))
    groups = list(_memberships(frame.rulebook.policy, known))
    yield Pane("Groups and departments", ("Name", "Comes from", "Roles that come with it"), groups, "In no group.")
    grant = asking.link("Grant a role", "grant", person=person.name) if person.name != here.visitor.person.name else ()
    live = [_granted(frame, asking, one) for one in known.grants if one.live]
    terms = ("Grant", "Role", "Since", "Until", "Approved by", "Reason", "Run", "")
    yield Pane("Granted roles", terms, live, "No role is granted at run time.", links=grant)
    past = [
        (one.name, one.role, one.granted_at, one.ended_at or one.until, one.ended_how or "expired") for one in known.grants if not one.live
    ]
    if past:
        yield Pane("Grants that have ended", ("Grant", "Role", "From", "To", "How it ended"), past[:50])


def _facts(known: Known) -> list[tuple[str | Cell, ...]]:
    person = known.person
    facts = [
        ("kind", "service account: schedules and triggers run as it; it never votes" if person.service else "person"),
        ("state", Cell("active", tone="good") if person.active else Cell("deactivated", tone="bad")),
        ("e-mail", person.email),
        ("manager", person.manager),
        ("time zone", person.timezone),
    ]
    return [one for one in facts if one[1]]


def _memberships(policy: BoundPolicy, known: Known) -> Iterator[tuple[str, str, str]]:
    """Each group with where it comes from; a department through the groups that lead into it, which is as far as it goes."""
    file = policy.file
    for one in known.memberships:
        yield one.group, "the policy" if one.source == "policy" else one.source, _names(file.groups.get(one.group, ()))
    for name, members in sorted(file.departments.items()):
        if through := known.person.groups & set(members):
            yield name, f"a department, through {_names(through)}", _names(file.groups.get(name, ()))


def _granted(frame: Frame, asking: Asking, one: Grant) -> tuple[Any, ...]:
    mine = one.subject == frame.here.visitor.person.name
    extend = asking.link("Extend", "access extend", role=one.role) if mine and one.until else ()
    give_back = (
        asking.link("Return", "access return", grant=one.name)
        if mine
        else asking.link("Revoke", "revoke", person=one.subject, role=one.role)
    )
    run = Cell(f"#{one.run}", frame.here.link(f"/runs/{one.run}")) if one.run else None
    until = one.until or "it is revoked"
    return one.name, one.role, one.granted_at, until, " and ".join(one.approved_by), one.reason, run, (*extend, *give_back)


def _names(names: Any) -> str:
    return ", ".join(sorted(names)) or "none"
