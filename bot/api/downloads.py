"""A file of a run on its way to whoever may see the run: never shown by a browser as a page of ours."""

import logging
from typing import Final

from starlette.responses import Response, StreamingResponse

from bot.hubs import Hub
from countersign.invocations import Door
from store.artifacts import ArtifactRow, find_artifact
from store.databases import ReadSession
from store.objects import NoSuchObject, Object, ObjectsAway
from store.people import Person
from store.runs import RunRow

from .problems import Problem
from .stories import read_visible

_log: Final = logging.getLogger(__name__)
NO_SUCH_FILE: Final = "This run has no such file."


async def download(hub: Hub, person: Person, reference: str, name: str, *, door: Door, trace: str) -> Response:
    """The file as it was kept. Raises Problem: 404 for what is not there or may not be seen, 503 when it cannot be fetched."""

    async def find(session: ReadSession, run: RunRow) -> ArtifactRow | None:
        return await find_artifact(session, run.id, name)

    row = await read_visible(hub, person, reference, find, door=door, trace=trace)
    if row is None:
        raise Problem(404, "no_such_file", NO_SUCH_FILE)
    found = await _opened(hub, row)
    return StreamingResponse(found.chunks, media_type=row.content_type, headers=_headers(row))


async def _opened(hub: Hub, row: ArtifactRow) -> Object:
    try:
        found = await hub.objects.get(row.key)
    except NoSuchObject:
        _log.error("the bytes of artifact %s are not where they were put", row.key)
        raise Problem(404, "no_such_file", "The file is not there any more.") from None
    except ObjectsAway as error:
        _log.error("artifact %s cannot be fetched: %s", row.key, error)
        raise Problem(503, "files_away", "The place of files cannot be reached now.", headers={"retry-after": "5"}) from None
    if found.size != row.size:
        _log.error("artifact %s has %s bytes and had %s when it was put", row.key, found.size, row.size)
        raise Problem(503, "files_away", "The file is not whole.")
    return found


def _headers(row: ArtifactRow) -> dict[str, str]:
    """No letter of a name needs quoting. Whatever is in the file, it is saved and not shown, and could do nothing if it were."""
    return {
        "content-disposition": f'attachment; filename="{row.name}"',
        "content-length": str(row.size),
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
        "etag": f'"{row.sha256}"',
        "x-accel-buffering": "no",
    }
