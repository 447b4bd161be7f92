"""audit export: the record as JSON Lines, newest first."""

import json
from contextlib import closing
from typing import Annotated

import typer

from .clients import Client
from .identities import identify
from .options import As

PAGE = 200


def export(
    *,
    kind: Annotated[str | None, typer.Option(help="Only events of this kind, for instance run:approved.")] = None,
    actor: Annotated[str | None, typer.Option(help="Only what this person did.")] = None,
    run: Annotated[str | None, typer.Option(help="Only events of the run with this id.")] = None,
    as_person: As = "",
) -> None:
    """Print the record as JSON Lines, newest first; this takes the permission countersign:audit and is itself recorded."""
    with closing(Client(identify(as_person))) as client:
        cursor = None
        while True:
            page = client.get("/audit", kind=kind, actor=actor, run=run, limit=PAGE, cursor=cursor)
            for event in page["items"]:
                print(json.dumps(event, ensure_ascii=False))
            cursor = page["next"]
            if not cursor:
                return
