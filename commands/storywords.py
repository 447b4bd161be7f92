"""The words of a card: what was asked, and the short fields that say who, how far and until when."""

from collections.abc import Mapping
from typing import Any, Final

from countersign.invocations import Origin
from countersign.replies import Field, Tone
from countersign.runs import RunStatus
from countersign.schemas import SECRET_KEY
from store.approvals import DecisionRow
from store.runs import RunRow

from .starts import start_fields
from .storyfacts import ASKING, Facts
from .voting import rule_of
from .waits import Told

STATES: Final[dict[RunStatus, tuple[str, Tone]]] = {
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
LONGEST_TITLE: Final = 150
MOST_FILES: Final = 5
_FROM: Final[Mapping[str, str]] = {
    Origin.default.value: " (default)",
    Origin.label.value: " (from a label)",
    Origin.payload.value: " (from a payload)",
    Origin.model.value: " (proposed by a model)",
}


def asked(run: RunRow) -> str:
    """The command with its arguments as one would type them, secrets as dots."""
    return f"{run.command} {' '.join(f'{name}={_value(value)}' for name, value in _given(run).items())}".strip()[:300]


def title_of(run: RunRow) -> str:
    """The same under its number, with where each argument came from that nobody typed; defaults go unmarked where there is no room."""
    head = f"{f'[{run.badge}] ' if run.badge else ''}#{run.number} {run.command}"
    whole = _title(head, run, _FROM)
    return whole if len(whole) <= LONGEST_TITLE else _title(head, run, {**_FROM, Origin.default.value: ""})[:LONGEST_TITLE]


def fields_of(facts: Facts) -> tuple[list[Field], list[Field]]:
    """Who and how far; and what the command's author adds and how proven the undo is, which are the first to go behind Details."""
    run = facts.run
    words, _ = STATES[RunStatus(run.status)]
    fields = [Field(label="Asked by", value=_askers(run)), Field(label="State", value=f"{words}{' (dry run)' if run.dry_run else ''}")]
    fields += [*start_fields(run), *_approval_fields(facts)]
    if run.reason:
        fields.append(Field(label="Reason", value=run.reason))
    if facts.earlier:
        ended, _ = STATES[RunStatus(facts.earlier.status)]
        value = f"#{facts.earlier.number} by {facts.earlier.asker}: {ended}, {facts.earlier.at:%Y-%m-%d %H:%M} UTC"
        fields.append(Field(label="Last time", value=value))
    if facts.files:
        fields.append(Field(label="Files", value=_listed(facts)))
    proven = [Field(label="Undo", value=value)] if run.status in ASKING and (value := _proven(facts)) else []
    return fields, [*(Field(**one) for one in (run.plan or {}).get("fields", ())), *proven]


def _listed(facts: Facts) -> str:
    """The first few files by name and size, and how many there are more."""
    more = len(facts.files) - MOST_FILES
    named = [f"{one.name} ({one.sized})" for one in facts.files[:MOST_FILES]]
    return ", ".join([*named, f"and {more} more"] if more > 0 else named)


def _proven(facts: Facts) -> str:
    """When the undos of this plan last worked: the one that did so the longest time ago; empty where there is none."""
    steps = [one for one in (facts.run.plan or {}).get("steps", ()) if one.get("undo")]
    pairs = {(one.get("name", ""), one["undo"].get("name", "")): one.get("name", "").rpartition(".")[2] for one in steps}
    never = sorted({name for pair, name in pairs.items() if pair not in facts.proven})
    if not pairs or never:
        return f"never exercised{'' if len(never) == len(pairs) else ': ' + ', '.join(never)}" if pairs else ""
    days = int(max(facts.proven[pair] for pair in pairs) // 86_400)
    return f"verified {'today' if not days else f'{days} days ago' if days > 1 else 'yesterday'}"


def waiting_lines(facts: Facts) -> list[str]:
    """What it waits for and since when, or that it will pause before its next step."""
    run = facts.run
    lines = [f"Waits: {one.detail} (since {one.since:%Y-%m-%d %H:%M} UTC{_until(one)})." for one in facts.waits]
    paused = run.paused_by and run.status == RunStatus.running
    return [f"Paused by {run.paused_by}: its next step does not begin."] if paused else lines


def _until(one: Told) -> str:
    return f", until {one.due_at:%H:%M:%S}" if one.due_at else ""


def _approval_fields(facts: Facts) -> list[Field]:
    rule = rule_of(facts.request) if facts.request else None
    if facts.request is None or rule is None:
        return []
    yes = [_voter(facts.run, one) for one in facts.decisions if one.verdict == "approve"]
    no = [f"{_voter(facts.run, one)}{': ' + one.reason if one.reason else ''}" for one in facts.decisions if one.verdict == "deny"]
    fields = [Field(label="Approvals", value=f"{len(yes)} of {rule.least}{': ' + ', '.join(yes) if yes else ''}")]
    if facts.needed:
        fields.append(Field(label="Still needed", value=facts.needed))
    if no:
        fields.append(Field(label="Denied by", value=", ".join(no)))
    if facts.run.status == RunStatus.awaiting_approval:
        fields.append(Field(label="Until", value=f"{facts.request.expires_at:%Y-%m-%d %H:%M} UTC"))
    if facts.step_up:
        how = "signed with a passkey" if facts.step_up == "passkey" else "within five minutes of logging in"
        fields.append(Field(label="Decide", value=f"in the browser, {how}{facts.link and ': '}{facts.link}"))
    return fields


def _voter(run: RunRow, row: DecisionRow) -> str:
    """Whoever voted, for whom if not for themselves, and what makes the vote special."""
    marks = [
        f"for {row.on_behalf}" if row.on_behalf else "",
        "self-approved" if row.person == run.asker and row.verdict == "approve" else "",
        "changed it" if row.person == run.edited_by and row.person != run.asker else "",
    ]
    shown = ", ".join(filter(None, marks))
    return f"{row.person} ({shown})" if shown else row.person


def _askers(run: RunRow) -> str:
    """The asker, who holds it in their place, and who changed it last."""
    edited = f"changed by {run.edited_by}" if run.edited_by and run.edited_by != run.asker else ""
    holds = f"{run.handed_to} answers for it" if run.source else f"handed to {run.handed_to}"
    marks = ", ".join(filter(None, [holds if run.handed_to else "", edited]))
    return f"{asker_of(run)} ({marks})" if marks else asker_of(run)


def asker_of(run: RunRow) -> str:
    """`ada`, or `schedule nightly-backup, as svc-backup`."""
    return f"{run.source}, as {run.asker}" if run.source else run.asker


def _title(head: str, run: RunRow, marks: Mapping[str, str]) -> str:
    origins = run.origins or {}
    parts = [f"{name}={_value(value)}{marks.get(origins.get(name, ''), '')}" for name, value in _given(run).items()]
    return " ".join([head, *parts])


def _given(run: RunRow) -> dict[str, Any]:
    """The arguments that have a value, in the order in which people read them."""
    names = [*(run.plan or {}).get("order", ()), *run.arguments]
    return {name: run.arguments[name] for name in names if run.arguments.get(name) not in (None, "")}


def _value(value: Any) -> str:
    if isinstance(value, Mapping) and SECRET_KEY in value:
        return "••••••"
    text = "yes" if value is True else "no" if value is False else str(value)
    return f'"{text}"' if " " in text else text[:80]
