"""Runbook buttons: commands that a card of alerts offers, with arguments from the alerts' labels."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from countersign.canonical import canonical
from countersign.commands import Command
from store.alerts import AlertGroupRow
from store.triggers import TriggerRow

from .mappings import LABELS, ArgumentMapping, MappingError, Unmapped, compile_mapping
from .registries import Registry

MOST: Final = 5


@dataclass(frozen=True)
class Runbook:
    """One button: its label, and the command with what is taken from labels."""

    label: str
    mapping: ArgumentMapping


@dataclass(frozen=True)
class Offer:
    """What a button would ask for now; `digest` changes when that does, so that a button means what it showed."""

    label: str
    command: Command
    arguments: dict[str, Any]

    @property
    def digest(self) -> str:
        return hashlib.sha256(canonical([self.command.name, self.arguments])).hexdigest()[:16]

    @property
    def typed(self) -> str:
        return f"{self.command.name} {' '.join(f'{name}={value}' for name, value in self.arguments.items())}".strip()


def read_runbooks(text: str, registry: Registry) -> list[Runbook]:
    """Reads `LABEL: COMMAND name=EXPRESSION; …`, each on a line or after ` | `; raises MappingError saying which one cannot work."""
    found = [_runbook(line, registry) for line in _lines(text)]
    if len(found) > MOST:
        raise MappingError(f"There are {len(found)} runbooks; a card has room for {MOST} buttons.")
    return found


def offers_for(registry: Registry, trigger: TriggerRow, group: AlertGroupRow) -> list[Offer]:
    """The buttons that fit a group's labels; one whose label is missing there is left out."""
    return list(_offers(registry, trigger.body.get("runbooks", ""), {"labels": group.labels, "annotations": group.annotations}))


def _offers(registry: Registry, text: str, data: Mapping[str, Any]) -> Iterator[Offer]:
    for line in _lines(text):
        try:
            one = _runbook(line, registry)
            yield Offer(one.label, one.mapping.command, one.mapping.read(data))
        except (MappingError, Unmapped):
            continue


def _runbook(line: str, registry: Registry) -> Runbook:
    label, sign, rest = line.partition(":")
    words = rest.split(None, 2)
    if not sign or not label.strip() or len(label) > 30 or not words:
        raise MappingError(f"{line[:40]!r}: write LABEL: COMMAND name=EXPRESSION, for instance Restart: restart service=labels.service")
    for count in (2, 1):
        command = registry.find(" ".join(words[:count]))
        if command is not None and command.kind != "control":
            return Runbook(label.strip(), _compiled(rest.strip().removeprefix(command.name).strip(), command, label.strip()))
    raise MappingError(f"{label.strip()}: there is no command '{words[0][:40]}' that could be run.")


@lru_cache(maxsize=200)
def _compiled(text: str, command: Command, label: str) -> ArgumentMapping:
    try:
        return compile_mapping(text, command, LABELS)
    except MappingError as error:
        raise MappingError(f"{label}: {error}") from None


def _lines(text: str) -> list[str]:
    return [one.strip() for one in text.replace(" | ", "\n").splitlines() if one.strip()]
