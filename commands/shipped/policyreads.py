"""policy matrix, diff and suggest: who may do what, what another policy would have decided, and what this one could leave out.

Workers answer them, because they look at much; the answers are private, because they speak of everybody.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from commands.explaining import Explainer, Explanation
from commands.parsing import NotUnderstood, find_command, read_arguments, split
from commands.policies import AUDIT, PolicyError, compile_policy
from commands.policydiffs import read_comparison, summary
from commands.requests import Request
from commands.rulebooks import Rulebook
from commands.suggestions import OFTEN, Used, gates_to_open, grants_to_end, roles_to_drop
from countersign import Command, PlanningContext, PlanRefused, Reply, command
from countersign.errors import BadArgument, CountersignError
from countersign.invocations import Door, Place
from store.grants import find_grants
from store.people import find_all_people
from store.usages import find_gates, find_uses, find_voted

MOST_RUNS: Final = 10_000
MOST_SHOWN: Final = 40
MOST_GIVEN: Final = 1_000
LONGEST: Final = 365


@command("policy matrix", permission=AUDIT, risk="read", visibility="private", quiet=True)
async def matrix(ctx: PlanningContext, what: list[str] | None = None, people: list[str] | None = None) -> Reply:
    """Show who may run what and who would have to approve it.

    WHAT are commands with their arguments and PEOPLE are names; all of them when left out.
    """
    rulebook: Rulebook = ctx.services.rulebook
    async with ctx.services.reading() as session:
        everybody = await find_all_people(session)
    named = [one for one in everybody if people is None or one.name in people]
    if people is not None and (unknown := sorted(set(people) - {one.name for one in everybody})):
        raise PlanRefused(f"There is no person named {unknown[0]}.")
    requests = _requests(rulebook, what)
    explainer = Explainer(rulebook.policy, everybody, rulebook.now(), alone=rulebook.alone)
    found = await asyncio.to_thread(
        lambda: {text: [explainer.explain(one, request) for one in named] for text, request in requests.items()}
    )
    lines = [line for text, answers in found.items() for line in (text, *_grouped_lines(answers))]
    data = {text: _grouped(answers) for text, answers in found.items()}
    told = f"{len(named):,} people and {len(requests)} commands, under policy {rulebook.policy.digest[:12]}:"
    return Reply(text=told, code="\n".join(lines[: 5 * MOST_SHOWN]), data={"policy": rulebook.policy.digest, "commands": data})


@command("policy diff", permission=AUDIT, risk="read", visibility="private", quiet=True)
async def diff(ctx: PlanningContext, new: str, old: str = "", days: int = 30) -> Reply:
    """Show what was asked in the last DAYS days and would be decided differently. From a terminal: countersign policy diff OLD NEW"""
    _check_days(days)
    rulebook: Rulebook = ctx.services.rulebook
    async with ctx.services.reading() as session:
        comparison = await read_comparison(session, rulebook, days=days, limit=MOST_RUNS)
    try:
        new_one, old_one = compile_policy(new), compile_policy(old) if old else None
    except PolicyError as error:
        raise PlanRefused(str(error)) from None
    found = await asyncio.to_thread(comparison.differences, new_one, old_one)
    asked = comparison.asked
    told = summary(len(asked), found, days=days) + (f" Only the latest {MOST_RUNS:,} were looked at." if len(asked) == MOST_RUNS else "")
    data = {"days": days, "compared": len(asked), "different": len(found), "differences": [one.as_json() for one in found[:MOST_GIVEN]]}
    return Reply(text=told, code="\n".join(map(str, found[:MOST_SHOWN])), data=data)


@command("policy suggest", permission=AUDIT, risk="read", visibility="private", quiet=True)
async def suggest(ctx: PlanningContext, days: int = 90) -> Reply:
    """Show gates that were asked often and never refused, and roles that nobody used, in the last DAYS days."""
    _check_days(days)
    rulebook: Rulebook = ctx.services.rulebook
    policy, commands, length = rulebook.policy, rulebook.registry.commands, timedelta(days=days)
    async with ctx.services.reading() as session:
        people = await find_all_people(session)
        gates = await find_gates(session, since=length, least=OFTEN)
        used = Used(await find_uses(session, since=length), await find_voted(session, since=length))
        grants = await find_grants(session)
    found = [
        *gates_to_open(policy, gates, {one.name: one for one in people}, commands),
        *grants_to_end(policy, grants, used, commands, before=rulebook.now() - length),
        *roles_to_drop(policy, people, used, commands),
    ]
    told = (
        f"In the last {days} days:"
        if found
        else f"Nothing to suggest: every gate was refused or asked less than {OFTEN} times, every role used."
    )
    return Reply(
        text=told,
        code="\n".join(one.text for one in found[:MOST_SHOWN]),
        data={"days": days, "suggestions": [one.as_json() for one in found]},
    )


def _requests(rulebook: Rulebook, what: Sequence[str] | None) -> dict[str, Request]:
    """The requests meant, by what was typed. A command whose arguments are needed and not given is looked at before they are."""
    commands = rulebook.registry.commands
    if what is None:
        return {name: _offered(one, rulebook) for name, one in sorted(commands.items()) if one.kind == "command"}
    return {text: _typed(text, commands, rulebook) for text in what}


def _typed(text: str, commands: Mapping[str, Command], rulebook: Rulebook) -> Request:
    try:
        line = split(text)
        found, words = find_command(line, commands)
        if found is None:
            raise PlanRefused(f"There is no command '{line.words[0][:40]}'.")
        call = read_arguments(found, words)
        if not call.arguments:
            return _offered(found, rulebook)
        arguments = found.schema.written(found.schema.validate(call.arguments))
    except (NotUnderstood, CountersignError) as error:
        raise PlanRefused(str(error)) from None
    plain = {name: value for name, value in arguments.items() if name not in found.schema.secrets}
    return Request(found.permission, Door.api, Place("api"), found, plain, reason=call.reason, now=rulebook.now())


def _offered(one: Command, rulebook: Rulebook) -> Request:
    """With the defaults if there are defaults for everything."""
    asked = Request(one.permission, Door.api, Place("api"), one, now=rulebook.now())
    if any(parameter.required for parameter in one.schema.parameters):
        return replace(asked, offered=True)
    return replace(asked, arguments=one.schema.written(one.schema.validate({})), reason="")


def _grouped(answers: Sequence[Explanation]) -> list[dict[str, Any]]:
    """People of whom the same is true, together; who could approve is not said for each without themselves."""
    groups: dict[str, dict[str, Any]] = {}
    for one in answers:
        rule = one.approval.as_json() if one.approval else None
        told = {"allowed": one.allowed, "because": one.because, "rule": one.rule, "approval": rule}
        groups.setdefault(repr(told), told | {"people": []})["people"].append(one.person)
    return list(groups.values())


def _grouped_lines(answers: Sequence[Explanation]) -> list[str]:
    groups: dict[str, list[str]] = {}
    for one in answers:
        wanted = ", then ".join(stage.wanted for stage in one.stages)
        told = f"no: {one.because}" if not one.allowed else f"yes, approved by {wanted}" if wanted else "yes"
        groups.setdefault(told, []).append(one.person)
    return [f"  {told}: {', '.join(names[:8])}{f' and {len(names) - 8} more' if len(names) > 8 else ''}" for told, names in groups.items()]


def _check_days(days: int) -> None:
    if not 1 <= days <= LONGEST:
        raise BadArgument("days", f"should be from 1 to {LONGEST}")
