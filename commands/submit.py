"""submit: a verified request becomes a run, a refusal that is remembered, a question for missing arguments, or a call of a control."""

import base64
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

from countersign.commands import Command
from countersign.errors import BadArgument, MissingArguments
from countersign.invocations import Door, Invocation, Origin
from countersign.moments import EXAMPLES, moment
from countersign.records import value
from countersign.replies import Form, Input
from countersign.runs import RunStatus
from store.audits import AuditEvent
from store.people import Person
from store.runs import NewRun

from .authorizing import Allowed, Refused, Request, authorize
from .limits import Counted, limits_for
from .matching import REASON_WANTED, find_matches
from .parsing import Call, NotUnderstood, find_command, read_arguments, split
from .rulebooks import Rulebook
from .switches import against
from .timetables import timing_of

AT: Final = "--at"
DRY_RUN: Final = "--dry-run"
REASON: Final = "--reason"
OPTIONS: Final = (AT, DRY_RUN, REASON)
"""What may be given with every command beside its arguments. A form carries those that were typed under these names."""


@value
class Birth:
    """A run to be created (`refused` if its status says so) and what to say once it is; unless one of the `limits` is used up."""

    run: NewRun
    command: Command
    sentence: str = ""
    limits: tuple[Counted, ...] = ()

    def refused(self, answer: Refused) -> "Birth":
        """The same request, refused."""
        run = replace(self.run, status=RunStatus.refused, outcome=answer.sentence, because=answer.reason, secrets={})
        return Birth(run, self.command, answer.sentence)


@value
class NotBorn:
    """Nothing to run: what to say, and the event to record."""

    sentence: str
    event: AuditEvent


@value
class Ask:
    """Required arguments are missing: a form asks for them."""

    form: Form
    sentence: str


@value
class ControlCall:
    """A control to be called in the door's own transaction."""

    command: Command
    values: Mapping[str, Any]
    arguments: Mapping[str, Any]


Prepared = Birth | NotBorn | Ask | ControlCall


@value
class _Wanted:
    command: Command
    given: Mapping[str, Any]
    typed_in_chat: bool
    dry_run: bool = False
    reason: str = ""
    start_at: str = ""

    @property
    def filled(self) -> dict[str, Any]:
        """What was given, as a form shows it again."""
        options = {AT: self.start_at, DRY_RUN: "yes" if self.dry_run else "", REASON: self.reason}
        return {**self.given, **{name: value for name, value in options.items() if value}}


def prepare(rulebook: Rulebook, person: Person, invocation: Invocation) -> Prepared:
    """Parses, validates and authorizes without touching the database; what is decided here is decided again at execution."""
    try:
        wanted = _from_text(rulebook, person, invocation) if invocation.text else _from_arguments(rulebook, person, invocation)
        if isinstance(wanted, NotBorn):
            return wanted
        return _checked(rulebook, person, invocation, wanted)
    except NotUnderstood as error:
        return _unheard(person, invocation, str(error), "not_understood")


def _checked(rulebook: Rulebook, person: Person, invocation: Invocation, wanted: _Wanted) -> Prepared:
    command = wanted.command
    if wanted.typed_in_chat and (shown := sorted(command.schema.secrets & set(wanted.given))):
        sentence = f"{shown[0]}: a secret is never typed into chat; leave it out and a form asks for it. Change it if it was real."
        return _unheard(person, invocation, sentence, "secret_in_chat", command=command.name)
    try:
        values = command.schema.validate({name: value for name, value in wanted.given.items() if value not in (None, "")})
    except BadArgument as error:
        return _incomplete(rulebook, person, invocation, wanted, error)
    arguments = command.schema.written(values)
    request = Request(
        permission=command.permission,
        door=invocation.door,
        place=invocation.place,
        command=command,
        arguments=_marked(rulebook, command, arguments, {}),
        reason=wanted.reason[:500],
        now=rulebook.now(),
    )
    found = find_matches(rulebook.policy, person, request)
    answer = authorize(rulebook.policy, person, request, found=found)
    if isinstance(answer, Allowed) and command.retired:
        answer = Refused(f"{command.name} is retired: {command.retired.rstrip('.')}.", "retired")
    if isinstance(answer, Allowed) and (stopped := against(rulebook.switches, command, dry_run=wanted.dry_run)):
        answer = Refused(stopped, "stopped")
    if isinstance(answer, Refused):
        return _turned_down(rulebook, person, invocation, wanted, arguments, answer)
    try:
        start = _start(rulebook, person, wanted) if wanted.start_at else None
    except ValueError as error:
        return _unheard(person, invocation, f"{AT}: {error}.", "wrong_argument", command=command.name, argument=AT)
    if command.kind == "control":
        return ControlCall(command, values, arguments)
    timing = timing_of(rulebook.policy, person, request, start or rulebook.now())
    if isinstance(timing, Refused) and not wanted.dry_run:
        return _turned_down(rulebook, person, invocation, wanted, arguments, timing)
    limits = () if wanted.dry_run else limits_for(person, request, found)
    return Birth(_new_run(rulebook, person, invocation, wanted, arguments, start), command, limits=limits)


