"""Slack says that an account was deactivated: a worker is told to ask Slack itself, because this word alone proves nothing."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

from store.databases import WriteSession
from store.directories import HINT, add_word

from .connections import Connection
from .parsers import Json

_LONGEST: Final = 40


async def handle_user_change(connection: Connection, body: Json) -> None:
    """Leaves word for the workers; every other change of an account is none of ours. Raises NothingDone or NotConfirmed."""
    event = body.get("event")
    user: Mapping[str, Any] = event.get("user") or {} if isinstance(event, dict) else {}
    name = user.get("id") if isinstance(user, dict) else None
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST or user.get("deleted") is not True:
        return

    async def tell(session: WriteSession) -> None:
        await add_word(session, HINT, uuid4(), {"source": "slack", "user": name}, version=1, token=b"")

    await connection.hub.committed(tell)
