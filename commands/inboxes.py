"""An inbox: what this person may decide now and has not, most urgent first; and the reviews that wait for somebody like them."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID

from countersign.replies import Card
from countersign.runs import RunStatus
from countersign.tallies import Outcome
from store.approvals import ApprovalRequestRow, find_requests
from store.audiences import Pair, Place, find_live, find_pending
from store.breaks import ReviewRow, find_open_reviews
from store.databases import ReadSession
from store.delegations import find_delegations
from store.people import Person, find_all_people, find_people
from store.runs import RunRow, find_runs
from store.searches import matching
from store.targets import Earlier

from .audiences import Audience, audience_of
from .authorizing import Allowed
from .breaking import may_review
from .rulebooks import Rulebook
from .stories import Facts, card_of
from .storyfacts import needed_by
from .voting import Ballot, read_ballots, readable_by, rule_of

# How often more requests are read when some of those read turn out not to wait for this person after all.
_ROUNDS: Final = 5
_SEARCHED: Final = 100
T = TypeVar("T")


@dataclass(frozen=True)
class Waiting:
    """A request that this person may decide now, themselves or in the place of `on_behalf`; `missing` people have to approve yet."""

    run: RunRow
    request: ApprovalRequestRow
    ballot: Ballot
    on_behalf: str
    missing: int


@dataclass(frozen=True)
class Inbox:
    """`more` is where to go on when there may be more than was read, else None."""

    waiting: Sequence[Waiting]
    more: Place | None = None


@dataclass(frozen=True)
class Review:
    """A run that went past its approvers and waits for a review."""

    run: RunRow
    row: ReviewRow


async def waiting_for(
    session: ReadSession, rulebook: Rulebook, person: Person, *, limit: int = 20, after: Place | None = None, words: str = ""
) -> Inbox:
    """At most `limit` open requests that this person may decide now and has not, by when their time is over.

    With `words`, each of which begins one of the run's, only those among the most urgent 500.

    What it costs depends on how many audiences open requests have and on how many are shown, not on how many requests ever were.
    """
    person = (await find_people(session, [person.name])).get(person.name, person)
    audiences = await _audiences(session, rulebook, person)
    found: list[Waiting] = []
    size = _SEARCHED if words else limit
    for _ in range(_ROUNDS):
        pairs = await find_pending(session, audiences, person=person.name, after=after, limit=size)
        kept = await with_words(session, pairs, words, number=lambda pair: pair[1].number)
        for one in await _decidable(session, rulebook, person, kept):
            found.append(one)
            if len(found) == limit:
                return Inbox(found, _place(one.request, one.run))
        if len(pairs) < size:
            return Inbox(found)
        after = _place(*pairs[-1])
    return Inbox(found, after)


async def with_words(session: ReadSession, items: Sequence[T], words: str, *, number: Callable[[T], int]) -> Sequence[T]:
    """Those of the items whose run has these words; all of them without words."""
    if not words.strip() or not items:
        return items
    known = await matching(session, [number(one) for one in items], words)
    return [one for one in items if number(one) in known]


async def reviews_for(session: ReadSession, rulebook: Rulebook, person: Person) -> list[Review]:
    """Reviews that nobody has signed and this person may, oldest first; of a private run only who may read it."""
    rows = [one for one in await find_open_reviews(session) if may_review(rulebook.policy, person, one.involved)]
    runs = await find_runs(session, [one.run_id for one in rows]) if rows else {}
    seen = {one.id: one for one in await readable_by(session, rulebook, person, list(runs.values()))}
    return [Review(seen[one.run_id], one) for one in rows if one.run_id in seen]


def card_of_waiting(one: Waiting, rulebook: Rulebook, *, earlier: Earlier | None = None) -> Card:
    """The card of a request in an inbox; `earlier` is the last run on the same target."""
    needed = needed_by(one.ballot, one.ballot.tally())
    return card_of(Facts(one.run, one.request, one.ballot.decisions, (), (), rulebook.address, rulebook.switches, needed, earlier))


async def _audiences(session: ReadSession, rulebook: Rulebook, person: Person) -> list[UUID]:
    """The audiences of open requests that this person is in, or whoever delegated to them."""
    live = {id_: audience_of(asked) for id_, asked in await find_live(session)}
    delegations, now = await find_delegations(session, [person.name])
    chiefs = {one.person for one in delegations if one.covers(now, one.only_run or UUID(int=0))}
    concerned = [person, *(await find_people(session, sorted(chiefs))).values()] if chiefs else [person]
    people = await find_all_people(session) if any(_lets_others_in(one) for one in live.values()) else []
    return [
        id_
        for id_, one in live.items()
        if one is None or any(one.includes(rulebook, somebody, at=now, people=people) for somebody in concerned)
    ]


async def _decidable(session: ReadSession, rulebook: Rulebook, person: Person, pairs: Sequence[Pair]) -> list[Waiting]:
    readable = [pair for pair in pairs if rule_of(pair[0])]
    found = []
    ballots = await read_ballots(session, rulebook, readable, person=person.name) if readable else []
    for (request, run), ballot in zip(readable, ballots, strict=True):
        if (waiting := decidable(request, run, ballot, person)) is not None:
            found.append(waiting)
    return found


def decidable(request: ApprovalRequestRow, run: RunRow, ballot: Ballot, person: Person) -> Waiting | None:
    """The open request, if this person may decide it now and has not."""
    tally = ballot.tally()
    answer, on_behalf = ballot.right_of(person, tally)
    if run.asker == person.name and not request.rule.get("asker_may"):
        return None
    if tally.outcome is not Outcome.waiting or not isinstance(answer, Allowed) or ballot.has_voted(person.name):
        return None
    return Waiting(run, request, ballot, on_behalf, tally.missing)


async def find_asked(
    session: ReadSession, rulebook: Rulebook, runs: Sequence[RunRow], *, readers: Collection[str]
) -> tuple[dict[UUID, ApprovalRequestRow], dict[UUID, Ballot]]:
    """The latest request of each run that was asked about, and the ballots of those that are open, for these readers to be told of."""
    requests = await find_requests(session, [one.id for one in runs])
    waiting = [one for one in runs if one.status == RunStatus.awaiting_approval and one.id in requests]
    pairs = [(requests[one.id], one) for one in waiting if requests[one.id].state == "open" and rule_of(requests[one.id])]
    ballots = await read_ballots(session, rulebook, pairs, readers=readers) if pairs else []
    return requests, {run.id: one for (_, run), one in zip(pairs, ballots, strict=True) if one.now < one.case.expires_at}


def _lets_others_in(audience: Audience | None) -> bool:
    return audience is not None and bool(audience.stages[audience.stage].fallback)


def _place(request: ApprovalRequestRow, run: RunRow) -> Place:
    return Place(request.expires_at, run.id)
