"""The preformatted lines of a card: its steps and how far they are, what has changed, the preview and the end of the log."""

from collections.abc import Container, Mapping, Sequence
from typing import Any, Final

from countersign.runs import RunStatus
from countersign.shapes import outline, shape_of
from store.journals import Phase, StepState

from .stepmarks import Mark, missed
from .storyfacts import ASKING, Facts

_CUT: Final = ("the steps", "the changes", "the preview")
"""What the parts before the log are called where they are cut."""


def code_of(facts: Facts, *, room: int, details: bool) -> str:
    """Before it starts: the steps and the preview; after: how far each step is and the end of the log. At most `room` lines."""
    plan = facts.run.plan or {}
    asking = facts.run.status in ASKING
    steps = _step_lines(facts, plan)
    by = f"changed by {plan['changed_by']}" if plan.get("changed_by") else "changed since it was approved"
    changed = [f"{by}: {one}" for one in plan.get("changed") or ()] if asking else []
    preview = str(plan.get("preview") or "").splitlines() if details or asking else []
    log = list(facts.lines) if details or facts.run.status != RunStatus.succeeded else []
    parts = _fitted([steps, changed, preview, log], room)
    return "\n".join(line[:200] for part in parts for line in part)[-2_800:]


def _fitted(parts: Sequence[Sequence[str]], room: int) -> list[list[str]]:
    """Every part cut so that together they take `room` lines, the longest first. The log, the last part, keeps its end."""
    sizes = [len(part) for part in parts]
    while sum(sizes) > room:
        sizes[max(range(len(sizes)), key=lambda n: (sizes[n], n))] -= 1
    fitted = []
    for n, (part, size) in enumerate(zip(parts, sizes, strict=True)):
        if size in (0, len(part)):
            fitted.append(list(part[:size]))
        elif n == len(parts) - 1:
            fitted.append(list(part[-size:]))
        else:
            fitted.append([*part[: size - 1], f"… and {len(part) - size + 1} more of {_CUT[n]}"])
    return fitted


def _step_lines(facts: Facts, plan: Mapping[str, Any]) -> list[str]:
    """Each step with how far it is; where they do not simply follow each other, indented under what they belong to."""
    steps = plan.get("steps") or ()
    if not steps:
        return []
    out = missed(plan, facts.steps)
    return [
        "  " * line.depth + (line.text if line.position is None else _step_line(facts, line.position, steps[line.position], out))
        for line in outline(shape_of(plan))
    ]


def _step_line(facts: Facts, position: int, step: Mapping[str, Any], out: Container[int]) -> str:
    done = next((one for one in facts.steps if one.position == position and one.phase == Phase.do), None)
    undone = next((one for one in facts.steps if one.position == position and one.phase == Phase.undo), None)
    line = f"{Mark.of(done, out=position in out).sign} {step['title']}"
    if done is None and position not in out:
        line += _minded(step)
    if undone is not None:
        line += " ↩ undone" if undone.state == StepState.done else " ↩ undo failed" if undone.state == StepState.failed else " ↩ undoing"
    elif done is not None and done.error:
        line += f": {done.error}"
    elif done is not None and done.state == StepState.calling and done.progress:
        line = f"{line}  {_bar(done.progress)}".rstrip()
    if guard := next((one for one in facts.steps if one.position == position and one.phase == Phase.guard), None):
        line += {StepState.waiting: "  ◷ watched", StepState.failed: f": {guard.error}"}.get(StepState(guard.state), "")
    return line + (f" (try {done.tries})" if done is not None and (done.tries or 1) > 1 else "")


def _minded(step: Mapping[str, Any]) -> str:
    """What is done about a step besides calling it: a watch afterwards, and a look-up where nobody knows what came of the call."""
    watched = f"watched for {step['guard']['for']}" if step.get("guard") else ""
    told = ", ".join(filter(None, [watched, "looked up if in doubt" if step.get("lookup") else ""]))
    return f"  ◷ {told}" if told else ""


def _bar(progress: Mapping[str, Any]) -> str:
    total = float(progress.get("total") or 0)
    if not total:
        return str(progress.get("note", ""))
    share = min(1.0, float(progress.get("done") or 0) / total)
    filled = round(share * 10)
    return f"{'█' * filled}{'░' * (10 - filled)} {share:.0%} {progress.get('note', '')}".rstrip()
