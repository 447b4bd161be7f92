"""`@command`, `@action`, `@control` and `@step`: what an author writes, checked at import."""

import functools
import inspect
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Concatenate, Final, Literal, ParamSpec, TypeVar

from .approvals import Approval
from .arguments import Duration
from .errors import BadArgument, CountersignError
from .labels import checked_label
from .locks import Lock, checked_locks
from .permissions import Risk, checked_permission
from .plans import Plan
from .replies import Reply
from .retries import Retry
from .schemas import Schema
from .steps import StepFunction
from .values import written_json

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")
Kind = Literal["command", "control"]
Priority = Literal["low", "normal", "high"]
PRIORITIES: Final = ("low", "normal", "high")
Visibility = Literal["staff", "private"]
Function = Callable[..., Coroutine[Any, Any, Any]]

STEPS: Final[dict[str, StepFunction[..., Any]]] = {}
_NAME = re.compile(r"[a-z][a-z0-9_-]*(?: [a-z][a-z0-9_-]*)?\Z")


@dataclass(frozen=True, eq=False)
class Command:
    """What can be asked. `code_version` is filled in by the registry from the command's own distribution.

    A `quiet` one is listed only to those to whom a role gives its permission; everybody else who may use it can still type it.
    The answer of one that says `once` is shown once and kept nowhere.
    """

    name: str
    function: Function
    schema: Schema
    help: str
    permission: str
    kind: Kind = "command"
    risk: Risk = Risk.high
    approval: Approval | None = None
    slash: bool = False
    owner: str = ""
    visibility: Visibility = "staff"
    may_loosen: bool = False
    quiet: bool = False
    once: bool = False
    timeout: Duration | None = None
    locks: tuple[Lock, ...] = ()
    priority: Priority = "normal"
    runs_on: str = ""
    saves: Duration | None = None
    rehearsal: Mapping[str, Any] | None = None
    deprecated: str = ""
    retired: str = ""
    origin: str = ""
    code_version: str = ""

    @property
    def summary(self) -> str:
        """The first line of its documentation."""
        return self.help.splitlines()[0]

    @property
    def rank(self) -> int:
        """Its priority as a number: the higher, the sooner."""
        return PRIORITIES.index(self.priority)

    @property
    def usage(self) -> str:
        return f"/{self.name} {self.schema.usage}".rstrip()

    def versioned(self, code_version: str) -> "Command":
        return replace(self, code_version=code_version)


def command(
    name: str,
    *,
    permission: str,
    risk: str = "high",
    approval: Approval | None = None,
    slash: bool = False,
    owner: str = "",
    visibility: Visibility = "staff",
    may_loosen: bool = False,
    quiet: bool = False,
    timeout: str = "",
    lock: str | Lock | Sequence[str | Lock] = (),
    priority: Priority = "normal",
    runs_on: str = "",
    saves: str = "",
    rehearsal: Mapping[str, Any] | None = None,
    deprecated: str = "",
    retired: str = "",
) -> Callable[[Callable[Concatenate[Any, P], Coroutine[Any, Any, Plan | Reply]]], Command]:
    """Makes an async function, whose first parameter is the context and which returns a Plan or a Reply, a command.

    `timeout` is the longest that carrying out a run may take from its first step on, waits included; then it is undone.
    `lock="deploy {env}"` lets one run at a time be carried out for each value of `env`; a `Lock` says more. Runs of a higher `priority`
    come first where several wait for a lock or for a worker. `runs_on="dc2"` has them planned and carried out by workers with that label.
    `saves="10m"` is how much of people's time a run that succeeds saves, by the author's estimate: numbers add it up.
    `rehearsal={"service": "canary", "version": "v2"}` are the arguments of a safe target, on which `rehearse` carries it out and undoes it.
    `deprecated="use ship"` says what to use instead: it still runs, and says so. With `retired="use ship"` it is refused with that.
    Raises TypeError at import when the name, permission, risk, documentation, a type or the approval's arguments are wrong.
    """

    def make(function: Callable[Concatenate[Any, P], Coroutine[Any, Any, Plan | Reply]]) -> Command:
        return _made(
            Command(
                name=name,
                function=function,
                schema=Schema.of(function, name=name),
                help=inspect.getdoc(function) or "",
                permission=permission,
                risk=_risk(risk, of=name),
                approval=approval,
                slash=slash,
                owner=owner,
                visibility=visibility,
                may_loosen=may_loosen,
                quiet=quiet,
                timeout=_timeout(timeout, of=f"command {name!r}") if timeout else None,
                locks=checked_locks(lock, Schema.of(function, name=name), of=f"command {name!r}"),
                priority=_priority(priority, of=name),
                runs_on=checked_label(runs_on, of=f"command {name!r}"),
                saves=_saved(saves, of=f"command {name!r}") if saves else None,
                rehearsal=_rehearsed(rehearsal, Schema.of(function, name=name), of=name) if rehearsal is not None else None,
                deprecated=" ".join(deprecated.split()),
                retired=" ".join(retired.split()),
                origin=function.__module__,
            )
        )

    return make


