"""`POST /hooks/{id}`: verified, written down durably, answered; nothing else happens while the sender waits."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID

from nacl.public import PrivateKey
from starlette.types import Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from bot.bodies import Rejected
from bot.deadlines import answering
from bot.hubs import Hub
from bot.logs import new_trace
from bot.middlewares import FOR_PROGRAMS, REQUESTS, SECONDS
from bot.refusals import Refusals
from bot.writers import Writer, in_session, stop
from commands.policies import PolicyError
from countersign.errors import CountersignError
from countersign.invocations import Door as Doorway
from store import traces
from store.databases import WriteSession, open_engine
from store.hookdeliveries import Kept, NewDelivery, keep_deliveries
from store.secrets import Keys, Opener

from .denials import Denials
from .doors import Door, Doors
from .intakes import admit, proved, taken

_log = logging.getLogger(__name__)
PREFIX: Final = "/hooks/"
_ROUTE: Final = "/hooks/{id}"
_ANSWERED: Final = {
    status: REQUESTS.labels(method="POST", route=_ROUTE, status=str(status))
    for status in (200, 202, 400, 401, 405, 408, 409, 413, 415, 422, 500, 503)
}
_SECONDS: Final = SECONDS.labels(route=_ROUTE)
_SAID: Final = {
    400: ("bad_input", "The request cannot be read in one way only."),
    401: ("unauthorized", "Nothing shows that you may deliver here."),
    405: ("wrong_method", "Deliver with POST."),
    408: ("too_slow", "The body did not come in time."),
    409: ("repeated", "This was delivered before."),
    413: ("too_large", "The body may have at most 256 KiB."),
    415: ("wrong_content_type", "Send the body as application/json in UTF-8, without compression."),
    422: ("unmapped", ""),
    500: ("internal", "Something broke on our side; deliver it again later."),
    503: ("nothing_done", "It could not be written down; deliver it again later."),
}


class Hooks:
    """The ASGI application behind the path. Ids that there are not and proofs that are wrong get one answer, after the same work."""

    def __init__(self, hub: Hub, doors: Doors, writer: Writer[NewDelivery, Kept], denials: Denials, refusals: Refusals) -> None:
        self._hub, self._doors, self._writer = hub, doors, writer
        self._denials, self._refusals = denials, refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, trace = time.perf_counter(), new_trace()
        bind_contextvars(trace=trace)
        try:
            with answering(), traces.request(trace, f"POST {_ROUTE}"):
                status, body = await self._handled(scope, receive, trace)
                traces.tell(status=status)
        except (CountersignError, PolicyError) as error:
            _log.warning("a delivery could not be written down: %s", error)
            status, body = 503, _problem(503)
        except Exception:
            _log.exception("a delivery broke")
            status, body = 500, _problem(500)
        await _respond(send, status, body)
        _ANSWERED[status].inc()
        _SECONDS.observe(time.perf_counter() - began)

    async def _handled(self, scope: Scope, receive: Receive, trace: str) -> tuple[int, bytes]:
        if scope["method"] != "POST":
            return 405, _problem(405)
        door, known = await self._doors.find(_id_in(scope["path"]))
        try:
            headers, body = await admit(door, scope, receive)
            proof = proved(self._hub, door, scope, headers, body)
            if not known:
                raise Rejected(401, "webhook_denied")
        except Rejected as rejected:
            self._refuse(door, rejected, known=known)
            return rejected.status, _problem(rejected.status)
        one = await taken(self._hub, door, headers, body, proof, trace=trace)
        kept = await self._writer.add(one.delivery)
        if kept.reason in ("replayed", "repeated"):
            status = 409 if kept.reason == "replayed" else one.again
        else:
            status = one.status
        if status >= 400:
            self._refusals.count(door=Doorway.trigger, reason=kept.reason)
            return status, _problem(status, one.sentence if status == one.status else "")
        return status, _json({"delivery": str(kept.id), **one.told, **({"detail": one.sentence} if one.sentence else {})})

    def _refuse(self, door: Door, rejected: Rejected, *, known: bool) -> None:
        self._refusals.count(door=Doorway.trigger, reason=rejected.reason)
        if known:
            self._denials.count(door.row.id, rejected.reason)


@asynccontextmanager
async def open_hooks(hub: Hub, refusals: Refusals) -> AsyncIterator[Hooks]:
    """The door with its own writer running."""
    engine = open_engine(hub.settings.database_url, name="countersign-hooks", pool=1, door=True)
    writer = Writer(engine, in_session(_keep), doubt=lambda _: "Deliver it again.")
    denials = Denials(hub)
    tasks = [asyncio.create_task(one) for one in (writer.run(), denials.run())]
    try:
        yield Hooks(hub, Doors(hub, _opener(Keys(hub.settings.data_dir / "keys"))), writer, denials, refusals)
    finally:
        writer.close()
        for task in tasks:
            await stop(task, seconds=1 if task is tasks[0] else 0)
        await engine.dispose()


def _opener(keys: Keys) -> Opener:
    """A hub from before there were triggers goes on without the key, and proves nothing until it has one."""
    try:
        return keys.hook_opener()
    except FileNotFoundError:
        _log.error("%s is missing, so no delivery can be proved; run: countersign migrate", keys.folder / "hooks.private")
        return Opener(PrivateKey.generate())


async def _keep(session: WriteSession, deliveries: Sequence[NewDelivery]) -> list[Kept | CountersignError]:
    kept = await keep_deliveries(session, deliveries)
    return [kept[one.id] for one in deliveries]


def _id_in(path: str) -> UUID | None:
    try:
        return UUID(path.removeprefix(PREFIX))
    except ValueError:
        return None


def _problem(status: int, sentence: str = "") -> bytes:
    reason, usual = _SAID[status]
    return _json({"reason": reason, "detail": sentence or usual, "status": status})


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


async def _respond(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json"), *FOR_PROGRAMS]
    if status == 413:
        headers.append((b"connection", b"close"))
    if status == 503:
        headers.append((b"retry-after", b"5"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
