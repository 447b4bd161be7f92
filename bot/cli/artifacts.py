"""artifacts: the files that the steps of a run left."""

import hashlib
import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from .asking import path_of
from .cards import inert
from .clients import Client
from .endings import Failed, WrongCall
from .identities import identify
from .options import As, Json, Run

_STDOUT: Final = "-"
Name = Annotated[str, typer.Argument(metavar="[NAME]", help="The file to fetch; without it they are listed.")]
Output = Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Where to write it, - for standard output; else its own name.")]


def artifacts(run_reference: Run, name: Name = "", *, output: Output = "", as_json: Json = False, as_person: As = "") -> None:
    """List the files of a run, or fetch one."""
    with closing(Client(identify(as_person))) as client:
        path = f"{path_of(run_reference)}/artifacts"
        items = client.get(path)["items"]
        if not name:
            _list(items, as_json=as_json)
            return
        found = next((one for one in items if one["name"] == name), None)
        if found is None:
            raise Failed(f"The run has no file {name}; it has {', '.join(one['name'] for one in items) or 'none'}.")
        _write(client.fetch(f"{path}/{quote(name, safe='')}"), found, output)


def _list(items: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(items, ensure_ascii=False))
        return
    wide = max((len(one["name"]) for one in items), default=0)
    for one in items:
        print(inert(f"{one['name']:<{wide}}  {one['size']:>10,}  {one['content_type']}"))


def _write(content: bytes, found: dict[str, Any], output: str) -> None:
    """Checked against what the hub says of it; a file that is there is never written over unless it was named."""
    if hashlib.sha256(content).hexdigest() != found["sha256"]:
        raise Failed(f"{found['name']} did not arrive as it was kept; fetch it again.")
    if output == _STDOUT:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    target = Path(output or found["name"])
    try:
        with target.open("wb" if output else "xb") as file:
            file.write(content)
    except FileExistsError:
        raise WrongCall(f"{target} is there already; say with -o where to write it.") from None
    except OSError as error:
        raise WrongCall(f"{target} cannot be written: {(error.strerror or type(error).__name__).lower()}.") from None
    print(f"{target}: {len(content):,} bytes")
