"""Steps and plans: what will happen, as data that people can sign."""

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, ParamSpec, Self, TypeVar

from .approvals import Approval
from .arguments import Duration
from .canonical import digest_of
from .replies import Field
from .schemas import Schema
from .values import REF_KEY as REF_KEY
from .values import written, written_json

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class StepFunction(Generic[P, R]):
    """What `@step` makes of a function: calling it describes the call; only a worker carries it out."""

    name: str
    function: Callable[..., Awaitable[R]]
    schema: Schema
    idempotent: bool
    reads: bool = field(default=False, kw_only=True)
    timeout: Duration

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> "Step":
        try:
            _, *given = inspect.signature(self.function).bind_partial(None, *args, **kwargs).arguments.items()
        except TypeError as error:
            raise TypeError(f"{self.name}: {error}") from None
        later = {name: value for name, value in given if _refers(value)}
        known = self.schema.without(later).validate({name: value for name, value in given if name not in later})
        return Step(self, {one.name: (later | known)[one.name] for one in self.schema.parameters})


@dataclass(frozen=True, eq=False)
class Step:
    """One call that would be made: the step's function, its arguments and its undo."""

    function: StepFunction[..., Any]
    arguments: Mapping[str, Any]
    undo: "Step | None" = None

    def undone_by(self, undo: "Step") -> Self:
        """The same step with the call that takes it back."""
        if undo.undo is not None:
            raise TypeError(f"{undo.function.name}: an undo cannot have an undo of its own")
        return replace(self, undo=undo)

    @property
    def result(self) -> "Ref":
        """What this step will return, to be given as an argument to a later step."""
        return Ref(self)

    @property
    def title(self) -> str:
        """The step's short name with its arguments, on one line."""
        shown = ", ".join(f"{name}={_shown(value)}" for name, value in self.arguments.items())
        return f"{self.function.name.rpartition('.')[2]}({shown})"


@dataclass(frozen=True)
class Ref:
    """An earlier step's result, or a part of it; known only when that step has finished."""

    step: Step
    path: tuple[str | int, ...] = ()

    def __getitem__(self, key: str | int) -> Self:
        return replace(self, path=(*self.path, key))


class Plan:
    """The steps that would run, with their arguments and undo; nothing has happened yet.

    `summary` is one line for people and is not signed. `watched` are facts the plan rests on: they enter the digest, so a change makes an
    approved run stale. `fields` and `preview` are shown beside the steps. `approval` asks for more than the command and policy do, because
    of what the planner found.
    """

    def __init__(
        self,
        summary: str,
        *steps: Step,
        watched: Mapping[str, Any] | None = None,
        fields: tuple[Field, ...] = (),
        preview: str = "",
        warning: str = "",
        approval: Approval | None = None,
    ) -> None:
        if not steps:
            raise TypeError("a Plan needs at least one step; return a Reply when there is nothing to do")
        given: tuple[object, ...] = steps
        if wrong := {type(one).__name__ for one in given if not isinstance(one, Step)}:
            raise TypeError(f"a Plan's steps are calls of @step functions, not {min(wrong)}")
        self.summary = summary.strip().splitlines()[0][:300] if summary.strip() else steps[0].title
        self.steps = steps
        self.watched = {name: written_json(value) for name, value in (watched or {}).items()}
        self.fields = fields
        self.preview = preview
        self.warning = warning
        self.approval = approval

    def as_json(self) -> dict[str, Any]:
        """What is stored and shown: the summary, the steps as data and the facts watched."""
        return {
            "summary": self.summary,
            "steps": list(self._steps_as_json()),
            "watched": self.watched,
            "fields": [one.model_dump() for one in self.fields],
            "preview": self.preview,
            "warning": self.warning,
            **({"approval": self.approval.as_json()} if self.approval else {}),
        }

    def _steps_as_json(self) -> Iterator[dict[str, Any]]:
        positions: dict[int, int] = {}
        for position, one in enumerate(self.steps):
            undo = _step_as_json(one.undo, positions | {id(_unbound(one)): position}) if one.undo else None
            yield _step_as_json(one, positions) | {"undo": undo}
            positions[id(_unbound(one))] = position


def plan_digest(plan: Mapping[str, Any], *, command: str, code_version: str, arguments: Mapping[str, Any]) -> str:
    """SHA-256 over what is approved: command, code version, arguments, steps with undo and options, and watched facts; not the summary."""
    return digest_of({"command": command, "code": code_version, "arguments": arguments, "steps": plan["steps"], "watched": plan["watched"]})


def resolved(arguments: Mapping[str, Any], results: Mapping[int, Any]) -> dict[str, Any]:
    """Stored step arguments with each reference replaced by the earlier step's result.

    Raises KeyError, IndexError or TypeError if that result has no such part.
    """
    return {name: _resolve(value, results) for name, value in arguments.items()}


def _resolve(value: Any, results: Mapping[int, Any]) -> Any:
    if isinstance(value, dict) and REF_KEY in value:
        found = results[value[REF_KEY]]
        for part in value["path"]:
            found = found[part]
        return found
    if isinstance(value, dict):
        return {name: _resolve(one, results) for name, one in value.items()}
    if isinstance(value, list):
        return [_resolve(one, results) for one in value]
    return value


def _step_as_json(one: Step, positions: Mapping[int, int]) -> dict[str, Any]:
    return {
        "name": one.function.name,
        "title": one.title,
        "arguments": {name: _argument_as_json(value, positions) for name, value in one.arguments.items()},
        "idempotent": one.function.idempotent,
        **({"reads": True} if one.function.reads else {}),
        "timeout": str(one.function.timeout),
    }


def _argument_as_json(value: Any, positions: Mapping[int, int]) -> Any:
    if isinstance(value, Ref):
        position = positions.get(id(_unbound(value.step)))
        if position is None:
            raise TypeError(f"{value.step.function.name}: a result can only be used by a later step of the same plan")
        return {REF_KEY: position, "path": list(value.path)}
    if isinstance(value, list | tuple):
        return [_argument_as_json(one, positions) for one in value]
    if isinstance(value, Mapping) and _refers(value):
        return {written(name): _argument_as_json(one, positions) for name, one in value.items()}
    return written_json(value)


def _unbound(one: Step) -> Mapping[str, Any]:
    """`undone_by` copies a step but keeps its arguments object, which therefore is the identity that a Ref can rely on."""
    return one.arguments


def _refers(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_refers(one) for one in value.values())
    if isinstance(value, list | tuple):
        return any(_refers(one) for one in value)
    return isinstance(value, Ref)


def _shown(value: Any) -> str:
    if isinstance(value, Ref):
        return "result of " + value.step.function.name.rpartition(".")[2]
    if isinstance(value, list | tuple):
        text = ", ".join(map(_shown, value))
    elif isinstance(value, Mapping):
        text = ", ".join(f"{written(name)}: {_shown(one)}" for name, one in value.items())
    else:
        text = " ".join(written(value).split())
    return text if len(text) <= 80 else text[:79] + "…"
