"""replay: what a filter and a mapping would do with what was delivered before, without doing it."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from store.databases import ReadSession
from store.hookdeliveries import DeliveryRow, find_deliveries
from store.people import Person, find_person
from store.triggers import TriggerRow

from .rulebooks import Rulebook
from .submit import Birth, Prepared, prepare
from .triggering import Nothing, Starts, invocation_of, read_with

MOST: Final = 200


@dataclass(frozen=True)
class Replayed:
    """One delivery again: what it would do (`starts`, `refused`, `filtered` or `unmapped`), in words, and what became of it then."""

    delivery: str
    at: datetime
    event: str
    would: str
    said: str
    arguments: dict[str, Any]
    was: str

    def as_json(self) -> dict[str, Any]:
        return self.__dict__ | {"at": self.at.isoformat()}


async def replay(session: ReadSession, rulebook: Rulebook, trigger: TriggerRow, *, mapping: str, only: str, last: int) -> list[Replayed]:
    """The last so many proved deliveries, oldest first, under this mapping and filter, or the trigger's own where they are empty."""
    rows = await find_deliveries(session, trigger=trigger.id, with_body=True, limit=min(last, MOST))
    account = await find_person(session, trigger.account)
    wanted = {"command": trigger.body["run"], "mapping": mapping or trigger.body["mapping"], "only": only or trigger.body["only"]}
    return [_again(rulebook, trigger, account, row, wanted) for row in reversed(rows)]


def _again(rulebook: Rulebook, trigger: TriggerRow, account: Person | None, row: DeliveryRow, wanted: dict[str, str]) -> Replayed:
    found = read_with(rulebook.registry, json.loads(row.body or "{}"), row.event, **wanted)
    was = f"{row.state}{f' ({row.reason})' if row.reason else ''}"
    if isinstance(found, Nothing):
        return Replayed(str(row.id), row.received_at, row.event, found.reason, found.sentence, {}, was)
    said = _refusal(rulebook, account, found, trigger, row)
    would = "refused" if said else "starts"
    return Replayed(str(row.id), row.received_at, row.event, would, said or _typed(found), found.arguments, was)


def _refusal(rulebook: Rulebook, account: Person | None, found: Starts, trigger: TriggerRow, row: DeliveryRow) -> str:
    """Why it would be refused now; empty where it would not."""
    if account is None or not account.active:
        return f"The service account {trigger.account} is not active."
    prepared: Prepared = prepare(rulebook, account, invocation_of(trigger, row, found))
    return prepared.sentence if isinstance(prepared, Birth) else getattr(prepared, "sentence", "It answers at once and starts nothing.")


def _typed(found: Starts) -> str:
    return f"{found.command} {' '.join(f'{name}={value}' for name, value in found.arguments.items())}".strip()
