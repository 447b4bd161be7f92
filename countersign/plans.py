"""Plans: what will happen, as data that people can sign."""

from collections.abc import Mapping
from typing import Any

from .approvals import Approval
from .canonical import digest_of
from .replies import Field
from .shapes import MOST_STEPS, Layout, Part, part_of, parts_only, steps_of
from .steps import Ref as Ref
from .steps import Step as Step
from .steps import StepFunction as StepFunction
from .values import REF_KEY as REF_KEY
from .values import written_json


class Plan:
    """The steps that would run, with their arguments and undo; nothing has happened yet.

    Steps run in the order given; `parallel`, `branch`, `each` and `sequence` give parts of another shape. `summary` is one line for people
    and is not signed. `watched` are facts the plan rests on: they enter the digest, so a change makes an approved run stale. `fields` and
    `preview` are shown beside the steps. `approval` asks for more than the command and policy do, because of what the planner found.
    """

    def __init__(
        self,
        summary: str,
        *parts: Part,
        watched: Mapping[str, Any] | None = None,
        fields: tuple[Field, ...] = (),
        preview: str = "",
        warning: str = "",
        approval: Approval | None = None,
    ) -> None:
        parts_only(parts)
        self.parts = parts
        self.steps = tuple(steps_of(parts))
        if not self.steps:
            raise TypeError("a Plan needs at least one step; return a Reply when there is nothing to do")
        if len(self.steps) > MOST_STEPS:
            raise TypeError(f"a Plan has at most {MOST_STEPS} steps; have one step do several of them")
        self.summary = summary.strip().splitlines()[0][:300] if summary.strip() else self.steps[0].title
        self.watched = {name: written_json(value) for name, value in (watched or {}).items()}
        self.fields = fields
        self.preview = preview
        self.warning = warning
        self.approval = approval

    def as_json(self) -> dict[str, Any]:
        """What is stored and shown: the summary, the steps as data, their shape if they do not simply follow each other, facts watched."""
        layout = Layout()
        shape = layout.lay(self.parts)
        return {
            "summary": self.summary,
            "steps": layout.steps,
            **({} if all(isinstance(node, int) for node in shape) else {"shape": shape}),
            "watched": self.watched,
            "fields": [one.model_dump() for one in self.fields],
            "preview": self.preview,
            "warning": self.warning,
            **({"approval": self.approval.as_json()} if self.approval else {}),
        }


def plan_digest(plan: Mapping[str, Any], *, command: str, code_version: str, arguments: Mapping[str, Any]) -> str:
    """SHA-256 over what is approved: command, code version, arguments, steps with undo and options, shape, facts watched."""
    signed = {"command": command, "code": code_version, "arguments": arguments, "steps": plan["steps"], "watched": plan["watched"]}
    return digest_of(signed | ({"shape": plan["shape"]} if plan.get("shape") else {}))


def resolved(arguments: Mapping[str, Any], results: Mapping[int, Any]) -> dict[str, Any]:
    """Stored step arguments with each reference replaced by the earlier step's result.

    Raises KeyError, IndexError or TypeError if that result has no such part.
    """
    return {name: _resolve(value, results) for name, value in arguments.items()}


def _resolve(value: Any, results: Mapping[int, Any]) -> Any:
    if isinstance(value, dict) and REF_KEY in value:
        return part_of(value, results)
    if isinstance(value, dict):
        return {name: _resolve(one, results) for name, one in value.items()}
    if isinstance(value, list):
        return [_resolve(one, results) for one in value]
    return value
