"""Steps: calls as data, with their undo, their guard, and references to what earlier ones return."""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, ClassVar, Final, Generic, Literal, ParamSpec, Self, TypeVar

from .arguments import Duration
from .errors import StepFailed
from .retries import Retry
from .schemas import Schema
from .values import REF_KEY, written, written_json

P = ParamSpec("P")
R = TypeVar("R")
Positions = Mapping[int, int]
_LONGEST_ON_ITS_WAY: Final = Duration.parse("1m")
_signature = lru_cache(maxsize=1_000)(inspect.signature)  # of each function once: a plan may call it a thousand times


@dataclass(frozen=True)
class StepFunction(Generic[P, R]):
    """What `@step` makes of a function: calling it describes the call; only a worker carries it out."""

    name: str
    function: Callable[..., Awaitable[R]]
    schema: Schema
    idempotent: bool
    reads: bool = field(default=False, kw_only=True)
    timeout: Duration
    retry: Retry | None = field(default=None, kw_only=True)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> "Step":
        try:
            _, *given = _signature(self.function).bind_partial(None, *args, **kwargs).arguments.items()
        except TypeError as error:
            raise TypeError(f"{self.name}: {error}") from None
        later = {name: value for name, value in given if _refers(value)}
        known = self.schema.without(later).validate({name: value for name, value in given if name not in later})
        return Step(self, {one.name: (later | known)[one.name] for one in self.schema.parameters})


@dataclass(frozen=True)
class Guard:
    """A look that is taken again and again after a step; when it fails `failures` times in a row, the run is undone."""

    check: "Step"
    lasts: Duration
    every: Duration
    failures: int

    def as_json(self, positions: Positions) -> dict[str, Any]:
        return {
            "check": self.check.as_json(positions),
            "for": str(self.lasts),
            "every": str(self.every),
            "failures": self.failures,
        }


@dataclass(frozen=True)
class LookUp:
    """How to ask the other side whether a call happened. That it did not counts only `after` so long: the call may arrive late."""

    check: "Step"
    after: Duration

    def as_json(self, positions: Positions) -> dict[str, Any]:
        return {"check": self.check.as_json(positions), "after": str(self.after)}


def happened(result: Any = None) -> dict[str, Any]:
    """What a look-up returns for a call that has happened, with what the step would have returned."""
    return {"happened": True, "result": result}


@dataclass(frozen=True, eq=False)
class Step:
    """One call that would be made: the step's function, its arguments, its undo, its guard and how its outcome is looked up."""

    function: StepFunction[..., Any]
    arguments: Mapping[str, Any]
    undo: "Step | None" = None
    guard: Guard | None = None
    lookup: LookUp | None = None
    human: ClassVar[bool] = False

    def undone_by(self, undo: "Step") -> Self:
        """The same step with the call that takes it back."""
        if undo.undo is not None:
            raise TypeError(f"{undo.function.name}: an undo cannot have an undo of its own")
        if undo.guard is not None:
            raise TypeError(f"{undo.function.name}: an undo cannot be guarded")
        if undo.human:
            raise TypeError(f"{undo.title}: an undo goes on by itself, so it asks nobody")
        return replace(self, undo=undo)

    def guarded(self, check: "Step", *, for_: str = "10m", every: str = "30s", failures: int = 1) -> Self:
        """The same step, watched for `for_` once it is done: the plan goes on when the check has held until then.

        `check` is a call of a step that only `reads`. It fails by raising or by returning False; when it does so `failures` times in a
        row, what was done is undone under the approval that the run has.
        """
        if not check.function.reads or check.undo or check.guard:
            raise TypeError(f"{check.function.name}: a guard's check is a call of a step that only looks, @step(reads=True)")
        lasts, often = Duration.parse(for_), Duration.parse(every)
        if not often or lasts < often or not 1 <= failures <= 100:
            raise TypeError(f"{self.function.name}: a guard looks at least once, every=… within for_=…, and fails after 1 to 100 times")
        return replace(self, guard=Guard(check, lasts, often, failures))

    def looked_up_by(self, check: "Step", *, after: str = "5s") -> Self:
        """The same step, whose outcome can be asked for when nobody here knows whether it happened, before a person is.

        `check` is a call of a step that only `reads`, with this step's `ctx.key`. It returns True or `happened(result)`, False, or None
        when it cannot say. `after` is how long a call that was cut off may still be on its way, at most `1m`: before, a no is not believed.
        """
        if not check.function.reads or check.undo or check.guard or check.lookup:
            raise TypeError(f"{check.function.name}: what looks up is a call of a step that only looks, @step(reads=True)")
        if self.function.idempotent:
            raise TypeError(f"{self.function.name}: may be repeated, so there is nothing to look up")
        if not (wait := Duration.parse(after)) or wait > _LONGEST_ON_ITS_WAY:
            raise TypeError(f"{self.function.name}: a call is looked up after=… more than nothing and at most {_LONGEST_ON_ITS_WAY}")
        return replace(self, lookup=LookUp(check, wait))

    @property
    def result(self) -> "Ref":
        """What this step will return, to be given as an argument to a later step or asked in a branch."""
        return Ref(self)

    @property
    def title(self) -> str:
        """The step's short name with its arguments, on one line."""
        shown = ", ".join(f"{name}={_shown(value)}" for name, value in self.arguments.items())
        return f"{self.short}({shown})"

    @property
    def short(self) -> str:
        return self.function.name.rpartition(".")[2]

    @property
    def identity(self) -> int:
        """`undone_by` and `guarded` copy a step but keep its arguments object, which therefore is what a Ref can rely on."""
        return id(self.arguments)

    def as_json(self, positions: Positions) -> dict[str, Any]:
        """As it is signed; `positions` are those of the steps, by identity, whose results it may use."""
        function = self.function
        return {
            "name": function.name,
            "title": self.title,
            "arguments": {name: _argument_as_json(value, positions) for name, value in self.arguments.items()},
            "idempotent": function.idempotent,
            **({"reads": True} if function.reads else {}),
            **({"submits": True} if function is SUBMIT else {}),
            "timeout": str(function.timeout),
            **({"retry": function.retry.as_json()} if function.retry else {}),
            **({"lookup": self.lookup.as_json(positions)} if self.lookup else {}),
        }