def _turned_down(
    rulebook: Rulebook, person: Person, invocation: Invocation, wanted: _Wanted, arguments: dict[str, Any], answer: Refused
) -> Prepared:
    """A refusal that is remembered; where only a reason is missing, a form asks for it."""
    if wanted.command.kind == "control":
        return _unheard(person, invocation, answer.sentence, answer.reason, command=wanted.command.name)
    if answer.reason.startswith(REASON_WANTED) and not wanted.reason:
        return Ask(form_for(rulebook, wanted.command, wanted.filled, reason=answer.sentence), answer.sentence)
    return Birth(_new_run(rulebook, person, invocation, wanted, arguments), wanted.command).refused(answer)


def _incomplete(rulebook: Rulebook, person: Person, invocation: Invocation, wanted: _Wanted, error: BadArgument) -> Prepared:
    """What is missing or wrong, for those who may ask at all."""
    command = wanted.command
    offer = rulebook.offer(person, command, Request(command.permission, invocation.door, invocation.place))
    if isinstance(offer, Refused):
        return _unheard(person, invocation, offer.sentence, offer.reason, command=command.name)
    sentence = f"{error}. Usage: {command.usage}"
    if isinstance(error, MissingArguments):
        return Ask(form_for(rulebook, command, wanted.filled), sentence)
    return _unheard(person, invocation, sentence, "wrong_argument", command=command.name, argument=error.argument)


def form_for(rulebook: Rulebook, command: Command, given: Mapping[str, Any], *, reason: str = "") -> Form:
    """Every argument of the command as a form question, what was given filled in; an option is asked for only where it was typed.

    `reason` says why a reason is needed, where one is.
    """
    initial = {name: str(value) for name, value in given.items() if name not in command.schema.secrets}
    wanted = [Input(name=REASON, label="reason", hint=reason[:150])] if reason else []
    inputs = (*command.schema.inputs(initial, choices=rulebook.choices), *_options(initial), *wanted)
    return Form(title=command.name[:24], intent="submit", target=command.name, inputs=inputs, submit_label="Ask for it")


