"""App Home: what waits for me, and my runs."""

import logging
from typing import Any, Final

from commands.authorizing import INACTIVE
from commands.inboxes import card_of_waiting, reviews_for, waiting_for
from commands.rulebooks import Rulebook
from commands.stories import tell_all
from commands.taskcards import card_of_task
from commands.tasks import tasks_for
from countersign.errors import CountersignError
from countersign.invocations import Door
from countersign.replies import Card
from integrations.slack.blocks import home_view
from integrations.slack.errors import SlackError
from store.audits import AuditEvent
from store.databases import ReadSession
from store.listings import Wanted, find_listed
from store.people import Person

from .connections import Connection
from .identities import Stranger
from .sources import Source

_log = logging.getLogger(__name__)
MOST_RUNS: Final = 12


async def publish_home(connection: Connection, source: Source, *, trace: str, again: bool = False) -> None:
    """Publishes the person's App Home as it is now; a failure is logged, because opening it again shows it.

    `again` means that something was pressed there, so that a refusal is recorded already.
    """
    try:
        await connection.client.publish_home(source.user, await _view(connection, source, trace, again=again))
    except SlackError as error:
        _log.warning("views.publish: %s", error)


async def _view(connection: Connection, source: Source, trace: str, *, again: bool) -> dict[str, Any]:
    try:
        person = await connection.identities.find(source.user, claimed=source.claimed, trace=trace, recorded=not again)
        if isinstance(person, Stranger):
            return home_view([], [], notice=person.sentence)
        if not person.active:
            detail = {"reason": INACTIVE.reason, "door": Door.slack.value, "trace": trace}
            await connection.hub.record([] if again else [AuditEvent("request:refused", person.name, None, detail)])
            return home_view([], [], notice=INACTIVE.sentence)
        rulebook = await connection.hub.rulebook()
        waiting, mine, more = await connection.hub.read(lambda session: _cards(session, rulebook, person))
        return home_view(waiting, mine, more=more)
    except CountersignError as error:
        return home_view([], [], notice=str(error))


async def _cards(session: ReadSession, rulebook: Rulebook, person: Person) -> tuple[list[Card], list[Card], str]:
    """What waits, reviews first, because they are few and nobody else may be left to sign them; the own runs; where there is more."""
    reviews = await tell_all(session, [one.run for one in await reviews_for(session, rulebook, person)], rulebook=rulebook)
    tasks = [card_of_task(one.row, one.run) for one in await tasks_for(session, rulebook, person, limit=MOST_RUNS)]
    inbox = await waiting_for(session, rulebook, person, limit=MOST_RUNS)
    asked = await find_listed(session, Wanted(askers=[person.name]), limit=MOST_RUNS)
    waiting = [card_of_waiting(one, rulebook) for one in inbox.waiting]
    mine = await tell_all(session, asked, rulebook=rulebook)
    return [*reviews, *tasks, *waiting], mine, "There is more: /countersign inbox" if inbox.more else ""
