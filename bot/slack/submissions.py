"""Forms that were sent: the response itself says what became of them, or which answer is wrong, and keeps what was typed."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from bot.presses import Press
from commands.authorizing import Allowed, Request
from commands.submit import without_options
from countersign.errors import BadArgument, CountersignError, MissingArguments
from countersign.invocations import Door, Invocation
from countersign.replies import Form, Input, Reply
from integrations.slack.blocks import form_view
from integrations.slack.roundtrips import metadata, read_answers, read_metadata
from integrations.slack.texts import inert
from store.people import Person

from .answers import form_of, notice, whole
from .connections import Connection
from .identities import Stranger
from .openings import Opening
from .sources import Source, text_at

Json = dict[str, Any]
_LONGEST_PROBLEM: Final = 1_000
_LINE: Final = Form(
    title="Run a command",
    intent="say",
    target="",
    inputs=(Input(name="text", label="Command", hint="As you would type it behind /countersign, for instance: deploy api v2"),),
    submit_label="Ask for it",
)


@dataclass(frozen=True)
class Sent:
    """One sent form: who sent it, what it carried and its answers. `key` is its view's id and version.

    A form whose answers did not fit stays as it was, so sent again it has the same key; `again` is another one each time.
    """

    source: Source
    person: Person
    carried: Mapping[str, str]
    answers: Mapping[str, str]
    key: str
    again: str
    trace: str


def line_form(payload: Mapping[str, Any]) -> Opening:
    """For the message shortcut: a command about this message, whose run is told in its thread."""
    source = Source.of_interaction(payload)
    thread = text_at(payload, "message", "thread_ts") or text_at(payload, "message", "ts") or text_at(payload, "message_ts")
    view = form_view(_LINE, private_metadata=metadata(**replace(source, thread=thread).carried()), callback_id="line")
    trigger = text_at(payload, "trigger_id")
    return Opening(
        trigger, view, source, f"slack:{source.team}:{trigger}", Reply(text="Slack gives three seconds; use the shortcut again.")
    )


async def handle_submission(connection: Connection, payload: Mapping[str, Any], *, trace: str) -> Json:
    """The body of the response; empty closes the form."""
    view = payload.get("view")
    handler = _HANDLERS.get(text_at(payload, "view", "callback_id"))
    if handler is None or not isinstance(view, dict):
        return {}
    carried = read_metadata(view)
    actor = Source.of_interaction(payload)
    source = replace(
        actor,
        channel=carried.get("channel", ""),
        thread=carried.get("thread", ""),
        shared="shared" in carried,
        response_url=carried.get("response_url", ""),
    )
    key = f"slack:{source.team}:{text_at(view, 'id')}:{text_at(view, 'hash')}"
    try:
        person = await connection.identities.find(actor.user, claimed=actor.claimed, trace=trace)
        if isinstance(person, Stranger):
            return notice(Reply(text=person.sentence))
        return await handler(
            connection, Sent(source, person, carried, read_answers(view), key, f"{key}:{text_at(payload, 'trigger_id')}", trace)
        )
    except MissingArguments as error:
        return _complaint(view, "is required", about=error.names)
    except BadArgument as error:
        return _complaint(view, error.problem, about=(error.argument,))
    except CountersignError as error:
        return _complaint(view, str(error))


async def _form(connection: Connection, sent: Sent) -> Json:
    return await (_arguments if sent.carried.get("intent") == "submit" else _answers)(connection, sent)


async def _answers(connection: Connection, sent: Sent) -> Json:
    """A form that a button had opened: what it asked goes to the button's use case."""
    intent, target, digest = (sent.carried.get(name, "") for name in ("intent", "target", "digest"))
    press = Press(sent.again, intent, target, Door.slack, digest, answers=dict(sent.answers))
    reply = await connection.hub.press(sent.person, press)
    if reply.form is None:
        return notice(reply)
    names = tuple(reply.form.problems)
    if not names:
        return {"response_action": "update", "view": form_of(reply.form, sent.source)}
    raise BadArgument(names[0], reply.text.removeprefix(f"{names[0]}: ")) if len(names) == 1 else MissingArguments(names)


async def _arguments(connection: Connection, sent: Sent) -> Json:
    command = (await connection.hub.rulebook()).registry.find(sent.carried.get("target", ""))
    if command is None:
        return notice(Reply(text="This command does not exist any more."))
    offer = (await connection.hub.rulebook()).offer(sent.person, command, Request(command.permission, Door.slack, sent.source.place))
    if isinstance(offer, Allowed):
        command.schema.validate(without_options(sent.answers))
    invocation = Invocation(
        key=sent.key,
        door=Door.slack,
        place=sent.source.place,
        command=command.name,
        arguments=dict(sent.answers),
        answer_to=sent.source.response_url,
        trace=sent.trace,
    )
    return notice(whole(await connection.hub.submit(sent.person, invocation)))


async def _line(connection: Connection, sent: Sent) -> Json:
    invocation = Invocation(
        key=sent.key,
        door=Door.slack,
        place=sent.source.place,
        text=sent.answers.get("text", "help"),
        answer_to=sent.source.response_url,
        trace=sent.trace,
    )
    reply = whole(await connection.hub.submit(sent.person, invocation))
    if reply.form is not None:
        return {"response_action": "update", "view": form_of(reply.form, sent.source)}
    return notice(reply)


async def _reason(connection: Connection, sent: Sent) -> Json:
    intent, target, digest = (sent.carried.get(name, "") for name in ("intent", "target", "digest"))
    return notice(
        await connection.hub.press(sent.person, Press(sent.key, intent, target, Door.slack, digest, sent.answers.get("reason", "")))
    )


def _complaint(view: Mapping[str, Any], problem: str, *, about: tuple[str, ...] = ()) -> Json:
    """At the answers it is about, else at the first one; what was typed stays."""
    blocks = view.get("blocks")
    inputs = [text_at(one, "block_id") for one in blocks if text_at(one, "type") == "input"] if isinstance(blocks, list) else []
    named = [name for name in about if name in inputs] or inputs[:1]
    if not named:
        return notice(Reply(text=problem))
    return {"response_action": "errors", "errors": dict.fromkeys(named, inert(problem, _LONGEST_PROBLEM))}


Handler = Callable[[Connection, Sent], Awaitable[Json]]
_HANDLERS: Final[dict[str, Handler]] = {"form": _form, "line": _line, "reason": _reason}