def without_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments among what was given with a form."""
    return {name: value for name, value in given.items() if name not in OPTIONS}


def _options(given: Mapping[str, str]) -> list[Input]:
    """The options that were given, as questions. No argument has such a name."""
    inputs = (
        Input(name=AT, label="start at", required=False, initial=given.get(AT, ""), hint=f"for instance {EXAMPLES}"),
        Input(name=DRY_RUN, label="dry run", kind="choice", choices=("yes", "no"), initial="yes"),
        Input(name=REASON, label="reason", required=False, initial=given.get(REASON, "")),
    )
    return [one for one in inputs if given.get(one.name)]


def _start(rulebook: Rulebook, person: Person, wanted: _Wanted) -> datetime:
    """When the run is wanted to start; raises ValueError."""
    if wanted.command.kind == "control":
        raise ValueError(f"{wanted.command.name} answers at once")
    return moment(wanted.start_at, rulebook.now(), person.zone)


def _from_text(rulebook: Rulebook, person: Person, invocation: Invocation) -> _Wanted | NotBorn:
    line = split(invocation.text)
    command, words = find_command(line, rulebook.registry.commands)
    if command is None:
        return _unknown(rulebook, person, invocation, line.words[0])
    call: Call = read_arguments(command, words)
    if call.help:
        helper = rulebook.registry.commands["help"]
        return _Wanted(helper, {"command": command.name}, typed_in_chat=False)
    return _Wanted(
        command,
        call.arguments,
        typed_in_chat=invocation.door in (Door.slack, Door.discord, Door.browser, Door.terminal),
        dry_run=call.dry_run or invocation.dry_run,
        reason=call.reason or invocation.reason,
        start_at=call.at or invocation.start_at,
    )


def _from_arguments(rulebook: Rulebook, person: Person, invocation: Invocation) -> _Wanted | NotBorn:
    command = rulebook.registry.find(invocation.command)
    if command is None:
        return _unknown(rulebook, person, invocation, invocation.command)
    option = {name: str(invocation.arguments.get(name) or "") for name in OPTIONS}
    return _Wanted(
        command,
        without_options(invocation.arguments),
        typed_in_chat=False,
        dry_run=invocation.dry_run or option[DRY_RUN] == "yes",
        reason=option[REASON] or invocation.reason,
        start_at=option[AT] or invocation.start_at,
    )


def _unknown(rulebook: Rulebook, person: Person, invocation: Invocation, name: str) -> NotBorn:
    request = Request(permission="countersign:use", door=invocation.door, place=invocation.place)
    names = [one.name for one in rulebook.listed_for(person, request)]
    near = rulebook.registry.nearest(name, among=names)
    hint = f"Did you mean {' or '.join(near)}?" if near else "Type help to see what you may run."
    return _unheard(person, invocation, f"There is no command '{name[:40]}'. {hint}", "unknown_command", command=name[:40])


def _unheard(person: Person, invocation: Invocation, sentence: str, reason: str, **detail: str) -> NotBorn:
    body = {"reason": reason, "door": invocation.door, "place": invocation.place.as_json(), "trace": invocation.trace, **detail}
    return NotBorn(sentence, AuditEvent("request:refused", person.name, None, body))


def _new_run(
    rulebook: Rulebook, person: Person, invocation: Invocation, wanted: _Wanted, arguments: dict[str, Any], start: datetime | None = None
) -> NewRun:
    found: dict[str, bytes] = {}
    stored = _marked(rulebook, wanted.command, arguments, found)
    sealed_answer = rulebook.sealer.seal(invocation.answer_to) if invocation.answer_to else b""
    return NewRun(
        key=invocation.key or str(uuid4()),
        command=wanted.command.name,
        code_version=wanted.command.code_version,
        risk=int(wanted.command.risk),
        visibility=wanted.command.visibility,
        owner=wanted.command.owner,
        asker=person.name,
        door=invocation.door,
        place=invocation.place.as_json(),
        arguments=stored,
        origins={name: _origin(invocation, wanted, name) for name in arguments},
        policy=rulebook.policy.digest,
        reason=wanted.reason[:500],
        dry_run=wanted.dry_run,
        start_at=start.isoformat() if start else None,
        answer_to=base64.b64encode(sealed_answer).decode() or None,
        trace=invocation.trace,
        secrets={mark: base64.b64encode(one).decode() for mark, one in found.items()},
        label=wanted.command.runs_on,
        rank=wanted.command.rank,
        line=person.line,
    )


def _origin(invocation: Invocation, wanted: _Wanted, name: str) -> Origin:
    return invocation.origins.get(name, Origin.typed) if _given(wanted.given, name) else Origin.default


def _given(given: Mapping[str, Any], name: str) -> bool:
    return given.get(name) not in (None, "")


def _marked(rulebook: Rulebook, command: Command, arguments: dict[str, Any], found: dict[str, bytes]) -> dict[str, Any]:
    """The arguments as rules see them and as they are stored. Only an argument can be a secret, never a part of one."""
    return rulebook.sealer.taken_out(arguments, found) if command.schema.secrets else arguments
