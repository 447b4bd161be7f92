"""The files of a run: what there is, and each of them."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response

from countersign.invocations import Door
from store.artifacts import ArtifactRow, find_artifacts
from store.databases import ReadSession
from store.runs import RunRow

from .callers import READ, Caller, caller_with
from .downloads import download
from .stories import read_visible

router = APIRouter(prefix="/runs", tags=["runs"])
Reader = Annotated[Caller, Depends(caller_with(READ))]


@router.get("/{reference}/artifacts")
async def listing(caller: Reader, reference: str) -> dict[str, Any]:
    """The files that the steps of a run left, by name; `sha256` is of their bytes."""

    async def find(session: ReadSession, run: RunRow) -> dict[str, Any]:
        return {"items": [_as_json(one) for one in await find_artifacts(session, run.id)]}

    return await read_visible(caller.hub, caller.person, reference, find, door=Door.api, trace=caller.trace)


@router.get("/{reference}/artifacts/{name}", response_class=Response, responses={200: {"content": {"application/octet-stream": {}}}})
async def fetch(caller: Reader, reference: str, name: str) -> Response:
    """One file, as an attachment of the type it was kept with."""
    return await download(caller.hub, caller.person, reference, name, door=Door.api, trace=caller.trace)


def _as_json(one: ArtifactRow) -> dict[str, Any]:
    return {
        "name": one.name,
        "content_type": one.content_type,
        "size": one.size,
        "sha256": one.sha256,
        "step": one.position,
        "at": one.at.isoformat(),
    }
