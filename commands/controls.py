"""What a control is given, and how a door calls one: in its own transaction, once per request."""

from dataclasses import dataclass
from typing import Any

from countersign.errors import CountersignError
from countersign.invocations import Invocation
from countersign.replies import Reply
from store.audits import AuditEvent, record
from store.databases import WriteSession
from store.inbox import find_answer, keep_answer, take_key
from store.people import Person

from .rulebooks import Rulebook
from .submit import ControlCall


@dataclass(frozen=True)
class ControlContext:
    """The first parameter of every control."""

    session: WriteSession
    rulebook: Rulebook
    person: Person
    invocation: Invocation


async def call_control(session: WriteSession, rulebook: Rulebook, person: Person, invocation: Invocation, call: ControlCall) -> Reply:
    """Runs the control and records that it was asked; a repeated delivery gets the earlier answer and has no second effect."""
    if not await take_key(session, invocation.key):
        earlier = await find_answer(session, invocation.key)
        return Reply.stored(earlier) if earlier else Reply(text="This request was handled already.")
    context = ControlContext(session, rulebook, person, invocation)
    reply, refused = await _called(context, call)
    detail: dict[str, Any] = {
        "command": call.command.name,
        "arguments": dict(call.arguments),
        "door": invocation.door,
        "trace": invocation.trace,
        **({"refused": refused[:200]} if refused else {}),
    }
    await record(session, [AuditEvent("control:asked", person.name, None, detail)])
    kept = Reply(text="This was shown once and is kept nowhere; ask again.") if call.command.once else reply
    await keep_answer(session, invocation.key, kept.model_dump(mode="json"))
    return reply


async def _called(context: ControlContext, call: ControlCall) -> tuple[Reply, str]:
    """The reply, and what it says if the control was refused."""
    try:
        reply: Reply = await call.command.function(context, **call.values)
    except CountersignError as error:
        return Reply(text=str(error)), str(error)
    return reply, ""
