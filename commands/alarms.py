"""Alerts in the words of other systems: Alertmanager's webhook, version 4 (Grafana's is the same with a few more keys), and PagerDuty's
Events API v2. Sources: prometheus.io/docs/alerting/latest/configuration#webhook_config, developer.pagerduty.com "Events API v2".
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from countersign.replies import opens_a_page
from store.alerts import NewAlert, NewGroup

from .mappings import Unmapped

MOST_ALERTS: Final = 2_000
LONGEST: Final = 1_000
_NEVER: Final = 1  # the year that Go writes for a time that is not set


def alertmanager(payload: Mapping[str, Any]) -> NewGroup:
    """The group that a notification is about; raises Unmapped for anything that is none."""
    told = payload.get("alerts")
    if payload.get("version") not in ("4", "1") or not isinstance(told, list) or not _text(payload, "groupKey"):
        raise Unmapped("This is not a notification of Alertmanager's webhook, version 4: version, groupKey and alerts are wanted.")
    if not told or len(told) > MOST_ALERTS:
        raise Unmapped(f"alerts: should be 1 to {MOST_ALERTS}; set max_alerts in Alertmanager.")
    common, annotations = _texts(payload, "commonLabels"), _texts(payload, "commonAnnotations")
    return NewGroup(
        key=_text(payload, "groupKey"),
        title=_title(common, _texts(payload, "groupLabels"), annotations),
        alerts=tuple(_alert(one) for one in told),
        severity=common.get("severity", ""),
        link=_link(payload, "externalURL"),
        labels=common,
        annotations=annotations,
        truncated=int(payload.get("truncatedAlerts") or 0) if isinstance(payload.get("truncatedAlerts"), int) else 0,
    )


def pagerduty(payload: Mapping[str, Any], *, delivery: str, at: datetime) -> NewGroup:
    """The alert that an event is about, a group of its own; without a `dedup_key` it is known by the delivery. Raises Unmapped."""
    action, about = payload.get("event_action"), payload.get("payload")
    about = about if isinstance(about, dict) else {}
    key = _text(payload, "dedup_key")[:255] or delivery
    if action not in ("trigger", "acknowledge", "resolve"):
        raise Unmapped("event_action: should be trigger, acknowledge or resolve.")
    if action == "trigger" and not (_text(about, "summary") and _text(about, "source")):
        raise Unmapped("payload: a trigger needs summary and source.")
    labels = {name: _text(about, name) for name in ("source", "severity", "component", "group", "class") if _text(about, name)}
    labels |= _texts(about, "custom_details")
    alert = NewAlert(
        fingerprint=key,
        status="resolved" if action == "resolve" else "firing",
        starts_at=at,
        ends_at=at if action == "resolve" else None,
        labels=labels,
        annotations={"summary": _text(about, "summary")} if about else {},
        link=_link(payload, "client_url"),
    )
    return NewGroup(
        key=key,
        title=_text(about, "summary")[:200],
        alerts=(alert,),
        severity=_text(about, "severity"),
        link=_link(payload, "client_url"),
        labels=labels,
        annotations=alert.annotations,
        acknowledged=action == "acknowledge",
    )


def _alert(told: Any) -> NewAlert:
    if not isinstance(told, dict) or told.get("status") not in ("firing", "resolved"):
        raise Unmapped("alerts: each needs a status, firing or resolved.")
    labels = _texts(told, "labels")
    return NewAlert(
        fingerprint=_text(told, "fingerprint")[:100] or _fingerprint(labels),
        status=told["status"],
        starts_at=_moment(told, "startsAt") or datetime.fromtimestamp(0, UTC),
        ends_at=_moment(told, "endsAt"),
        labels=labels,
        annotations=_texts(told, "annotations"),
        link=_link(told, "generatorURL"),
    )


def _moment(told: Mapping[str, Any], name: str) -> datetime | None:
    """RFC 3339; None where it is not set."""
    text = _text(told, name)
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        raise Unmapped(f"{name}: {text[:40]!r} is not a time as in 2026-12-24T18:00:00Z.") from None
    if found is None or found.year <= _NEVER:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _title(common: Mapping[str, str], group: Mapping[str, str], annotations: Mapping[str, str]) -> str:
    name = group.get("alertname") or common.get("alertname") or annotations.get("summary") or "alert"
    by = ", ".join(f"{label}={value}" for label, value in sorted(group.items()) if label != "alertname")
    return f"{name}{f' ({by})' if by else ''}"[:200]


def _fingerprint(labels: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest()[:16]


def _texts(told: Mapping[str, Any], name: str) -> dict[str, str]:
    """A mapping of texts; what is none is left out, and a number is written as one."""
    found = told.get(name)
    if not isinstance(found, dict):
        return {}
    return {str(key)[:100]: str(value)[:LONGEST] for key, value in list(found.items())[:64] if isinstance(value, str | int | float)}


def _text(told: Mapping[str, Any], name: str) -> str:
    value = told.get(name)
    return value[:LONGEST] if isinstance(value, str) else ""


def _link(told: Mapping[str, Any], name: str) -> str:
    value = _text(told, name)
    return value if opens_a_page(value) else ""
