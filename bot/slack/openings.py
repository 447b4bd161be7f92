"""Opening a form while its trigger lives, which is three seconds, after everything that had to be committed is."""

import logging
from dataclasses import dataclass
from typing import Any, Final

from countersign.errors import CountersignError
from countersign.replies import Reply
from integrations.slack.errors import SlackError, SlackRefused

from .answers import answer_by_sender
from .connections import Connection
from .sources import Source

_log = logging.getLogger(__name__)
_OPENED_ALREADY: Final = ("exchanged_trigger_id", "trigger_exchanged")


@dataclass(frozen=True)
class Opening:
    """A form to open; when that fails, `instead` is answered under `key`, unless it is None."""

    trigger: str
    view: dict[str, Any]
    source: Source
    key: str
    instead: Reply | None = None


async def open_form(connection: Connection, opening: Opening) -> None:
    """Opens it; a trigger that was used shows that this request was delivered twice, so nothing is said then."""
    try:
        await connection.client.open_view(opening.trigger, opening.view)
    except SlackRefused as error:
        if error.code not in _OPENED_ALREADY:
            _log.warning("views.open: %s", error)
            await _instead(connection, opening)
    except SlackError as error:
        _log.warning("views.open: %s", error)
        await _instead(connection, opening)


async def _instead(connection: Connection, opening: Opening) -> None:
    if opening.instead is None:
        return
    try:
        await answer_by_sender(connection, opening.source, opening.instead, key=f"{opening.key} late")
    except CountersignError as error:
        _log.warning("a form was not opened, and its asker was not told: %s", error)
