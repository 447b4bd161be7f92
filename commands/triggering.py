"""What a delivery to a trigger means: whether it counts, and which command with which arguments it starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

from countersign.commands import Command
from countersign.invocations import Door, Invocation, Origin, Place
from store.alerts import NewGroup
from store.hookdeliveries import DeliveryRow
from store.triggers import TriggerRow

from .alarms import alertmanager, pagerduty
from .expressions import Unreadable
from .mappings import ArgumentMapping, MappingError, Unmapped, compile_filter, compile_mapping
from .registries import Registry


class Sender(StrEnum):
    """How a delivery proves who sent it."""

    github = "github"
    sentry = "sentry"
    grafana = "grafana"
    stripe = "stripe"
    signed = "signed"
    bearer = "bearer"
    certificate = "certificate"
    pagerduty = "pagerduty"


class Kind(StrEnum):
    """What a delivery becomes: a run of a command, or alerts in the words of Alertmanager or PagerDuty."""

    command = "command"
    alertmanager = "alertmanager"
    pagerduty = "pagerduty"


@dataclass(frozen=True)
class Starts:
    """A run of this command is to be asked for."""

    command: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Nothing:
    """No run: because the filter left it out (`filtered`), or because the mapping does not fit (`unmapped`)."""

    reason: str
    sentence: str


def read_delivery(registry: Registry, trigger: TriggerRow, payload: Mapping[str, Any], event: str) -> Starts | Nothing:
    """What a delivery to a trigger of kind `command` starts. Pure: the same for the same payload."""
    body = trigger.body
    return read_with(registry, payload, event, command=body["run"], mapping=body.get("mapping", ""), only=body.get("only", ""))


def read_with(registry: Registry, payload: Mapping[str, Any], event: str, *, command: str, mapping: str, only: str) -> Starts | Nothing:
    """The same under a filter and a mapping that may be no trigger's yet."""
    data = {"payload": payload, "event": event}
    found = registry.find(command)
    if found is None:
        return Nothing("unmapped", f"There is no command {command} any more.")
    try:
        condition = compile_filter(only)
        if condition is not None and condition.read(data) is not True:
            return Nothing("filtered", "The filter leaves it out.")
        return Starts(command, _mapping(mapping, found).read(data))
    except Unreadable as error:
        return Nothing("unmapped", f"The filter cannot be read: {error}.")
    except (MappingError, Unmapped) as error:
        return Nothing("unmapped", str(error))


def read_alerts(trigger: TriggerRow, payload: Mapping[str, Any], *, delivery: str, at: datetime) -> NewGroup:
    """What a delivery to a trigger of another kind tells; raises Unmapped. `delivery` is its id, `at` when it came."""
    return alertmanager(payload) if trigger.kind == Kind.alertmanager else pagerduty(payload, delivery=delivery, at=at)


def invocation_of(trigger: TriggerRow, delivery: DeliveryRow, wanted: Starts) -> Invocation:
    """The request that a delivery is; the same one however often it is worked on."""
    return Invocation(
        key=f"trigger:{delivery.id}",
        door=Door.trigger,
        place=Place("trigger", channel=trigger.name),
        command=wanted.command,
        arguments=wanted.arguments,
        origins=dict.fromkeys(wanted.arguments, Origin.payload),
        reason=f"{trigger.name}{f', {delivery.event}' if delivery.event else ''}{f', {delivery.delivery}' if delivery.delivery else ''}"[
            :200
        ],
        trace=delivery.trace,
    )


@lru_cache(maxsize=500)
def _mapping(text: str, command: Command) -> ArgumentMapping:
    return compile_mapping(text, command)
