"""What the kill switches that are on say about a command, in words that every door shows."""

from collections.abc import Iterable, Sequence
from typing import Final

from countersign.commands import Command
from countersign.permissions import Risk
from store.switches import Held, Switch

SWITCH_OFF: Final = "switch off"
_WHAT: Final = {
    "everything": "Everything is stopped",
    "changes": "Read-only mode is on",
    "command": "The command {} is stopped",
    "integration": "The integration {} is stopped",
}
_UNNAMED: Final = {
    "everything": "Everything is stopped.",
    "changes": "Read-only mode is on.",
    "command": "A command is stopped.",
    "integration": "An integration is stopped.",
}


def sentence_of(switch: Switch) -> str:
    """For instance `Everything is stopped by lin since 14:02 UTC: the deploys run wild.`"""
    what = _WHAT[switch.kind].format(switch.target)
    return f"{what} by {switch.by} since {switch.at:%Y-%m-%d %H:%M} UTC{': ' + switch.reason if switch.reason else ''}".rstrip(".") + "."


def name_of(switch: Switch) -> str:
    """What one types to mean it: `everything`, `changes`, `command deploy`, `integration fleet`."""
    return f"{switch.kind} {switch.target}".strip()


def against(switches: Iterable[Switch], command: Command, *, dry_run: bool) -> str:
    """Why this command cannot be asked for now; empty when nothing stands in its way."""
    if command.kind == "control":
        return ""
    return _first(switches, command.name, risk=command.risk, dry_run=dry_run)


def against_run(switches: Iterable[Switch], run: Held, *, planning: bool) -> str:
    """Why this run is held back now. Planning changes nothing, so read-only mode lets it happen."""
    return _first(switches, run.command, risk=run.risk, dry_run=run.dry_run or planning)


def shown_on(switches: Iterable[Switch], run: Held) -> list[str]:
    """What a run's card says about switches: those in its way, and stopped integrations, which its steps may need."""
    if run.command == SWITCH_OFF:
        return []
    return [sentence_of(one) for one in switches if one.kind == "integration" or _holds(one, run.command, run.risk, run.dry_run)]


def stopped_integrations(switches: Iterable[Switch]) -> dict[str, str]:
    """A sentence for each integration that is stopped, by its name."""
    return {one.target: sentence_of(one) for one in switches if one.kind == "integration"}


def sentences(switches: Sequence[Switch]) -> list[str]:
    """All of them, for places that show the whole hub: readiness, help, the console."""
    return [sentence_of(one) for one in switches]


def kinds(switches: Sequence[Switch]) -> list[str]:
    """What is stopped, without names and reasons, for whoever is nobody here."""
    return [_UNNAMED[one] for one in dict.fromkeys(one.kind for one in switches)]


def _first(switches: Iterable[Switch], command: str, *, risk: int, dry_run: bool) -> str:
    if command == SWITCH_OFF:
        return ""
    return next((sentence_of(one) for one in switches if _holds(one, command, risk, dry_run)), "")


def _holds(switch: Switch, command: str, risk: int, dry_run: bool) -> bool:
    if switch.kind == "changes":
        return risk > Risk.read and not dry_run
    return switch.kind == "everything" or (switch.kind == "command" and switch.target == command)
