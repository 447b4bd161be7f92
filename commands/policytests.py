"""policy test: a table of who asks what, where and when, and what should become of it. Pure; for CI."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from countersign.commands import Command
from countersign.errors import CountersignError
from countersign.invocations import Door, Place
from countersign.moments import instant
from store.people import Person

from .explaining import Explainer, Explanation
from .parsing import NotUnderstood, find_command, read_arguments, split
from .policies import BoundPolicy
from .requests import Request
from .rules import Part
from .yamls import Lines, PolicyError, read_yaml


class WhoEntry(Part):
    """Somebody who is not in the policy, or who has other groups and roles than there."""

    name: str
    groups: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    service: bool = False


class WhereEntry(Part):
    door: Door = Door.slack
    channel: str = ""


class WantedApproval(Part):
    """What is left out is not compared. `people` must all be able to approve."""

    count: int | None = None
    by: str | None = None
    people: tuple[str, ...] = ()
    step_up: Literal["", "login", "passkey"] | None = None


class Case(Part):
    who: str | WhoEntry
    what: str
    where: WhereEntry = WhereEntry()
    at: str = ""
    reason: str = ""
    outcome: Literal["allowed", "refused"]
    rule: str = ""
    approval: WantedApproval | Literal["none"] | None = None


class Table(Part):
    """`policy` is the file that is tested, beside the table's own, unless another one is given."""

    policy: str = ""
    cases: Annotated[tuple[Case, ...], Field(min_length=1)]


@dataclass(frozen=True)
class Result:
    """What became of one case; `problems` say how it is not as wanted."""

    line: int
    case: Case
    problems: tuple[str, ...]

    def __str__(self) -> str:
        name = self.case.who if isinstance(self.case.who, str) else self.case.who.name
        return f"line {self.line}: {name}: {self.case.what}: {'; '.join(self.problems) or 'as wanted'}"


def read_table(body: str) -> tuple[Table, Lines]:
    """Raises PolicyError naming the line."""
    data, lines = read_yaml(body)
    try:
        return Table.model_validate(data), lines
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = [str(part) for part in first["loc"]]
        told = "is not a key that is known here" if first["type"] == "extra_forbidden" else first["msg"].replace("Input should", "should")
        raise PolicyError(f"line {lines.at(*path)}: {'.'.join(path)}: {told}") from None


def run_table(table: Table, lines: Lines, policy: BoundPolicy, commands: Mapping[str, Command], *, now: datetime) -> Iterator[Result]:
    """Every case decided; `now` is the time of those that name none."""
    people = [Person(name, one.active, frozenset(one.groups), frozenset(), manager=one.manager) for name, one in policy.file.people.items()]
    people += [Person(name, one.active, frozenset(one.groups), frozenset(), True) for name, one in policy.file.service_accounts.items()]
    for n, case in enumerate(table.cases):
        yield Result(lines.at("cases", n), case, tuple(_problems(case, policy, people, commands, now)))


def _problems(case: Case, policy: BoundPolicy, people: Sequence[Person], commands: Mapping[str, Command], now: datetime) -> Iterator[str]:
    try:
        request = _request(case, commands, now)
    except CountersignError as error:
        yield str(error)
        return
    person = _person(case.who, people)
    explainer = Explainer(policy, people, request.now or now, alone=len(people) == 1)
    found = explainer.explain(person, request)
    outcome = "allowed" if found.allowed else "refused"
    if outcome != case.outcome:
        yield f"{outcome} ({found.because}), wanted {case.outcome}"
    if case.rule and not _says(found, case.rule):
        yield f"decided by {found.rule or found.because or 'no rule'}, wanted rule {case.rule!r}"
    yield from _approval_problems(found, case.approval)


def _approval_problems(found: Explanation, wanted: WantedApproval | str | None) -> Iterator[str]:
    approval = found.approval
    if wanted is None:
        return
    if isinstance(wanted, str) or approval is None:
        if approval is not None:
            yield f"{approval.least} have to approve, wanted none"
        elif not isinstance(wanted, str):
            yield "nobody has to approve, wanted an approval"
        return
    able = {name for stage in found.stages for name in stage.people}
    if wanted.count is not None and approval.least != wanted.count:
        yield f"{approval.least} have to approve, wanted {wanted.count}"
    if wanted.by is not None and approval.by != wanted.by:
        yield f"approved by {approval.by or 'stages'}, wanted {wanted.by}"
    if missing := [name for name in wanted.people if name not in able]:
        yield f"{' and '.join(missing)} cannot approve; {', '.join(sorted(able)) or 'nobody'} can"
    if wanted.step_up is not None and approval.step_up != wanted.step_up:
        yield f"approved with step_up {approval.step_up or 'none'}, wanted {wanted.step_up or 'none'}"


def _says(found: Explanation, rule: str) -> bool:
    told = f"rule {rule!r}"
    return told in found.rule or told in found.because or any(told in one for one in found.sources)


def _person(who: str | WhoEntry, people: Sequence[Person]) -> Person:
    if isinstance(who, WhoEntry):
        return Person(who.name, True, frozenset(who.groups), frozenset(who.roles), service=who.service)
    return next((one for one in people if one.name == who), Person(who, True, frozenset(), frozenset()))


def _request(case: Case, commands: Mapping[str, Command], now: datetime) -> Request:
    """Raises CountersignError for what cannot be asked."""
    try:
        line = split(case.what)
        command, words = find_command(line, commands)
        if command is None:
            raise CountersignError(f"there is no command '{line.words[0][:40]}'")
        call = read_arguments(command, words)
        at = instant(case.at) if case.at else now
    except (NotUnderstood, ValueError) as error:
        raise CountersignError(str(error)) from None
    arguments: dict[str, Any] = command.schema.written(command.schema.validate(call.arguments))
    plain = {name: value for name, value in arguments.items() if name not in command.schema.secrets}
    place = Place("room", "", case.where.channel.removeprefix("#"))
    return Request(command.permission, case.where.door, place, command, plain, reason=case.reason or call.reason, now=at)
