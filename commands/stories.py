"""tell: a run as a card. Every door shows the same card; what a reader may not see is not on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from countersign.replies import Button, Card, Field, Tone
from countersign.runs import FINISHED, RunStatus
from countersign.schemas import SECRET_KEY
from store.approvals import ApprovalRequestRow, DecisionRow, find_decisions, find_request
from store.databases import ReadSession
from store.journals import Phase, StepRow, StepState, find_lines, find_steps
from store.runs import RunRow
from store.switches import Held, Switch, find_switches

from .resume import LABELS, Choice
from .starts import start_fields
from .stepups import link_of
from .switches import shown_on
from .voting import rule_of

FALLBACK_LENGTH: Final = 120
MOST_LINES: Final = 10  # fields stand two in a line
MOST_FIELDS: Final = 6
DETAILED_LINES: Final = 60
_STATES: Final[dict[RunStatus, tuple[str, Tone]]] = {
    RunStatus.submitted: ("asked", Tone.neutral),
    RunStatus.planning: ("planning", Tone.neutral),
    RunStatus.answered: ("answered", Tone.neutral),
    RunStatus.awaiting_approval: ("waiting for approval", Tone.waiting),
    RunStatus.queued: ("approved, about to start", Tone.busy),
    RunStatus.stale: ("the world has changed since the approval", Tone.waiting),
    RunStatus.running: ("running", Tone.busy),
    RunStatus.waiting: ("waiting", Tone.waiting),
    RunStatus.succeeded: ("succeeded", Tone.good),
    RunStatus.failed: ("failed", Tone.bad),
    RunStatus.undoing: ("undoing", Tone.busy),
    RunStatus.rolled_back: ("failed and undone", Tone.bad),
    RunStatus.rollback_failed: ("failed, and the undo failed", Tone.bad),
    RunStatus.interrupted: ("interrupted: somebody has to say what happened", Tone.bad),
    RunStatus.denied: ("denied", Tone.bad),
    RunStatus.expired: ("expired", Tone.bad),
    RunStatus.cancelled: ("cancelled", Tone.neutral),
    RunStatus.refused: ("refused", Tone.bad),
}
_RISKY: Final = 3


@dataclass(frozen=True)
class Facts:
    """What the database knows about a run, read once for every place that shows it; `address` is where people open Countersign."""

    run: RunRow
    request: ApprovalRequestRow | None
    decisions: Sequence[DecisionRow]
    steps: Sequence[StepRow]
    lines: Sequence[str]
    address: str = ""
    switches: Sequence[Switch] = ()

    @property
    def step_up(self) -> str:
        """What deciding takes beside a click: nothing, a fresh `login` in the browser, or a `passkey`."""
        rule = rule_of(self.request) if self.request and self.run.status == RunStatus.awaiting_approval else None
        return rule.step_up if rule else ""

    @property
    def link(self) -> str:
        """Where it is decided in the browser."""
        return link_of(self.address, self.run)


async def read_facts(
    session: ReadSession, run: RunRow, *, lines: int = 5, address: str = "", switches: Sequence[Switch] | None = None
) -> Facts:
    """The request, decisions, journal and last log lines of a run, and the kill switches that are on if the caller does not know them."""
    request = await find_request(session, run.id) if run.revision else None
    decisions = await find_decisions(session, request.id) if request else []
    started = run.status not in (RunStatus.submitted, RunStatus.planning, RunStatus.awaiting_approval, RunStatus.answered)
    steps = await find_steps(session, run.id, revision=run.revision) if started else []
    log = await find_lines(session, run.id, last=lines) if steps else []
    if switches is None:
        switches = () if run.status in FINISHED else await find_switches(session)
    return Facts(run, request, decisions, steps, [one.line for one in log], address, switches)


async def tell(session: ReadSession, run: RunRow, *, details: bool = False, shared: bool = False, address: str = "") -> Card:
    """The card of a run; `details` tells more than ten lines, `shared` is a place where a private run shows only that it exists."""
    return card_of(await read_facts(session, run, lines=20 if details else 5, address=address), details=details, shared=shared)


def card_of(facts: Facts, *, details: bool = False, shared: bool = False) -> Card:
    """The card for these facts. Pure."""
    run = facts.run
    status = RunStatus(run.status)
    words, tone = _STATES[status]
    hidden = shared and run.visibility == "private"
    title = f"{f'[{run.badge}] ' if run.badge else ''}#{run.number} {run.command if hidden else asked(run)}"
    if hidden:
        text = "\n".join([*_stopped(facts), "Private: only those concerned see more."])
        return Card(title=title, fallback=_cut(f"{title}: {words}"), tone=tone, text=text, footer=words)
    told = [*_stopped(facts), *_text_lines(run)]
    fields = _fields(facts, words)[: None if details else MOST_FIELDS]
    room = DETAILED_LINES if details else MOST_LINES - 1 - len(told) - (len(fields) + 1) // 2
    return Card(
        title=title[:150],
        fallback=_fallback(facts, words),
        tone=tone,
        text="\n".join(told),
        fields=tuple(fields),
        code=_code(facts, room=room, details=details),
        footer=_footer(run),
        buttons=_buttons(facts, details=details),
    )


def asked(run: RunRow) -> str:
    """The command with its arguments as one would type them, secrets as dots."""
    names = [*(run.plan or {}).get("order", ()), *run.arguments]
    given = {name: run.arguments[name] for name in names if run.arguments.get(name) not in (None, "")}
    shown = " ".join(f"{name}={_value(value)}" for name, value in given.items())
    return f"{run.command} {shown}".strip()[:300]


def _stopped(facts: Facts) -> list[str]:
    run = facts.run
    return [] if run.status in FINISHED else shown_on(facts.switches, Held(run.id, run.command, run.risk, run.dry_run, run.status))


def _text_lines(run: RunRow) -> list[str]:
    """At most four lines: how it ended, what it does, what to mind."""
    plan: Mapping[str, Any] = run.plan or {}
    lines = [run.outcome, plan.get("summary", "")]
    if plan.get("warning") and run.status not in FINISHED:
        lines.append(str(plan["warning"]))
    without = [one["title"] for one in plan.get("steps", ()) if not one.get("undo") and not one.get("reads")]
    if without and (run.dry_run or run.status in (RunStatus.awaiting_approval, RunStatus.stale)):
        lines.append(f"Cannot be undone: {'; '.join(without)[:200]}")
    return list(dict.fromkeys(" ".join(line.split()) for line in lines if line.strip()))


def _fields(facts: Facts, words: str) -> list[Field]:
    """Who and how far first; what the command's author adds comes last, so that it is the first to go behind Details."""
    run = facts.run
    fields = [Field(label="Asked by", value=run.asker), Field(label="State", value=f"{words}{' (dry run)' if run.dry_run else ''}")]
    fields += [*start_fields(run), *_approval_fields(facts)]
    if run.reason:
        fields.append(Field(label="Reason", value=run.reason))
    return fields + [Field(**one) for one in (run.plan or {}).get("fields", ())]


