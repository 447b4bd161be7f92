"""logs: what the steps of a run said, and what they say."""

import json
import time
from contextlib import closing
from typing import Annotated, Any, Final

import httpx
import typer

from .asking import ENDED_BADLY, path_of
from .cards import inert
from .clients import Client
from .endings import Failed
from .identities import identify
from .options import As, Json, Run

_AGAIN_SECONDS: Final = 1.0


def logs(
    run_reference: Run,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended; exit 1 when it ends badly.")] = False,
    last: Annotated[int, typer.Option("--last", "-n", min=1, max=200, help="Begin with this many of the last lines.")] = 200,
    as_json: Json = False,
    as_person: As = "",
) -> None:
    """Show the log of a run."""
    with closing(Client(identify(as_person))) as client:
        path = path_of(run_reference)
        found = client.get(f"{path}/log", limit=last)
        for one in found["items"]:
            _print(one, as_json=as_json)
        if follow:
            _follow(client, path, after=found["next"], as_json=as_json)


def _follow(client: Client, path: str, *, after: int, as_json: bool) -> None:
    """Connects again where it left off whenever the stream breaks."""
    while True:
        try:
            for name, data in client.events(f"{path}/log/events", after=after):
                told = json.loads(data)
                if name == "end":
                    return _end(told)
                after = told["n"]
                _print(told, as_json=as_json)
        except (httpx.HTTPError, ValueError):
            pass
        time.sleep(_AGAIN_SECONDS)


def _end(told: dict[str, Any]) -> None:
    if told["status"] in ENDED_BADLY:
        raise Failed(f"{told['status'].replace('_', ' ')}{': ' if told['outcome'] else ''}{told['outcome']}")


def _print(one: dict[str, Any], *, as_json: bool) -> None:
    print(json.dumps(one, ensure_ascii=False) if as_json else inert(one["line"]), flush=True)
