"""tell: a run as a card. Every door shows the same card; what a reader may not see is not on it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from countersign.replies import Button, Card, Field
from countersign.runs import FINISHED, RunStatus
from store.databases import ReadSession
from store.runs import RunRow
from store.switches import Held
from store.waits import WaitKind

from .resume import LABELS, Choice
from .rulebooks import Rulebook
from .storyfacts import ASKING
from .storyfacts import Facts as Facts
from .storyfacts import read_all_facts as read_all_facts
from .storyfacts import read_facts as read_facts
from .storylines import code_of
from .storywords import STATES, asker_of, fields_of, title_of, waiting_lines
from .storywords import asked as asked
from .switches import shown_on
from .taskcards import ANSWER

FALLBACK_LENGTH: Final = 120
MOST_LINES: Final = 10  # fields stand two in a line
MOST_ROWS: Final = 4
ENOUGH_FIELDS: Final = 6
LEAST_CODE: Final = 2
DETAILED_LINES: Final = 60
_RISKY: Final = 3


async def tell(session: ReadSession, run: RunRow, *, rulebook: Rulebook | None = None, details: bool = False, shared: bool = False) -> Card:
    """The card of a run; `details` tells more than ten lines, `shared` is a place where a private run shows only that it exists."""
    facts = await read_facts(session, run, lines=20 if details else 5, rulebook=rulebook, files=details)
    return card_of(facts, details=details, shared=shared)


async def tell_all(session: ReadSession, runs: Sequence[RunRow], *, rulebook: Rulebook) -> list[Card]:
    """The cards of several runs, in their order, read together."""
    return [card_of(one) for one in await read_all_facts(session, runs, rulebook=rulebook)]


def card_of(facts: Facts, *, details: bool = False, shared: bool = False) -> Card:
    """The card for these facts. Pure."""
    run = facts.run
    words, tone = STATES[RunStatus(run.status)]
    if shared and run.visibility == "private":
        title = f"{f'[{run.badge}] ' if run.badge else ''}#{run.number} {run.command}"
        text = "\n".join([*_stopped(facts), "Private: only those concerned see more."])
        return Card(title=title, fallback=_cut(f"{title}: {words}"), tone=tone, text=text, footer=words)
    told = [*_stopped(facts), *waiting_lines(facts), *_text_lines(run)]
    below = MOST_LINES - 1 - len(told)
    own, more = fields_of(facts)
    trace = [Field(label="Trace", value=run.trace)] if run.trace else []
    fields = (
        [*own, *more, *trace]
        if details
        else [*own, *more[: max(0, ENOUGH_FIELDS - len(own))]][: 2 * max(1, min(MOST_ROWS, below - LEAST_CODE))]
    )
    return Card(
        title=title_of(run),
        fallback=_fallback(facts, words),
        tone=tone,
        text="\n".join(told),
        fields=tuple(fields),
        code=code_of(facts, room=DETAILED_LINES if details else below - (len(fields) + 1) // 2, details=details),
        footer=_footer(run),
        buttons=_buttons(facts, details=details),
    )


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
    if without and (run.dry_run or run.status in ASKING):
        lines.append(f"Cannot be undone: {'; '.join(without)[:200]}")
    return list(dict.fromkeys(" ".join(line.split()) for line in lines if line.strip()))


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
    if run.arguments and (run.status == RunStatus.awaiting_approval or (run.status == RunStatus.queued and run.start_at)):
        buttons.append(Button(label="Edit", intent="edit", target=target))
    if details and run.status == RunStatus.awaiting_approval:
        buttons += [Button(label=label, intent=label.lower(), target=target) for label in ("Ask", "Comment")]
    if run.plan and not details:
        buttons.append(Button(label="Details", intent="details", target=target))
    buttons += [Button(label="Answer", intent=ANSWER, target=one.subject) for one in facts.waits if one.kind == WaitKind.task]
    if run.status in (RunStatus.running, RunStatus.waiting):
        buttons.append(Button(label="Go on" if run.paused_by else "Pause", intent="unpause" if run.paused_by else "pause", target=target))
    if run.status not in FINISHED and run.status != RunStatus.interrupted:
        buttons.append(Button(label="Cancel", intent="cancel", target=target))
    return tuple(buttons)


def _deciding(facts: Facts, *, target: str, digest: str, confirm: str) -> list[Button]:
    """Where more than a click is needed, chats show the way to the browser instead of buttons that would be refused."""
    link = [Button(label="Decide in the browser", intent="open", target=target, link=facts.link)] if facts.step_up and facts.link else []
    only: Literal["", "browser"] = "browser" if facts.step_up else ""
    common: dict[str, Any] = {"target": target, "digest": digest, "only": only, "signed": facts.step_up == "passkey"}
    return [
        Button(label="Approve", intent="approve", style="primary", confirm=confirm, **common),
        Button(label="Deny", intent="deny", style="danger", ask_reason=True, **common),
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
        return _cut(f"{asker_of(run)} asks: {run.command}: {summary or asked(run)}", FALLBACK_LENGTH - len(tail)) + tail
    return _cut(f"#{run.number} {run.command} {words}: {run.outcome or summary or asked(run)}")


def _cut(text: str, length: int = FALLBACK_LENGTH) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"
