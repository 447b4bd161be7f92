"""tell: a group of alerts as a card, which is kept current by editing."""

from collections.abc import Sequence
from typing import Final

from countersign.replies import Button, Card, Field, Tone
from store.alerts import AlertGroupRow, AlertRow
from store.triggers import TriggerRow

from .alertings import named
from .registries import Registry
from .runbookbuttons import offers_for

ACKNOWLEDGE: Final = "alert_acknowledge"
RESOLVE: Final = "alert_resolve"
RUNBOOK: Final = "alert_runbook"
DETAILS: Final = "alert_details"
MOST_LISTED: Final = 4
FALLBACK_LENGTH: Final = 120
_TONES: Final = {"firing": Tone.bad, "acknowledged": Tone.waiting, "resolved": Tone.good}


def alert_card(registry: Registry, trigger: TriggerRow | None, group: AlertGroupRow, alerts: Sequence[AlertRow]) -> Card:
    """The card for a group and its first alerts, those that fire first. Pure."""
    summary = group.annotations.get("summary") or group.annotations.get("description") or ""
    head = f"A{group.number} {group.title}"
    state = _state(group)
    return Card(
        title=head[:150],
        fallback=_cut(f"[{group.status}] {group.title}: {summary or state}"),
        tone=_TONES[group.status],
        text=" ".join(summary.split())[:300],
        fields=tuple(Field(label=label, value=value) for label, value in _fields(group, state) if value),
        code="\n".join(_lines(group, alerts)),
        footer=f"from {trigger.name if trigger else 'a trigger'}{f' · {group.link}' if group.link else ''}"[:200],
        buttons=tuple(_buttons(registry, trigger, group)),
    )


def _fields(group: AlertGroupRow, state: str) -> list[tuple[str, str]]:
    counts = f"{group.firing} firing, {group.resolved} ended{f', {group.truncated} not sent' if group.truncated else ''}"
    shown = [f"{name}={value}" for name, value in sorted(group.labels.items()) if name not in ("alertname", "severity")]
    return [
        ("State", state),
        ("Alerts", counts),
        ("Severity", group.severity),
        ("Since", f"{group.opened_at:%Y-%m-%d %H:%M} UTC"),
        ("Labels", ", ".join(shown)[:200]),
    ]


def _state(group: AlertGroupRow) -> str:
    by = group.resolved_by if group.status == "resolved" else group.acknowledged_by if group.status == "acknowledged" else ""
    return f"{group.status}{f' by {by}' if by else ''}"


def _lines(group: AlertGroupRow, alerts: Sequence[AlertRow]) -> list[str]:
    """Those that fire, by what tells them apart."""
    firing = [one for one in alerts if one.status == "firing"][:MOST_LISTED]
    lines = [f"▸ {named([one.labels], group.labels)}  since {one.starts_at:%H:%M:%S} UTC"[:120] for one in firing]
    more = group.firing - len(firing)
    return [*lines, f"… and {more} more"] if firing and more > 0 else lines


def _buttons(registry: Registry, trigger: TriggerRow | None, group: AlertGroupRow) -> list[Button]:
    target = str(group.id)
    details = Button(label="Details", intent=DETAILS, target=target)
    if group.status == "resolved":
        return [details]
    buttons = [Button(label="Acknowledge", intent=ACKNOWLEDGE, target=target, style="primary")] if group.status == "firing" else []
    buttons.append(Button(label="Resolve", intent=RESOLVE, target=target, confirm=f"Resolve A{group.number} {group.title[:60]}?"))
    for one in offers_for(registry, trigger, group) if trigger else ():
        confirm = f"Ask for: {one.typed[:200]}? The arguments come from the alert's labels."
        buttons.append(Button(label=one.label, intent=RUNBOOK, target=target, digest=one.digest, confirm=confirm))
    return [*buttons, details]


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= FALLBACK_LENGTH else line[: FALLBACK_LENGTH - 1] + "…"
