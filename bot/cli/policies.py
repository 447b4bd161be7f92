"""policy explain, diff, suggest and apply: all are commands of the hub, decided and recorded there."""

import json
import shlex
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from .asking import ENDED_BADLY, settled
from .cards import card_lines, is_coloured, reply_lines
from .clients import Client, new_key
from .endings import Failed, WrongCall
from .files import read_text
from .identities import identify
from .options import As, Json, Reason

MOST_CHARACTERS: Final = 200_000
EVERYBODY: Final = "everybody"
EVERYTHING: Final = "everything"
_WAIT_SECONDS: Final = 90


def explain(
    person: Annotated[str, typer.Argument(metavar="PERSON", help=f"Whose right; `{EVERYBODY}` for all.")],
    command: Annotated[str, typer.Argument(metavar="'COMMAND …'", help=f"As typed in chat; `{EVERYTHING}` for all.")],
    *,
    door: Annotated[str, typer.Option(help="Through which door it would be asked, such as slack or api.")] = "",
    channel: Annotated[str, typer.Option(help="In which channel it would be asked.")] = "",
    at: Annotated[str, typer.Option(metavar="TIME", help="When it would be asked: 22:00 or 'fri 9:00 Europe/Berlin'.")] = "",
    reason: Reason = "",
    as_json: Json = False,
    as_person: As = "",
) -> None:
    """Say whether PERSON may run COMMAND, who would have to approve it, which rule says so, and what would have to change."""
    if EVERYBODY in (person, command) or command == EVERYTHING:
        arguments = {"people": None if person == EVERYBODY else [person], "what": None if command == EVERYTHING else [command]}
        _answered("policy matrix", arguments, as_json=as_json, as_person=as_person)
        return
    given = {"door": door, "channel": channel, "at": at, "reason": reason}
    words = [command, *(f"--{name} {shlex.quote(value)}" for name, value in given.items() if value)]
    with closing(Client(identify(as_person))) as client:
        body = {"command": "policy explain", "arguments": {"person": person, "command": " ".join(words)}}
        answer = client.post("/runs", body)
    _print(answer, as_json=as_json)


def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="The policy as it was; `-` for the one in force.")],
    new: Annotated[Path, typer.Argument(metavar="NEW")],
    *,
    days: Annotated[int, typer.Option(min=1, max=365, help="How far back.")] = 30,
    as_json: Json = False,
    as_person: As = "",
) -> None:
    """Show what was asked in the last days and would be decided differently."""
    texts = {"old": "" if str(old) == "-" else _policy(old), "new": _policy(new)}
    _answered("policy diff", {**texts, "days": days}, as_json=as_json, as_person=as_person)


def suggest(
    *,
    days: Annotated[int, typer.Option(min=1, max=365, help="How far back.")] = 90,
    as_json: Json = False,
    as_person: As = "",
) -> None:
    """Show gates that were asked often and never refused, and roles that nobody used."""
    _answered("policy suggest", {"days": days}, as_json=as_json, as_person=as_person)


def apply(
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    *,
    reason: Reason = "",
    as_json: Json = False,
    as_person: As = "",
) -> None:
    """Ask for a policy to be put in force; somebody else has to approve the difference."""
    with closing(Client(identify(as_person))) as client:
        body = {"command": "policy apply", "arguments": {"text": _policy(file)}, "reason": reason, "idempotency_key": new_key()}
        found = settled(client, client.post("/runs", body), seconds=30)
    print(json.dumps(found, ensure_ascii=False) if as_json else "\n".join(card_lines(found["card"], colour=is_coloured())))
    if found["status"] in ENDED_BADLY:
        raise Failed(f"#{found['number']} {found['status'].replace('_', ' ')}{': ' if found['outcome'] else ''}{found['outcome']}")


def _answered(command: str, arguments: Mapping[str, Any], *, as_json: bool, as_person: str) -> None:
    """Asks a worker and prints its answer."""
    given = {name: value for name, value in arguments.items() if value not in (None, "")}
    with closing(Client(identify(as_person))) as client:
        body = {"command": command, "arguments": given, "idempotency_key": new_key()}
        found = settled(client, client.post("/runs", body), seconds=_WAIT_SECONDS)
    if found["status"] != "answered":
        raise Failed(f"#{found['number']} {found['status'].replace('_', ' ')}{': ' if found['outcome'] else ''}{found['outcome']}")
    _print({"reply": found["result"], "run": found["number"]}, as_json=as_json)


def _print(answer: Mapping[str, Any], *, as_json: bool) -> None:
    print(json.dumps(answer, ensure_ascii=False) if as_json else "\n".join(reply_lines(answer["reply"], colour=is_coloured())))


def _policy(file: Path) -> str:
    text = read_text(file)
    if not text.strip() or len(text) > MOST_CHARACTERS:
        raise WrongCall(f"{file} should be a policy of at most {MOST_CHARACTERS:,} characters.")
    return text
