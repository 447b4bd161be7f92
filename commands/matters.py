"""A run with all that those who are concerned by it need to know, read under locks, so that what they do happens one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from countersign.approvals import Approval
from store.approvals import ApprovalRequestRow, DecisionRow, lock_request
from store.databases import WriteSession
from store.people import Person, find_person
from store.runs import RunRow, lock_run

from .authorizing import INACTIVE, Allowed, Refused
from .rulebooks import Rulebook
from .voting import Ballot, all_sets, belongs, may_see, read_ballot


@dataclass(frozen=True)
class Matters:
    """What there is about a run for one person, who is as the database knows them now."""

    rulebook: Rulebook
    person: Person
    run: RunRow | None
    request: ApprovalRequestRow | None
    ballot: Ballot | None

    @property
    def known(self) -> RunRow:
        """The run, for who has asked `refused` before."""
        assert self.run is not None  # noqa: S101  refused() has said so
        return self.run

    @property
    def rule(self) -> Approval | None:
        """The rule that is frozen into the request."""
        return Approval.of_json(self.request.rule) if self.request else None

    @property
    def decisions(self) -> Sequence[DecisionRow]:
        """The votes on the request that have not been taken back."""
        return self.ballot.decisions if self.ballot else ()

    @property
    def holds(self) -> bool:
        """Whether it is this person's own request, or was handed over to them."""
        return self.run is not None and self.person.name in (self.run.asker, self.run.handed_to)

    @property
    def votes(self) -> bool:
        """Whether this person is among those who are asked, at any stage, or stands in for one of them.

        Also one whose own vote does not count because they changed it last.
        """
        if self.ballot is None or not self.person.active or self.person.service:
            return False
        if any(belongs(self.ballot.policy, self.person, one, self.ballot.matter) for one in all_sets(self.ballot.rule)):
            return True
        return isinstance(self.ballot.right_of(self.person, self.ballot.tally())[0], Allowed)

    @property
    def expired(self) -> bool:
        """Whether the time to decide is over, although nobody has said so yet."""
        if self.ballot is None or self.request is None or self.request.state != "open":
            return False
        return self.ballot.now >= self.request.expires_at

    def refused(self) -> Refused | None:
        """Why this person may not even know of it; the same words for what is hidden and what is not there."""
        if not self.person.active:
            return INACTIVE
        if self.run is None or not may_see(self.rulebook, self.person, self.run, self.rule):
            return Refused("There is no such run.", "not_found_or_foreign")
        return None


async def read_matters(session: WriteSession, rulebook: Rulebook, person: Person, run_id: UUID) -> Matters:
    """Locks the latest request and the run until the transaction ends, and reads what concerns this person."""
    request = await lock_request(session, run_id)
    run = await lock_run(session, run_id)
    current = await find_person(session, person.name) or person
    ballot = await read_ballot(session, rulebook, request, run, person=person.name) if request and run else None
    return Matters(rulebook, current, run, request, ballot)