@dataclass(frozen=True)
class Ref:
    """An earlier step's result, or a part of it; known only when that step has finished."""

    step: Step
    path: tuple[str | int, ...] = ()

    def __getitem__(self, key: str | int) -> Self:
        return replace(self, path=(*self.path, key))

    def equals(self, value: Any) -> "Condition":
        """True when it is this value, for `branch`."""
        return Condition(self, "is", written_json(value))

    def is_in(self, values: Iterable[Any]) -> "Condition":
        """True when it is one of these values, for `branch`."""
        return Condition(self, "in", [written_json(one) for one in values])

    def is_true(self) -> "Condition":
        """True when it is neither empty, zero, false nor nothing, for `branch`."""
        return Condition(self, "true", True)

    def as_json(self, positions: Positions) -> dict[str, Any]:
        """Raises TypeError where the step's result is not sure to be there."""
        position = positions.get(self.step.identity)
        if position is None:
            raise TypeError(
                f"{self.step.function.name}: a result can only be used by a later step of the same plan that surely runs after it, so not"
                " outside of its branch and not beside it in a parallel group"
            )
        return {REF_KEY: position, "path": list(self.path)}


@dataclass(frozen=True)
class Condition:
    """A question about an earlier result, as data: what was approved says what is done when. `~condition` is its opposite."""

    ref: Ref
    test: Literal["is", "in", "true"]
    value: Any
    negated: bool = False

    def __invert__(self) -> Self:
        return replace(self, negated=not self.negated)

    def __bool__(self) -> bool:
        raise TypeError("a condition is not known while planning; give it to branch()")

    def as_json(self, positions: Positions) -> dict[str, Any]:
        return {
            **self.ref.as_json(positions),
            self.test: self.value,
            **({"not": True} if self.negated else {}),
            "title": self.title,
        }

    @property
    def title(self) -> str:
        what = f"result of {self.ref.step.short}{''.join(f'[{one}]' for one in self.ref.path)}"
        no = "not " if self.negated else ""
        if self.test == "true":
            return f"{what} is {no}true"
        return f"{what} is {no}{'one of ' if self.test == 'in' else ''}{_shown(self.value)}"


async def _submit(_: Any, command: str, arguments: dict[str, Any]) -> dict[str, Any]:
    raise StepFailed(f"this worker cannot submit {' '.join([command, *arguments])}")


SUBMIT: Final[StepFunction[..., dict[str, Any]]] = StepFunction(
    name="countersign.submit",
    function=_submit,
    schema=Schema.of(_submit, name="countersign.submit"),
    idempotent=True,
    timeout=Duration.parse("3650d"),
)


def submit(command: str, /, **arguments: Any) -> Step:
    """A step that submits another command as the asker, under that command's own permission and approval, and waits for its end.

    It fails unless that run succeeds. Its result is `{"run": number, "id": id, "result": what that run returned}`.
    """
    return Step(SUBMIT, {"command": command, "arguments": arguments})


def try_submit(command: str, /, **arguments: Any) -> Step:
    """As `submit`, but what was submitted may end in any way, or be refused, and the plan goes on.

    Its result is `{"run": number, "id": id, "status": how it ended, "outcome": why, "result": what it returned}`; of what was refused
    before it had a run, `run` and `id` are None.
    """
    return Step(SUBMIT, {"command": command, "arguments": arguments, "however": True})


def _argument_as_json(value: Any, positions: Positions) -> Any:
    if isinstance(value, Ref):
        return value.as_json(positions)
    if isinstance(value, list | tuple):
        return [_argument_as_json(one, positions) for one in value]
    if isinstance(value, Mapping) and _refers(value):
        return {written(name): _argument_as_json(one, positions) for name, one in value.items()}
    return written_json(value)


def _refers(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_refers(one) for one in value.values())
    if isinstance(value, list | tuple):
        return any(_refers(one) for one in value)
    return isinstance(value, Ref)


def _shown(value: Any) -> str:
    if isinstance(value, Ref):
        return f"result of {value.step.short}"
    if isinstance(value, list | tuple):
        text = ", ".join(map(_shown, value))
    elif isinstance(value, Mapping):
        text = ", ".join(f"{written(name)}: {_shown(one)}" for name, one in value.items())
    else:
        text = " ".join(written(value).split())
    return text if len(text) <= 80 else text[:79] + "…"
