"""schedules: what service accounts ask for by the clock. They change through `countersign run 'schedule add …'` and the like."""

import json
import re
from collections.abc import Mapping
from contextlib import closing
from typing import Annotated, Any

import typer

from .cards import inert
from .clients import Client
from .endings import WrongCall
from .identities import identify
from .options import As, Json


def schedules(
    name: Annotated[str, typer.Argument(help="One of them, with its next and its last slots.")] = "",
    *,
    coming: Annotated[bool, typer.Option("--coming", help="What is due next, of all of them, in order.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=200, help="With --coming: at most this many.")] = 20,
    as_json: Json = False,
    as_person: As = "",
) -> None:
    """List the schedules and when each is due next. To change them: countersign run 'schedule add …'."""
    if name and (coming or not re.fullmatch(r"[a-z0-9-]{1,40}", name)):
        raise WrongCall(f"{name!r} is no schedule's name." if not coming else "Give a name or --coming, not both.")
    with closing(Client(identify(as_person))) as client:
        found = client.get(f"/schedules/{name}") if name else client.get("/coming", limit=limit) if coming else client.get("/schedules")
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
        return
    lines = _one(found) if name else [_due(one) if coming else _line(one) for one in found["items"]]
    print("\n".join(map(inert, lines)) or "There is no schedule.")


def _line(one: Mapping[str, Any]) -> str:
    return f"{one['name']:<24}{one['when']:<20}{_asked(one)[:44]:<46}{_state(one)}"


def _due(one: Mapping[str, Any]) -> str:
    return f"{_time(one['at'])}  {one['schedule']:<24}{_asked(one)}"


def _one(one: Mapping[str, Any]) -> list[str]:
    head = [
        f"{one['name']}: {_asked(one)}, {one['when']} ({one['zone']})",
        f"as {one['account']}; {one['owner']} answers for it; {_state(one)}",
        f"overlap {one['overlap']}, catch-up {one['catch_up']}, pauses after {one['pause_after'] or 'never'}",
    ]
    slots = [
        f"  {_time(each['at'])}  {each['state']}{_run(each)}{': ' + each['because'] if each['because'] else ''}" for each in one["slots"]
    ]
    return [*head, "due next:", *(f"  {_time(at)}" for at in one["coming"]), "the last slots:", *slots]


def _asked(one: Mapping[str, Any]) -> str:
    if one["arguments"] is None:
        return f"{one['command']} …"
    return " ".join([one["command"], *(f"{key}={value}" for key, value in one["arguments"].items())])


def _state(one: Mapping[str, Any]) -> str:
    if one["paused"]:
        return f"paused by {one['paused']['by']}: {one['paused']['because']}".removesuffix(": ")
    return f"next {_time(one['next_at'])}" if one["next_at"] else "never due again"


def _run(slot: Mapping[str, Any]) -> str:
    return f" #{slot['run']['number']} {slot['run']['status']}" if slot["run"] else ""


def _time(moment: str) -> str:
    return f"{moment[:16].replace('T', ' ')} UTC"
