"""policy explain and policy apply: both are commands of the hub, decided and recorded there."""

import json
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from .asking import ENDED_BADLY, settled
from .cards import card_lines, is_coloured, reply_lines
from .clients import Client, new_key
from .endings import Failed, WrongCall
from .files import read_text
from .identities import identify
from .options import As, Json, Reason

MOST_CHARACTERS = 200_000


def explain(
    person: Annotated[str, typer.Argument(metavar="PERSON")],
    command: Annotated[str, typer.Argument(metavar="'COMMAND …'")],
    *,
    as_json: Json = False,
    as_person: As = "",
) -> None:
    """Say whether PERSON may run COMMAND, who would have to approve it, and which rule says so."""
    with closing(Client(identify(as_person))) as client:
        answer = client.post("/runs", {"command": "policy explain", "arguments": {"person": person, "command": command}})
    print(json.dumps(answer, ensure_ascii=False) if as_json else "\n".join(reply_lines(answer["reply"], colour=is_coloured())))


def apply(
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    *,
    reason: Reason = "",
    as_json: Json = False,
    as_person: As = "",
) -> None:
    """Ask for a policy to be put in force; somebody else has to approve the difference."""
    text = read_text(file)
    if not text.strip() or len(text) > MOST_CHARACTERS:
        raise WrongCall(f"{file} should be a policy of at most {MOST_CHARACTERS:,} characters.")
    with closing(Client(identify(as_person))) as client:
        body = {"command": "policy apply", "arguments": {"text": text}, "reason": reason, "idempotency_key": new_key()}
        found = settled(client, client.post("/runs", body), seconds=30)
    print(json.dumps(found, ensure_ascii=False) if as_json else "\n".join(card_lines(found["card"], colour=is_coloured())))
    if found["status"] in ENDED_BADLY:
        raise Failed(f"#{found['number']} {found['status'].replace('_', ' ')}{': ' if found['outcome'] else ''}{found['outcome']}")