def control(name: str, *, permission: str = "countersign:use", quiet: bool = False, once: bool = False) -> Callable[[Function], Command]:
    """Makes a use case a command that answers at once in the door's own transaction; only Countersign ships these."""

    def make(function: Function) -> Command:
        return _made(
            Command(
                name=name,
                function=function,
                schema=Schema.of(function, name=name),
                help=inspect.getdoc(function) or "",
                permission=permission,
                kind="control",
                quiet=quiet,
                once=once,
                risk=Risk.read,
                origin=function.__module__,
            )
        )

    return make


def action(
    name: str, *, permission: str, idempotent: bool = False, timeout: str = "10m", retry: Retry | None = None, **options: Any
) -> Callable[[Callable[Concatenate[Any, P], Coroutine[Any, Any, Any]]], Command]:
    """The short form: a command whose plan is one step, the function itself. Options are those of `@step` and `@command`."""

    def make(function: Callable[Concatenate[Any, P], Coroutine[Any, Any, Any]]) -> Command:
        if "rehearsal" in options:
            raise TypeError(f"command {name!r}: rehearsal is for a plan with undos, and an action has none; write a @command")
        one = step(idempotent=idempotent, timeout=timeout, retry=retry)(function)
        summary = (inspect.getdoc(function) or "").split("\n")[0]

        @functools.wraps(function)
        async def planner(_: Any, /, *args: P.args, **kwargs: P.kwargs) -> Plan | Reply:
            call = one(*args, **kwargs)
            return Plan(f"{summary} {call.title}", call)

        return command(name, permission=permission, **options)(planner)

    return make


def step(
    *, idempotent: bool = False, timeout: str = "10m", reads: bool = False, retry: Retry | None = None
) -> Callable[[Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]], StepFunction[P, R]]:
    """Makes an async function a step. Not declared idempotent means it is never repeated without a person.

    `timeout` is the longest one attempt may take. `reads` says that it only looks, so it may be repeated and has nothing to undo.
    `retry` says when it is begun again after a failure.
    The step is known by its module and name, under which runs refer to it.
    """

    def make(function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]) -> StepFunction[P, R]:
        name = f"{function.__module__}.{function.__qualname__}"
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"{name}: a step should be an 'async def' function")
        made: StepFunction[P, R] = StepFunction(
            name=name,
            function=function,
            schema=Schema.of(function, name=name),
            idempotent=idempotent or reads,
            reads=reads,
            timeout=_timeout(timeout, of=name),
            retry=retry,
        )
        STEPS[name] = made
        return made

    return make


def _made(one: Command) -> Command:
    if not _NAME.match(one.name):
        raise TypeError(f"command {one.name!r}: a name is one or two lower-case words, for instance 'deploy' or 'policy apply'")
    if not one.help.strip():
        raise TypeError(f"command {one.name!r}: add a docstring; its first line is the help that people read")
    if not inspect.iscoroutinefunction(one.function):
        raise TypeError(f"command {one.name!r}: should be an 'async def' function")
    if one.slash and " " in one.name:
        raise TypeError(f"command {one.name!r}: a slash command's own name is one word")
    checked_permission(one.permission, of=f"command {one.name!r}")
    known = {parameter.name for parameter in one.schema.parameters}
    if one.approval and (unknown := set(one.approval.when or {}) - known):
        raise TypeError(f"command {one.name!r}: its approval names {min(unknown)!r}, which is not an argument")
    return replace(one, approval=_reachable(one.approval, one)) if one.approval else one


def _reachable(approval: Approval, one: Command) -> Approval:
    """The rule with its values as arguments are written: a value that no argument can have would silently ask nobody."""
    try:
        return replace(approval, when={name: one.schema.wanted(name, value) for name, value in (approval.when or {}).items()} or None)
    except CountersignError as error:
        raise TypeError(f"command {one.name!r}: its approval can never apply: {error}") from None


def _priority(text: Priority, *, of: str) -> Priority:
    if text not in PRIORITIES:
        raise TypeError(f"command {of!r}: priority {text!r} should be one of {', '.join(PRIORITIES)}")
    return text


def _risk(text: str, *, of: str) -> Risk:
    try:
        return Risk[text]
    except KeyError:
        raise TypeError(f"command {of!r}: risk {text!r} should be one of {', '.join(Risk.__members__)}") from None


def _saved(text: str, *, of: str) -> Duration:
    try:
        saved = Duration.parse(text)
    except ValueError as error:
        raise TypeError(f"{of}: saves {error}") from None
    if not saved:
        raise TypeError(f"{of}: saves should be some time, for instance '10m'; leave it out where nothing is saved")
    return saved


def _rehearsed(given: Mapping[str, Any], schema: Schema, *, of: str) -> Mapping[str, Any]:
    if secret := [one.name for one in schema.parameters if one.secret and one.name in given]:
        raise TypeError(f"command {of!r}: rehearsal: {secret[0]} is a secret, which cannot stand in the code")
    try:
        schema.validate(given)
    except BadArgument as error:
        raise TypeError(f"command {of!r}: rehearsal: {error}") from None
    written: Mapping[str, Any] = written_json(dict(given))
    return written


def _timeout(text: str, *, of: str) -> Duration:
    try:
        timeout = Duration.parse(text)
    except ValueError as error:
        raise TypeError(f"{of}: timeout {error}") from None
    if not timeout:
        raise TypeError(f"{of}: timeout should leave the step some time, for instance '10m'")
    return timeout
