"""help and whoami."""

from typing import Final

from commands.authorizing import Request
from commands.controls import ControlContext
from commands.inboxes import waiting_for
from commands.switches import sentences
from countersign.commands import Command, control
from countersign.errors import CountersignError
from countersign.permissions import Risk
from countersign.replies import Reply
from countersign.runs import RunStatus
from store.rosters import POLICY, find_memberships
from store.runs import search_runs


@control("help")
async def show_help(ctx: ControlContext, command: str = "") -> Reply:
    """Show what you may run, or how to use one command."""
    request = Request(permission="countersign:use", door=ctx.invocation.door, place=ctx.invocation.place)
    allowed, listed = ctx.rulebook.commands_for(ctx.person, request), ctx.rulebook.listed_for(ctx.person, request)
    if not command:
        always = [one for one in listed if one.name not in _HOLDERS | _VOTERS]
        listed = sorted([*always, *await _for_those_concerned(ctx, allowed)], key=lambda one: one.name)
        stopped = "".join(f"{one}\n" for one in sentences(ctx.rulebook.switches))
        return Reply(text=f"{stopped}What you may run here. For one of them: help COMMAND", code="\n".join(_lines(listed)))
    name = command.strip().removeprefix("/").lower()
    found = next((one for one in allowed if one.name == name), None)
    if found is None:
        near = ctx.rulebook.registry.nearest(name, among=[one.name for one in listed])
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise CountersignError(f"You have no command '{name[:40]}'.{hint}")
    return Reply(text=found.help, code="\n".join(_details(found)))


@control("whoami")
async def whoami(ctx: ControlContext) -> Reply:
    """Show who Countersign takes you for, your groups and what you may do."""
    person, policy = ctx.person, ctx.rulebook.policy
    permissions = sorted(policy.permissions_of(person.roles, person.groups))
    sources = {one.group: one.source for one in await find_memberships(ctx.session, person.name)}
    groups = [f"{one}{_from(sources.get(one, POLICY))}" for one in sorted(person.groups)]
    departments = [
        f"{name} (through {', '.join(sorted(person.groups & set(members)))})"
        for name, members in sorted(policy.file.departments.items())
        if not person.groups.isdisjoint(members)
    ]
    lines = [
        f"person       {person.name}",
        f"groups       {', '.join(groups) or 'none'}",
        *([f"departments  {', '.join(departments)}"] if departments else []),
        *([f"manager      {person.manager}"] if person.manager else []),
        f"permissions  {', '.join(permissions) or 'those of the profile'}",
        f"profile      {policy.profile}",
        f"time zone    {person.timezone}",
    ]
    return Reply(text=f"You are {person.name}.", code="\n".join(lines))


def _from(source: str) -> str:
    """Where a group comes from, unless the policy says so."""
    return "" if source == POLICY else " (from Slack)" if source.startswith("slack:") else " (from the directory)"


_LATEST: Final = 20
_HOLDERS: Final = {"edit", "withdraw", "handover", "comment", "answer"}
_VOTERS: Final = {"edit", "takeback", "comment", "ask"}


async def _for_those_concerned(ctx: ControlContext, allowed: list[Command]) -> list[Command]:
    """What one does with an open request, for those who asked for one or are asked about one."""
    asked = await search_runs(ctx.session, asker=ctx.person.name, limit=_LATEST)
    holds = any(one.status in (RunStatus.awaiting_approval, RunStatus.queued) for one in asked)
    votes = bool((await waiting_for(ctx.session, ctx.rulebook, ctx.person, limit=1)).waiting)
    names = (_HOLDERS if holds else set()) | (_VOTERS if votes else set())
    return [one for one in allowed if one.name in names]


def _lines(commands: list[Command]) -> list[str]:
    width = max((len(one.usage) for one in commands), default=0)
    return [f"{one.usage.ljust(min(width, 46))}  {one.summary}" for one in commands]


def _details(command: Command) -> list[str]:
    lines = [f"usage       {command.usage}", f"permission  {command.permission}"]
    if command.kind == "command":
        lines.append(f"risk        {command.risk.name}")
    if command.approval:
        when = ", ".join(f"{name}={value}" for name, value in (command.approval.when or {}).items())
        lines.append(f"approval    {command.approval.count} of those who hold {command.approval.by}{f', when {when}' if when else ''}")
    elif command.risk >= Risk.high:
        lines.append("approval    as policy says")
    for one in command.schema.parameters:
        note = f"one of {', '.join(one.choices)}" if one.choices else one.hint or ("required" if one.required else "")
        lines.append(f"  {one.name.ljust(10)}{note}")
    if command.deprecated:
        lines.append(f"deprecated  {command.deprecated}")
    if command.owner:
        lines.append(f"owner       {command.owner}")
    return lines
