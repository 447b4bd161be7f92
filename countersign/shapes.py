"""The shape of a plan: which steps run in order, beside each other or only in some case. Steps stay a flat list; a shape names positions.

As data a node is a step's position, `{"sequence": [nodes]}`, `{"parallel": [nodes], "at_once": number}` or
`{"branch": condition, "then": node, "otherwise": node or null}`; a shape is a list of nodes that run in order. A plain list of steps has
no shape.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Union

from .canonical import canonical
from .steps import Condition, Step
from .values import REF_KEY

Part = Union[Step, "Group", "Branch"]
Node = int | dict[str, Any]
MOST_AT_ONCE: Final = 100
MOST_STEPS: Final = 2_000


@dataclass(frozen=True, eq=False)
class Group:
    """Parts of a plan that run in order when `at_once` is 1, else beside each other, at most so many at a time."""

    parts: tuple[Part, ...]
    at_once: int = 1

    def __post_init__(self) -> None:
        parts_only(self.parts)
        if not 1 <= self.at_once <= MOST_AT_ONCE:
            raise TypeError(f"at_once should be from 1 to {MOST_AT_ONCE}")


@dataclass(frozen=True, eq=False)
class Branch:
    """A part of a plan that runs when an earlier result is so, and another that runs when it is not."""

    condition: Condition
    then: Part
    otherwise: Part | None = None


def sequence(*parts: Part) -> Group:
    """These parts one after the other, as one part of a parallel group, a branch or a loop."""
    return Group(parts)


def parallel(*parts: Part, at_once: int = 5) -> Group:
    """These parts beside each other, at most `at_once` at a time. When one fails no further one begins; those under way end first."""
    return Group(parts, at_once=at_once)


def branch(condition: Condition, then: Part, otherwise: Part | None = None) -> Branch:
    """One part or the other, by an earlier result: `branch(probe.result["state"].equals("green"), switch(), repair())`."""
    if not isinstance(condition, Condition):
        raise TypeError(
            "a branch asks an earlier result, for instance probe.result['state'].equals('green'); decide anything else in Python"
        )
    parts_only([then] if otherwise is None else [then, otherwise])
    return Branch(condition, then, otherwise)


def each(items: Iterable[Any], make: Callable[[Any], Part], *, at_once: int = 1) -> Group:
    """A loop over a list that is known when planning: the part that `make` gives for each item, at most `at_once` at a time."""
    return Group(tuple(make(one) for one in items), at_once=at_once)


@dataclass
class Layout:
    """Parts laid out: steps by position as data, and the nodes that name them."""

    steps: list[dict[str, Any]] = field(default_factory=list)

    def lay(self, parts: Sequence[Part]) -> list[Node]:
        """The nodes of parts in order. Raises TypeError where a step uses a result that is not sure to be there."""
        return self._in_order(parts, {})[0]

    def _in_order(self, parts: Sequence[Part], known: Mapping[int, int]) -> tuple[list[Node], dict[int, int]]:
        nodes: list[Node] = []
        found: dict[int, int] = {}
        for one in parts:
            node, more = self._node(one, {**known, **found})
            nodes += node["sequence"] if isinstance(node, dict) and "sequence" in node else [node]
            found |= more
        return nodes, found

    def _node(self, part: Part, known: Mapping[int, int]) -> tuple[Node, dict[int, int]]:
        """The node, and the positions of the steps in it that are sure to have run after it."""
        if isinstance(part, Step):
            return self._step(part, known)
        if isinstance(part, Branch):
            asked = part.condition.as_json(known)
            then, _ = self._node(part.then, known)
            otherwise = self._node(part.otherwise, known)[0] if part.otherwise is not None else None
            return {"branch": asked, "then": then, "otherwise": otherwise}, {}
        if part.at_once == 1:
            nodes, found = self._in_order(part.parts, known)
            return nodes[0] if len(nodes) == 1 else {"sequence": nodes}, found
        laid = [self._node(one, known) for one in part.parts]
        found = {identity: position for _, more in laid for identity, position in more.items()}
        if len(laid) == 1:
            return laid[0]
        return {"parallel": [node for node, _ in laid], "at_once": part.at_once}, found

    def _step(self, one: Step, known: Mapping[int, int]) -> tuple[int, dict[int, int]]:
        position = len(self.steps)
        mine = {one.identity: position}
        undo = one.undo.as_json({**known, **mine}) if one.undo else None
        guard = {"guard": one.guard.as_json({**known, **mine})} if one.guard else {}
        self.steps.append(one.as_json(known) | {"undo": undo} | guard)
        return position, mine


def steps_of(parts: Iterable[Part]) -> Iterator[Step]:
    """The steps in these parts, in the order of their positions."""
    for one in parts:
        if isinstance(one, Step):
            yield one
        elif isinstance(one, Group):
            yield from steps_of(one.parts)
        else:
            yield from steps_of([one.then] if one.otherwise is None else [one.then, one.otherwise])


def shape_of(plan: Mapping[str, Any]) -> list[Node]:
    """The nodes of a stored plan; those of a plain list of steps are its positions."""
    shape: list[Node] = plan.get("shape") or list(range(len(plan["steps"])))
    return shape


def holds(condition: Mapping[str, Any], results: Mapping[int, Any]) -> bool:
    """Whether a stored condition is true of these results by position.

    Raises KeyError, IndexError or TypeError if the result has no such part.
    """
    found = part_of(condition, results)
    if "is" in condition:
        true = canonical(found) == canonical(condition["is"])
    elif "in" in condition:
        true = canonical(found) in {canonical(one) for one in condition["in"]}
    else:
        true = bool(found)
    return true is not condition.get("not", False)


def part_of(reference: Mapping[str, Any], results: Mapping[int, Any]) -> Any:
    """What a stored reference means. Raises KeyError, IndexError or TypeError if the result has no such part."""
    found = results[reference[REF_KEY]]
    for part in reference["path"]:
        found = found[part]
    return found


def chosen(node: Mapping[str, Any], results: Mapping[int, Any]) -> Node | None:
    """The side of a branch that is taken; None where there is nothing to do. Raises as `holds` does."""
    side: Node | None = node["then"] if holds(node["branch"], results) else node["otherwise"]
    return side


def last_result(nodes: Sequence[Node], results: Mapping[int, Any]) -> Any:
    """What the last step returned; None where several ran beside each other at the end, or none."""
    if not nodes:
        return None
    last = nodes[-1]
    if isinstance(last, int):
        return results.get(last)
    if "sequence" in last:
        return last_result(last["sequence"], results)
    if "branch" in last:
        side = chosen(last, results)
        return None if side is None else last_result([side], results)
    return None


def left_out(nodes: Iterable[Node], results: Mapping[int, Any]) -> set[int]:
    """The positions that will not run, as far as results say already."""
    found: set[int] = set()
    for node in nodes:
        if isinstance(node, int):
            continue
        if "branch" in node:
            sides = [one for one in (node["then"], node["otherwise"]) if one is not None]
            if node["branch"][REF_KEY] in results:
                try:
                    taken = chosen(node, results)
                except (KeyError, IndexError, TypeError):
                    taken = None
                found |= {position for one in sides if one is not taken for position in positions_in([one])}
            found |= left_out(sides, results)
        else:
            found |= left_out(node.get("sequence") or node.get("parallel") or (), results)
    return found


def positions_in(nodes: Iterable[Node]) -> Iterator[int]:
    """Every position in these nodes, in order."""
    for node in nodes:
        if isinstance(node, int):
            yield node
        elif "branch" in node:
            yield from positions_in([one for one in (node["then"], node["otherwise"]) if one is not None])
        else:
            yield from positions_in(node.get("sequence") or node.get("parallel") or ())


class Line(NamedTuple):
    """One line of a plan's outline: a step's position, or None for a heading with its text."""

    depth: int
    position: int | None
    text: str = ""


def outline(nodes: Iterable[Node], depth: int = 0) -> Iterator[Line]:
    """The plan as lines for people: each step, and headings where steps run beside each other or only in some case."""
    for node in nodes:
        if isinstance(node, int):
            yield Line(depth, node)
        elif "branch" in node:
            yield Line(depth, None, f"if {node['branch']['title']}:")
            yield from outline([node["then"]], depth + 1)
            if node["otherwise"] is not None:
                yield Line(depth, None, "otherwise:")
                yield from outline([node["otherwise"]], depth + 1)
        elif "parallel" in node:
            several = len(node["parallel"])
            bound = f", {node['at_once']} at once" if node["at_once"] < several else ""
            yield Line(depth, None, f"{several} in parallel{bound}:")
            yield from outline(node["parallel"], depth + 1)
        else:
            yield Line(depth, None, "in order:")
            yield from outline(node["sequence"], depth + 1)


def parts_only(parts: Iterable[object]) -> None:
    """Raises TypeError for what is no part of a plan, such as a step function that nobody called."""
    if wrong := {type(one).__name__ for one in parts if not isinstance(one, Step | Group | Branch)}:
        raise TypeError(f"a Plan's steps are calls of @step functions, not {min(wrong)}")
