"""Many runs that wait for an approval, made in batches, as planning leaves them."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from countersign.approvals import Approval
from countersign.runs import RunStatus
from store.approvals import NewRequest, open_requests
from store.databases import WriteSession
from store.runs import Move, NewRun, create, move

BATCH = 100  # a notice, which names every run it is about, has room for about 200


@dataclass(frozen=True)
class WaitingRun:
    """A run on whose digest people may decide."""

    id: UUID
    request: UUID
    digest: str
    count: int


async def make_waiting(session: WriteSession, counts: Sequence[int], *, asker: str, by: str, command: str = "pay") -> list[WaitingRun]:
    """One run for each of `counts`, which needs that many approvers who hold the permission `by`."""
    return [
        one for start in range(0, len(counts), BATCH) for one in await _batch(session, counts[start : start + BATCH], asker, by, command)
    ]


async def _batch(session: WriteSession, counts: Sequence[int], asker: str, by: str, command: str) -> list[WaitingRun]:
    made = [WaitingRun(uuid4(), uuid4(), f"digest-{n}", count) for n, count in enumerate(counts)]
    await create(session, [_born(one, asker, command) for one in made])
    await move(session, [Move(one.id, RunStatus.planning, by="test") for one in made])
    await move(session, [Move(one.id, RunStatus.awaiting_approval, by="test", revision=1, digest=one.digest, plan={}) for one in made])
    rules = [Approval(by=by, count=one.count).as_json() for one in made]
    await open_requests(
        session,
        [NewRequest(one.request, one.id, 1, one.digest, rule, "policy", 3_600) for one, rule in zip(made, rules, strict=True)],
    )
    return made


def _born(one: WaitingRun, asker: str, command: str) -> NewRun:
    return NewRun(
        key=f"waiting-{one.id}",
        command=command,
        code_version="1",
        risk=3,
        visibility="staff",
        asker=asker,
        door="api",
        place={},
        arguments={"name": str(one.id)},
        origins={},
        policy="policy",
        id=one.id,
    )
