"""App Home: what waits for me, and my runs."""

import logging
from typing import Any, Final

from commands.authorizing import Allowed
from commands.rulebooks import Rulebook
from commands.stories import tell
from commands.voting import matter_of, may_vote
from countersign.approvals import Approval
from countersign.errors import CountersignError
from countersign.replies import Card
from integrations.slack.blocks import home_view
from integrations.slack.errors import SlackError
from store.approvals import find_decisions, find_waiting
from store.databases import ReadSession
from store.people import Person
from store.runs import find_runs, search_runs

from .connections import Connection
from .identities import Stranger
from .sources import Source

_log = logging.getLogger(__name__)
MOST_RUNS: Final = 12


async def publish_home(connection: Connection, source: Source, *, trace: str) -> None:
    """Publishes the person's App Home as it is now; a failure is logged, because opening it again shows it."""
    try:
        await connection.client.publish_home(source.user, await _view(connection, source, trace))
    except SlackError as error:
        _log.warning("views.publish: %s", error)


async def _view(connection: Connection, source: Source, trace: str) -> dict[str, Any]:
    try:
        person = await connection.identities.find(source.user, claimed=source.claimed, trace=trace)
        if isinstance(person, Stranger):
            return home_view([], [], notice=person.sentence)
        if not person.active:
            return home_view([], [], notice="Your account is not active any more.")
        rulebook = await connection.hub.rulebook()
        waiting, mine = await connection.hub.committed(lambda session: _cards(session, rulebook, person))
        return home_view(waiting, mine)
    except CountersignError as error:
        return home_view([], [], notice=str(error))


async def _cards(session: ReadSession, rulebook: Rulebook, person: Person) -> tuple[list[Card], list[Card]]:
    requests = await find_waiting(session)
    runs = await find_runs(session, [one.run_id for one in requests])
    waiting = []
    for request in requests:
        run, rule = runs[request.run_id], Approval.of_json(request.rule)
        if not isinstance(may_vote(rulebook.policy, person, rule, matter_of(rulebook, run)), Allowed):
            continue
        if person.name not in {one.person for one in await find_decisions(session, request.id)}:
            waiting.append(await tell(session, run, address=rulebook.address))
    asked = await search_runs(session, asker=person.name, limit=MOST_RUNS)
    return waiting, [await tell(session, run, address=rulebook.address) for run in asked]
