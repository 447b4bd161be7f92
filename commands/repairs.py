"""repairs: the parts of a plan that goes back over another run: its undos in reverse, or what it left undone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from countersign.errors import PlanRefused
from countersign.plans import plan_digest
from countersign.shapes import Branch, Group, Node, Part, chosen, part_of, positions_in, shape_of
from countersign.steps import SUBMIT, Condition, Ref, Step, StepFunction
from countersign.values import REF_KEY
from store.databases import ReadSession
from store.journals import Phase, StepRow, StepState, find_start
from store.runs import RunRow
from store.secrets import put_back

REST: Final = "all that is left"
"""The fact that a plan which goes on with another run watches when it repeats nothing that was done."""
_TESTS: Final[tuple[Literal["is", "in", "true"], ...]] = ("is", "in", "true")
Functions = Mapping[str, StepFunction[..., Any]]


@dataclass
class Past:
    """A run that has ended: its stored plan and journal, the steps that are loaded now, and its opened secrets by mark."""

    plan: Mapping[str, Any]
    rows: Sequence[StepRow]
    functions: Functions
    secrets: Mapping[str, str]
    _made: dict[int, Step] = field(default_factory=dict)

    @property
    def results(self) -> dict[int, Any]:
        """What its finished steps returned, by position."""
        return {row.position: row.result for row in self._done()}

    def undos(self) -> list[Part]:
        """The undo of each step that was done and not undone yet, the step that ended last first. Raises PlanRefused."""
        undone = {row.position for row in self.rows if row.phase == Phase.undo and row.state == StepState.done}
        done = sorted(self._done(), key=lambda row: (row.ended_at, row.position), reverse=True)
        wanted = [self._steps[row.position].get("undo") for row in done if row.position not in undone]
        kept = self.results
        return [self._call(one, kept) for one in wanted if one]

    def proofs(self) -> list[list[str]]:
        """What has been shown to work when all undos have: the names of each step and of its undo, each pair once."""
        undone = {row.position for row in self.rows if row.phase == Phase.undo and row.state == StepState.done}
        wanted = [self._steps[row.position] for row in self._done() if row.position not in undone]
        return [list(pair) for pair in sorted({(one["name"], one["undo"]["name"]) for one in wanted if one.get("undo")})]

    def stays(self) -> list[str]:
        """The titles of steps that were done and cannot be undone."""
        done = [self._steps[row.position] for row in self._done()]
        return [one["title"] for one in done if not one.get("undo") and not one.get("reads")]

    def rest(self, start: int) -> list[Part]:
        """What is left when the results of the steps before position `start` are kept. Raises PlanRefused."""
        kept = {position: result for position, result in self.results.items() if position < start}
        self._made.clear()
        return [part for node in shape_of(self.plan) if (part := self._part(node, kept)) is not None]

    def first_left(self) -> int:
        """The position of the first step that was not done and not left out; the number of steps when there is none."""
        done = self.results
        return next((one for one in _ahead(shape_of(self.plan), done) if one not in done), len(self._steps))

    @property
    def _steps(self) -> Sequence[Mapping[str, Any]]:
        steps: Sequence[Mapping[str, Any]] = self.plan["steps"]
        return steps

    def _done(self) -> list[StepRow]:
        return [row for row in self.rows if row.phase == Phase.do and row.state == StepState.done]

    def _part(self, node: Node, kept: Mapping[int, Any]) -> Part | None:
        if isinstance(node, int):
            return None if node in kept else self._step(node, kept)
        if "branch" in node:
            return self._branch(node, kept)
        inner = node.get("parallel") or node.get("sequence") or ()
        parts = tuple(part for one in inner if (part := self._part(one, kept)) is not None)
        return Group(parts, at_once=node.get("at_once", 1)) if parts else None

    def _branch(self, node: Mapping[str, Any], kept: Mapping[int, Any]) -> Part | None:
        asked = node["branch"]
        if asked[REF_KEY] in kept:
            try:
                side = chosen(node, kept)
            except (KeyError, IndexError, TypeError):
                raise PlanRefused(f"An earlier result does not say whether {asked['title']}; begin from an earlier step.") from None
            return None if side is None else self._part(side, kept)
        then = self._part(node["then"], kept)
        otherwise = self._part(node["otherwise"], kept) if node["otherwise"] is not None else None
        test = next(one for one in _TESTS if one in asked)
        condition = Condition(self._ref(asked), test, asked[test], negated=asked.get("not", False))
        if then is None:
            return Branch(~condition, otherwise) if otherwise is not None else None
        return Branch(condition, then, otherwise)

    def _step(self, position: int, kept: Mapping[int, Any]) -> Step:
        stored = self._steps[position]
        made = self._made[position] = self._call(stored, kept)
        if stored.get("undo"):
            made = made.undone_by(self._call(stored["undo"], kept))
        if guard := stored.get("guard"):
            check = self._call(guard["check"], kept)
            made = made.guarded(check, for_=guard["for"], every=guard["every"], failures=guard["failures"])
        self._made[position] = made
        return made

    def _call(self, stored: Mapping[str, Any], kept: Mapping[int, Any]) -> Step:
        arguments = {name: self._value(value, kept) for name, value in stored["arguments"].items()}
        if stored.get("submits"):
            return Step(SUBMIT, arguments)
        function = self.functions.get(stored["name"])
        if function is None:
            raise PlanRefused(f"There is no step {stored['name']} any more; what it does has to be done by hand.")
        try:
            made = function(**arguments)
            if lookup := stored.get("lookup"):
                made = made.looked_up_by(self._call(lookup["check"], kept), after=lookup["after"])
        except TypeError as error:
            raise PlanRefused(f"The step {stored['name']} takes other arguments now: {error}") from None
        return made

    def _value(self, value: Any, kept: Mapping[int, Any]) -> Any:
        if isinstance(value, Mapping) and REF_KEY in value:
            if value[REF_KEY] not in kept:
                return self._ref(value)
            try:
                return put_back(part_of(value, kept), self.secrets)
            except (KeyError, IndexError, TypeError):
                raise PlanRefused("An earlier result has not the part that a later step needs.") from None
        if isinstance(value, Mapping) and not any(isinstance(one, Mapping | list) for one in value.values()):
            return put_back(value, self.secrets)
        if isinstance(value, Mapping):
            return {name: self._value(one, kept) for name, one in value.items()}
        return [self._value(one, kept) for one in value] if isinstance(value, list) else value

    def _ref(self, stored: Mapping[str, Any]) -> Ref:
        made = self._made.get(stored[REF_KEY])
        if made is None:
            raise PlanRefused("A step that is left needs the result of one that was not done; begin from an earlier step.")
        return Ref(made, tuple(stored["path"]))


async def was_begun(session: ReadSession, run: RunRow) -> bool:
    """Whether a worker began exactly the plan in this row, which the web process may write: only that was approved."""
    plan = run.plan or {"steps": [], "watched": {}}
    signed = plan_digest(plan, command=run.command, code_version=run.code_version, arguments=run.arguments)
    return await find_start(session, run.id, revision=run.revision) == signed


def _ahead(nodes: Sequence[Node], results: Mapping[int, Any]) -> list[int]:
    """The positions that run or may run, as far as results say, in order."""
    found: list[int] = []
    for node in nodes:
        if isinstance(node, int):
            found.append(node)
        elif "branch" in node:
            try:
                side = chosen(node, results)
            except (KeyError, IndexError, TypeError):
                found += positions_in([node])
                continue
            found += [] if side is None else _ahead([side], results)
        else:
            found += _ahead(node.get("parallel") or node.get("sequence") or (), results)
    return found