def _approval_fields(facts: Facts) -> list[Field]:
    rule = rule_of(facts.request) if facts.request else None
    if facts.request is None or rule is None:
        return []
    yes = [one.person for one in facts.decisions if one.verdict == "approve"]
    no = [one for one in facts.decisions if one.verdict == "deny"]
    own = " (self-approved)" if facts.run.asker in yes else ""
    fields = [Field(label="Approvals", value=f"{len(yes)} of {rule.least}{': ' + ', '.join(yes) if yes else ''}{own}")]
    if no:
        fields.append(Field(label="Denied by", value=", ".join(f"{one.person}{': ' + one.reason if one.reason else ''}" for one in no)))
    if facts.run.status == RunStatus.awaiting_approval:
        fields.append(Field(label="Until", value=f"{facts.request.expires_at:%Y-%m-%d %H:%M} UTC"))
    if facts.step_up:
        how = "signed with a passkey" if facts.step_up == "passkey" else "within five minutes of logging in"
        fields.append(Field(label="Decide", value=f"in the browser, {how}{facts.link and ': '}{facts.link}"))
    return fields


def _code(facts: Facts, *, room: int, details: bool) -> str:
    """Before it starts: the steps and the preview; after: how far each step is and the end of the log. At most `room` lines."""
    plan = facts.run.plan or {}
    asking = facts.run.status in (RunStatus.awaiting_approval, RunStatus.stale)
    steps = [_step_line(facts, position, one) for position, one in enumerate(plan.get("steps", ()))]
    changed = [f"changed since it was approved: {one}" for one in plan.get("changed") or ()] if asking else []
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
            fitted.append([*part[: size - 1], f"… and {len(part) - size + 1} more"])
    return fitted


