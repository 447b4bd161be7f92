"""Notifications as Alertmanager writes them."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

BEGAN = datetime(2026, 11, 29, 18, 0, tzinfo=UTC)


def notification(
    *instances: str,
    group: str = "api",
    status: str = "firing",
    ended: Sequence[str] = (),
    later: float = 0,
    link: str = "http://alerts.example.test",
    **labels: str,
) -> bytes:
    """Version 4 of the webhook's body; `later` seconds is when the alerts began, after 18:00. Those in `ended` have ended.

    They say that they come from `link`.
    """
    common = {"alertname": "HighLatency", "service": group, "severity": "critical"} | labels
    source = {"generatorURL": link}
    alerts = [_alert(one, common, ended=one in ended or status == "resolved", later=later) | source for one in (*instances, *ended)]
    firing = any(one["status"] == "firing" for one in alerts)
    body = {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="HighLatency", service="{group}"}}',
        "truncatedAlerts": 0,
        "status": "firing" if firing else "resolved",
        "receiver": "countersign",
        "groupLabels": {"alertname": "HighLatency", "service": group},
        "commonLabels": common,
        "commonAnnotations": {"summary": f"Requests to {group} are slow"},
        "externalURL": link,
        "alerts": alerts,
    }
    return json.dumps(body).encode()


def _alert(instance: str, common: dict[str, str], *, ended: bool, later: float) -> dict[str, Any]:
    began = (BEGAN + timedelta(seconds=later)).isoformat().replace("+00:00", "Z")
    return {
        "status": "resolved" if ended else "firing",
        "labels": common | {"instance": instance},
        "annotations": {"summary": f"{instance} is slow"},
        "startsAt": began,
        "endsAt": (BEGAN + timedelta(seconds=later + 60)).isoformat() if ended else "0001-01-01T00:00:00Z",
        "fingerprint": f"{common['service']}-{instance}",
    }
