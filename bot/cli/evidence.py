"""evidence: one run's record in one file, which a program of its own checks without the hub."""

import json
from contextlib import closing
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from .clients import Client
from .endings import Failed
from .identities import identify
from .options import As, Run


def evidence(
    run: Run,
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file, which must not be there.")] = None,
    as_person: As = "",
) -> None:
    """Write a run's events with their proofs, blocks, keys, policies and plan as one JSON file; this takes countersign:audit.

    Check it anywhere: python store/verify_evidence.py FILE --public-key audit.pub --anchors audit.jsonl
    """
    with closing(Client(identify(as_person))) as client:
        found = json.dumps(client.get(f"/audit/evidence/{quote(run, safe='')}"), ensure_ascii=False, indent=1)
    if output is None:
        print(found)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(found + "\n")
    except OSError as error:
        raise Failed(f"{output} cannot be written: {error.strerror}.") from None
