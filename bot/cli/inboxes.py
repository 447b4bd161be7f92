"""inbox: what waits for whoever asks."""

import json
from contextlib import closing
from typing import Annotated

import typer

from .cards import inert, run_line
from .clients import Client
from .identities import identify
from .options import As, Json


def inbox(
    *,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most this many.")] = 20,
    as_json: Json = False,
    as_person: As = "",
) -> None:
    """List what waits for your decision, the most urgent first."""
    with closing(Client(identify(as_person))) as client:
        found = client.get("/inbox", limit=limit)
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
        return
    lines = [f"{run_line(one)}{_until(one['expires_at'], one['on_behalf'])}" for one in found["items"]]
    lines += [f"{run_line(one)}  (to be reviewed)" for one in found["reviews"]]
    lines += [inert(f"#{one['number']} {one['title']}{_due(one['due_at'])}: task answer {one['number']} …") for one in found["tasks"]]
    print("\n".join(lines) or "Nothing waits for you.")
    if found["next"]:
        print(f"These are the first {limit}; there is more.")


def _until(expires_at: str, on_behalf: str) -> str:
    return inert(f"  (until {expires_at[:16].replace('T', ' ')} UTC{f', in the place of {on_behalf}' if on_behalf else ''})")


def _due(at: str | None) -> str:
    return f"  (due {at[:16].replace('T', ' ')} UTC)" if at else ""
