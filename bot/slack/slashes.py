"""Slash commands, the hot path: parsed once, straight to the hub, answered in the response itself."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from bot.deadlines import answering
from commands.linking import code_in
from countersign.errors import CountersignError
from countersign.invocations import Door, Invocation
from store.people import Person

from .answers import form_of, said, shown_at_once, whole
from .connections import Connection
from .identities import Stranger
from .openings import Opening, open_form
from .sources import Source
from .words import command_text

_log = logging.getLogger(__name__)
EVERY_COMMAND: Final = ("/countersign", "/cs")
_BROKEN: Final = "Something broke on our side; the log says what. Look at /countersign runs before you ask again."


async def handle_slash(connection: Connection, form: Mapping[str, Any], *, trace: str) -> dict[str, Any]:
    """The body of the response, within the door's deadline; whatever it says was done is committed."""
    source = Source.of_slash(form)
    try:
        with answering():
            if code := code_in(_typed(form)):
                return said(await connection.identities.prove(source.user, code, claimed=source.claimed, trace=trace))
            person = await connection.identities.find(source.user, claimed=source.claimed, trace=trace)
            if isinstance(person, Stranger):
                return said(person.sentence)
            return await _submitted(connection, form, source, person, trace)
    except CountersignError as error:
        return said(str(error))
    except Exception:
        _log.exception("a slash command broke")
        return said(_BROKEN)


async def _submitted(connection: Connection, form: Mapping[str, Any], source: Source, person: Person, trace: str) -> dict[str, Any]:
    key, trigger = f"slack:{source.team}:{form['trigger_id']}", str(form["trigger_id"])
    invocation = Invocation(
        key=key,
        door=Door.slack,
        place=source.place,
        text=await command_text(_typed(form), connection.identities),
        answer_to=source.response_url,
        trace=trace,
    )
    reply = whole(await connection.hub.submit(person, invocation))
    if reply.form is not None:
        # The answer has a button that opens the form again, so nothing more is said when the trigger is over.
        connection.tasks.later(open_form(connection, Opening(trigger, form_of(reply.form, source), source, key)))
    return shown_at_once(reply)


def _typed(form: Mapping[str, Any]) -> str:
    """The line as it would be typed behind /countersign, for which nothing means help."""
    command, text = str(form["command"]), str(form.get("text", ""))
    if command not in EVERY_COMMAND:
        return f"{command.removeprefix('/')} {text}"
    return text if text.strip() else "help"