def _step_line(facts: Facts, position: int, step: Mapping[str, Any]) -> str:
    done = next((one for one in facts.steps if one.position == position and one.phase == Phase.do), None)
    undone = next((one for one in facts.steps if one.position == position and one.phase == Phase.undo), None)
    mark = {None: "·", StepState.calling: "▸", StepState.done: "✓", StepState.failed: "✗", StepState.not_done: "·"}[
        StepState(done.state) if done else None
    ]
    line = f"{mark} {step['title']}"
    if undone is not None:
        line += " ↩ undone" if undone.state == StepState.done else " ↩ undo failed" if undone.state == StepState.failed else " ↩ undoing"
    elif done is not None and done.error:
        line += f": {done.error}"
    elif done is not None and done.state == StepState.calling and done.progress:
        line += f"  {_bar(done.progress)}"
    return line


def _bar(progress: Mapping[str, Any]) -> str:
    total = float(progress.get("total") or 0)
    share = min(1.0, float(progress.get("done") or 0) / total) if total else 0.0
    filled = round(share * 10)
    return f"{'█' * filled}{'░' * (10 - filled)} {share:.0%} {progress.get('note', '')}".rstrip()


def _buttons(facts: Facts, *, details: bool) -> tuple[Button, ...]:
    run = facts.run
    target = str(run.id)
    digest = facts.request.digest if facts.request else ""
    confirm = f"{asked(run)[:120]}?" if run.risk >= _RISKY else ""
    buttons: list[Button] = []
    if run.status == RunStatus.awaiting_approval:
        buttons = _deciding(facts, target=target, digest=digest, confirm=confirm and f"Approve {confirm}")
    if run.status == RunStatus.interrupted:
        buttons = [
            Button(label=LABELS[one], intent=f"resume_{one.value}", target=target, confirm=f"{LABELS[one]}: {asked(run)[:80]}?")
            for one in Choice
        ]
    if run.plan and not details:
        buttons.append(Button(label="Details", intent="details", target=target))
    if run.status not in FINISHED and run.status != RunStatus.interrupted:
        buttons.append(Button(label="Cancel", intent="cancel", target=target))
    return tuple(buttons)


def _deciding(facts: Facts, *, target: str, digest: str, confirm: str) -> list[Button]:
    """Where more than a click is needed, chats show the way to the browser instead of buttons that would be refused."""
    link = [Button(label="Decide in the browser", intent="open", target=target, link=facts.link)] if facts.step_up and facts.link else []
    if facts.step_up == "passkey":
        return link
    only: Literal["", "browser"] = "browser" if facts.step_up else ""
    return [
        Button(label="Approve", intent="approve", target=target, digest=digest, style="primary", confirm=confirm, only=only),
        Button(label="Deny", intent="deny", target=target, digest=digest, style="danger", ask_reason=True, only=only),
        *link,
    ]


def _footer(run: RunRow) -> str:
    parts = [f"run {run.id}"]
    if run.digest:
        parts.append(f"digest {run.digest[:12]}")
    if run.revision > 1:
        parts.append(f"plan {run.revision}")
    return " · ".join(parts)


def _fallback(facts: Facts, words: str) -> str:
    run = facts.run
    summary = (run.plan or {}).get("summary", "")
    if run.status == RunStatus.awaiting_approval and facts.request:
        tail = f" · until {facts.request.expires_at:%H:%M} UTC"
        return _cut(f"{run.asker} asks: {run.command}: {summary or asked(run)}", FALLBACK_LENGTH - len(tail)) + tail
    return _cut(f"#{run.number} {run.command} {words}: {run.outcome or summary or asked(run)}")


def _cut(text: str, length: int = FALLBACK_LENGTH) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _value(value: Any) -> str:
    if isinstance(value, Mapping) and SECRET_KEY in value:
        return "••••••"
    text = "yes" if value is True else "no" if value is False else str(value)
    return f'"{text}"' if " " in text else text[:80]
