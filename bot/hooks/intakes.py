"""From a request to a delivery that may be kept: admitted, proved, read and mapped, in this order; or the status that says why not."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any, Final
from uuid import UUID

from starlette.types import Receive, Scope

from bot.bodies import Rejected, read_body, single_headers
from bot.hubs import Hub
from bot.slack.parsers import BadInput, read_json
from commands.mappings import Unmapped
from commands.triggering import Kind, Nothing, Sender, read_alerts, read_delivery
from store.hookdeliveries import Key, NewDelivery

from .doors import Door
from .proofs import WINDOW_SECONDS, Headers, Proof, prove

JSON_TYPES: Final = (b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8")
DOUBLE_SECONDS: Final = 300
LONGEST_NAME: Final = 200


@dataclass(frozen=True)
class Taken:
    """A delivery to keep, and the answer once it is kept; `again` is the answer where its sender sends it anew."""

    delivery: NewDelivery
    status: int
    sentence: str = ""
    again: int = 409
    told: Mapping[str, Any] = field(default_factory=dict)


async def admit(door: Door, scope: Scope, receive: Receive) -> tuple[Headers, bytes]:
    """Headers and body of what may be a delivery; raises Rejected before anything of the body is looked at."""
    headers = single_headers(scope, door.headers)
    if headers.get(b"content-type", b"").lower() not in JSON_TYPES or headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Rejected(415, "content_type")
    return headers, await read_body(headers.get(b"content-length", b""), receive)


def proved(hub: Hub, door: Door, scope: Scope, headers: Headers, body: bytes) -> Proof:
    """The proof; raises Rejected 401, as slowly as it would find one."""
    options = replace(door.options, behind_proxy=door.sender is Sender.certificate and _is_believed(hub, scope))
    now = time.time()
    proof = prove(door.sender, door.secrets(datetime.fromtimestamp(now, UTC)), headers, body, now=now, options=options)
    if proof is None:
        raise Rejected(401, "webhook_denied")
    return proof


async def taken(hub: Hub, door: Door, headers: Headers, body: bytes, proof: Proof, *, trace: str) -> Taken:
    """What a proved delivery is kept as; it is kept whatever it is, so that somebody can see it."""
    trigger: UUID = door.row.id
    try:
        payload = read_json(body)
    except BadInput:
        sentence = "The body is not a JSON object that can be read in one way only, at most 32 levels deep."
        return Taken(NewDelivery(trigger, None, len(body), "rejected", "bad_input", sentence, trace=trace), 400, sentence)
    delivery, event = _named(door, headers, payload)
    kept = NewDelivery(
        trigger, body.decode(), len(body), delivery=delivery, event=event, trace=trace, keys=tuple(_keys(door, proof, delivery, body))
    )
    if door.kind is not Kind.command:
        return _alerts(door, kept, payload)
    found = read_delivery((await hub.rulebook()).registry, door.row, payload, event)
    again = 200 if proof.timed else 409
    if not isinstance(found, Nothing):
        return Taken(kept, 202, again=again)
    if found.reason == "filtered":
        return Taken(replace(kept, state="filtered", reason=found.reason, said=found.sentence), 202, found.sentence, again=again)
    return Taken(replace(kept, state="rejected", reason=found.reason, said=found.sentence[:500]), 422, found.sentence, again=again)


def _alerts(door: Door, kept: NewDelivery, payload: dict[str, Any]) -> Taken:
    """Alerts may come as often as their source likes: what was told before changes nothing. A routing key is a secret, and not kept."""
    if "routing_key" in payload:
        kept = replace(kept, body=json.dumps({name: one for name, one in payload.items() if name != "routing_key"}, ensure_ascii=False))
    try:
        read_alerts(door.row, payload, delivery=str(kept.id), at=datetime.now(UTC))
    except Unmapped as error:
        return Taken(replace(kept, state="rejected", reason="unmapped", said=str(error)[:500]), 422, str(error), again=200)
    told = {"status": "success", "message": "Event processed", "dedup_key": payload.get("dedup_key") or str(kept.id)}
    return Taken(kept, 202, again=200, told=told if door.kind is Kind.pagerduty else {})


def _named(door: Door, headers: Headers, payload: dict[str, Any]) -> tuple[str, str]:
    """What the sender calls this delivery, and what it is about."""
    if door.sender is Sender.stripe:
        return _text(payload.get("id")), _text(payload.get("type"))
    return tuple(_text(headers.get(name, b"").decode("latin-1")) for name in (door.delivery_header, door.event_header))  # type: ignore[return-value]


def _keys(door: Door, proof: Proof, delivery: str, body: bytes) -> Sequence[Key]:
    """What was signed counts once as long as it could be sent again; whoever shows a secret each time sends anew each time."""
    start = f"hook:{door.row.id}"
    named = [Key(f"{start}:d:{hashlib.sha256(delivery.encode()).hexdigest()}", replay=False)] if delivery else []
    if door.kind is not Kind.command and not proof.signed:
        return ()
    if proof.signed:
        window = 2 * WINDOW_SECONDS if proof.timed else 0
        return [*named, Key(f"{start}:s:{hashlib.sha256(proof.signed).hexdigest()}", replay=True, window=window)]
    return named or [Key(f"{start}:b:{hashlib.sha256(body).hexdigest()}", replay=True, window=DOUBLE_SECONDS)]


def _is_believed(hub: Hub, scope: Scope) -> bool:
    """Whether the connection comes from a proxy that the settings name."""
    try:
        peer = ip_address((scope.get("client") or ("",))[0])
    except ValueError:
        return False
    return any(peer in one for one in hub.settings.proxies)


def _text(value: Any) -> str:
    return "".join(one for one in value if one.isprintable())[:LONGEST_NAME] if isinstance(value, str) else ""
