"""One use case on one run: what a caller may not see is not there, and a refusal becomes a problem."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from commands.authorizing import Refused
from commands.rulebooks import Rulebook
from countersign.invocations import Door
from store.audits import record
from store.databases import WriteSession

from .callers import Caller
from .problems import Problem, refused
from .stories import find_visible, hidden


async def acted(caller: Caller, reference: str, act: Callable[[WriteSession, Rulebook, UUID], Awaitable[Any]]) -> Any:
    """Runs one use case on a run the caller may see; a refusal, which is committed and audited like anything else, becomes a problem."""
    rulebook = await caller.hub.rulebook()

    async def work(session: WriteSession) -> Any:
        try:
            run = await find_visible(session, rulebook, caller.person, reference)
        except Problem as problem:  # a try on a hidden run is a fact too, so it is committed and not raised through
            await record(session, [hidden(caller.person, reference, door=Door.api, trace=caller.trace)])
            return problem
        return await act(session, rulebook, run.id)

    answer = await caller.hub.committed(work, what="Ask for the run to see whether it counted.")
    if isinstance(answer, Problem):
        raise answer
    if isinstance(answer, Refused):
        raise refused(answer.reason, answer.sentence)
    return answer
