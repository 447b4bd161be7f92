"""promises: what the hub measures of its own promises."""

import json
from contextlib import closing

from .cards import is_coloured, reply_lines
from .clients import Client, new_key
from .endings import Failed
from .identities import identify
from .options import As, Json


def promises(*, as_json: Json = False, as_person: As = "") -> None:
    """Show what was lost, done twice or is late; exit 1 when something is. This takes the permission countersign:audit."""
    with closing(Client(identify(as_person))) as client:
        reply = client.post("/runs", {"command": "promises", "arguments": {}, "idempotency_key": new_key()})["reply"]
    data = reply.get("data") or {}
    if not data:
        raise Failed(reply["text"])
    print(json.dumps(data, ensure_ascii=False) if as_json else "\n".join(reply_lines(reply, colour=is_coloured())))
    if not data["kept"]:
        raise Failed("A promise is not kept.")
