"""edit, withdraw, takeback, handover, comment, ask and answer, for people and for scripts."""

import json
from collections.abc import Mapping
from contextlib import closing
from typing import Annotated, Any

import typer

from .asking import path_of
from .clients import Client
from .endings import WrongCall
from .identities import identify
from .options import As, Digest, Json, Reason, Run

Changes = Annotated[list[str], typer.Argument(metavar="NAME=VALUE …", help="What is to be different; nothing behind = means the default.")]
Words = Annotated[str, typer.Argument(metavar="TEXT", help="Your words, in quotes.")]


def edit(run_reference: Run, changes: Changes, *, digest: Digest = "", as_json: Json = False, as_person: As = "") -> None:
    """Change what a run asks for before it is carried out; it is planned again, and earlier votes are void."""
    arguments: dict[str, str | None] = {}
    for one in changes:
        name, given, value = one.removeprefix("--").partition("=")
        if not given or not name:
            raise WrongCall(f"{one!r} changes nothing: write name=value, for instance env=prod.")
        arguments[name.replace("-", "_")] = value or None
    _post(run_reference, "edits", {"arguments": arguments, "digest": digest}, as_json=as_json, as_person=as_person)


def withdraw(run_reference: Run, *, reason: Reason = "", as_json: Json = False, as_person: As = "") -> None:
    """Take your own request back, as long as nothing is carried out."""
    _post(run_reference, "withdraw", {"reason": reason}, as_json=as_json, as_person=as_person)


def takeback(run_reference: Run, *, reason: Reason = "", as_json: Json = False, as_person: As = "") -> None:
    """Take your own approval of a run back, as long as nothing is carried out."""
    _post(run_reference, "takeback", {"reason": reason}, as_json=as_json, as_person=as_person)


def handover(
    run_reference: Run,
    person: Annotated[str, typer.Argument(metavar="PERSON", help="Who is to hold it from now on.")],
    *,
    as_json: Json = False,
    as_person: As = "",
) -> None:
    """Hand your request over to somebody, who may then change, answer and cancel it."""
    _post(run_reference, "handover", {"person": person}, as_json=as_json, as_person=as_person)


def comment(run_reference: Run, text: Words, *, as_json: Json = False, as_person: As = "") -> None:
    """Say something about a run; it stands under every card of it."""
    _post(run_reference, "comments", {"text": text}, as_json=as_json, as_person=as_person)


def ask(run_reference: Run, question: Words, *, as_json: Json = False, as_person: As = "") -> None:
    """Ask whoever asked for a run something before you decide."""
    _post(run_reference, "questions", {"text": question}, as_json=as_json, as_person=as_person)


def answer(run_reference: Run, text: Words, *, as_json: Json = False, as_person: As = "") -> None:
    """Answer the first question about your run that nobody has answered."""
    _post(run_reference, "answers", {"text": text}, as_json=as_json, as_person=as_person)


def _post(reference: str, what: str, body: Mapping[str, Any], *, as_json: bool, as_person: str) -> None:
    with closing(Client(identify(as_person))) as client:
        found = client.post(f"{path_of(reference)}/{what}", body)
    print(json.dumps(found, ensure_ascii=False) if as_json else found["sentence"])
