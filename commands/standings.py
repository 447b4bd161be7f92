"""Standing approvals: which asked runs one allows, and whether those who approved it could have approved exactly this run."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from itertools import islice, product
from typing import Any, Final

from countersign.approvals import Approval, merged
from countersign.commands import Command
from countersign.errors import BadArgument, CountersignError
from countersign.permissions import Risk
from countersign.schemas import Parameter
from countersign.tallies import Outcome
from store.approvals import find_request
from store.databases import ReadSession
from store.people import Person
from store.runs import RunRow, find_run
from store.standings import StandingRow, find_live

from .accesses import ASK
from .authorizing import Request, required_approval
from .policies import APPROVE, Policy
from .rulebooks import Rulebook
from .voting import matter_of, read_ballot

MOST_COMBINATIONS: Final = 64
_ORDERED: Final = (int, float, timedelta, date)


def read_conditions(command: Command, given: Mapping[str, str]) -> dict[str, Any]:
    """What each argument may be: `{"in": […]}`, `{"from": …, "to": …}` or `{"any": true}`, from `a|b`, `1..5`, `*` or one value.

    An argument that is not named has to have its default. Raises CountersignError with a sentence.
    """
    known = {one.name: one for one in command.schema.parameters}
    if unknown := sorted(set(given) - set(known)):
        raise BadArgument(unknown[0], f"is not an argument of {command.name}")
    if secret := sorted(command.schema.secrets):
        raise CountersignError(f"{command.name} takes a secret ({secret[0]}), so each of its runs is approved by itself.")
    if missing := [one.name for one in known.values() if one.required and one.name not in given]:
        raise CountersignError(f"Say what {missing[0]} may be: one value, several as a|b, a range as 1..5, or * for any.")
    return {name: _condition(command, known[name], text) for name, text in given.items()}


def allows(row: StandingRow, command: Command, person: Person, arguments: Mapping[str, Any]) -> bool:
    """Whether a standing approval is about this person's request; whether it may still be used is another question."""
    named = person.name in row.people or any(f"@{group}" in row.people for group in person.groups)
    return named and all(
        _within(command, one, row.arguments[one.name], arguments.get(one.name))
        if one.name in row.arguments
        else arguments.get(one.name) == command.schema.written({**_defaults(command), one.name: one.default})[one.name]
        for one in command.schema.parameters
    )


def asked_of(rulebook: Rulebook, person: Person, request: Request, conditions: Mapping[str, Any]) -> Approval | None:
    """The approval that the runs would need which a standing one allows: of every combination of its values and ends together."""
    each = [[(name, value) for value in _samples(one)] for name, one in conditions.items() if not one.get("any")]
    found = []
    for choice in islice(product(*each), MOST_COMBINATIONS):
        one = replace(request, arguments=dict(request.arguments) | dict(choice))
        rule, _ = required_approval(rulebook.policy, person, one, alone=False)
        found.append(rule)
    wanted = [one for one in found if one is not None]
    return merged(wanted, general=APPROVE) if wanted else None


def always_asked(command: Command) -> bool:
    """Whether each run is approved by itself whatever stands: what is of critical risk, and giving somebody a role."""
    return command.risk is Risk.critical or command.permission == ASK


async def standing_for(session: ReadSession, rulebook: Rulebook, run: RunRow, person: Person, rule: Approval) -> StandingRow | None:
    """The first standing approval that may be used for this run in the place of people's votes; None when people have to be asked."""
    command = rulebook.registry.find(run.command)
    if command is None or always_asked(command) or rule.step_up:
        return None
    for row, used in await find_live(session, [run.command]):
        if used < row.uses and await holds(session, rulebook, row, run, person, rule):
            return row
    return None


async def holds(session: ReadSession, rulebook: Rulebook, row: StandingRow, run: RunRow, person: Person, rule: Approval) -> bool:
    """Whether a standing approval still carries this run: it is about it, and those who approved it may approve this now.

    They are counted as they are now, under the rule that this run needs now, with its asker and editors left out.
    """
    command = rulebook.registry.find(run.command)
    if command is None or always_asked(command) or rule.step_up or not allows(row, command, person, run.arguments):
        return False
    made = await find_run(session, row.run_id)
    request = await find_request(session, row.run_id)
    if made is None or request is None or request.digest != made.digest:
        return False
    ballot = await read_ballot(session, rulebook, request, made)
    if ballot.tally().outcome is not Outcome.approved:
        return False
    matter = matter_of(rulebook, run, at=ballot.now)
    barred = ballot.case.barred | matter.barred | {run.asker, matter.holder}
    here = replace(ballot, case=replace(ballot.case, barred=barred), matter=matter)
    return here.meets(replace(rule, editor_may=False, asker_may=False))


def written_conditions(conditions: Mapping[str, Any]) -> str:
    """As one would type them."""
    return " ".join(f"{name}={_written(one)}" for name, one in conditions.items())


def checked_people(policy: Policy, names: Sequence[str], known: Mapping[str, Person]) -> list[str]:
    """The people and `@groups` named; raises CountersignError for one that nobody is."""
    for name in names:
        if name.startswith("@"):
            if name[1:] not in policy.file.groups and not any(name[1:] in one.groups for one in known.values()):
                raise CountersignError(f"There is no group named {name[1:]}.")
        elif name not in known or not known[name].active:
            raise CountersignError(f"There is no person named {name}.")
    return list(dict.fromkeys(names))


def _condition(command: Command, parameter: Parameter, text: str) -> dict[str, Any]:
    if text == "*":
        return {"any": True}
    low, dots, high = text.partition("..")
    if dots and low and high:
        ends = [command.schema.wanted(parameter.name, low), command.schema.wanted(parameter.name, high)]
        first, last = (_typed(command, parameter, one) for one in ends)
        if isinstance(first, bool) or not isinstance(first, _ORDERED):
            raise BadArgument(parameter.name, "has no order, so it has no range; name its values as a|b")
        if not first <= last:
            raise BadArgument(parameter.name, "a range goes from the smaller to the larger value")
        return {"from": ends[0], "to": ends[1]}
    return {"in": [command.schema.wanted(parameter.name, one) for one in text.split("|")]}


def _within(command: Command, parameter: Parameter, condition: Mapping[str, Any], value: Any) -> bool:
    if condition.get("any"):
        return True
    if "in" in condition:
        values = value if isinstance(value, list) else [value]
        return bool(values) and all(one in condition["in"] for one in values)
    if value is None:
        return False
    given = value if isinstance(value, list) else [value]
    low, high = (_typed(command, parameter, condition[end]) for end in ("from", "to"))
    return bool(given) and all(low <= _typed(command, parameter, one) <= high for one in given)


def _typed(command: Command, parameter: Parameter, value: Any) -> Any:
    alone = command.schema.without({one.name for one in command.schema.parameters} - {parameter.name})
    typed = alone.validate({parameter.name: [value] if parameter.many else value})[parameter.name]
    return next(iter(typed)) if parameter.many else typed


def _defaults(command: Command) -> dict[str, Any]:
    return {one.name: one.default for one in command.schema.parameters}


def _samples(condition: Mapping[str, Any]) -> list[Any]:
    return list(condition["in"]) if "in" in condition else [condition["from"], condition["to"]]


def _written(condition: Mapping[str, Any]) -> str:
    if condition.get("any"):
        return "*"
    return "|".join(map(str, condition["in"])) if "in" in condition else f"{condition['from']}..{condition['to']}"
