"""The life of a run: its states and the one table of allowed moves."""

from enum import StrEnum
from typing import Final, NewType
from uuid import UUID

RunId = NewType("RunId", UUID)


class RunStatus(StrEnum):
    submitted = "submitted"
    planning = "planning"
    answered = "answered"
    awaiting_approval = "awaiting_approval"
    queued = "queued"
    stale = "stale"
    running = "running"
    waiting = "waiting"
    succeeded = "succeeded"
    failed = "failed"
    undoing = "undoing"
    rolled_back = "rolled_back"
    rollback_failed = "rollback_failed"
    interrupted = "interrupted"
    denied = "denied"
    expired = "expired"
    cancelled = "cancelled"
    refused = "refused"


_S = RunStatus

BIRTHS: Final = frozenset({_S.submitted, _S.answered, _S.refused})

FINISHED: Final = frozenset(
    {_S.answered, _S.succeeded, _S.failed, _S.rolled_back, _S.rollback_failed, _S.denied, _S.expired, _S.cancelled, _S.refused}
)

HOLDING: Final = (_S.queued, _S.running, _S.waiting, _S.undoing, _S.interrupted)
"""In which a run may hold locks."""

_ONWARD: Final[dict[RunStatus, frozenset[RunStatus]]] = {
    _S.submitted: frozenset({_S.planning}),
    _S.planning: frozenset({_S.answered, _S.awaiting_approval, _S.queued, _S.failed}),
    _S.awaiting_approval: frozenset({_S.queued, _S.denied, _S.expired, _S.submitted}),
    _S.queued: frozenset({_S.running, _S.stale, _S.submitted, _S.awaiting_approval}),
    _S.stale: frozenset({_S.awaiting_approval, _S.queued}),
    _S.running: frozenset({_S.waiting, _S.succeeded, _S.undoing, _S.interrupted, _S.failed}),
    _S.waiting: frozenset({_S.running}),
    _S.undoing: frozenset({_S.rolled_back, _S.rollback_failed, _S.interrupted}),
    _S.interrupted: frozenset({_S.running, _S.undoing, _S.failed}),
}

MOVES: Final[dict[RunStatus, frozenset[RunStatus]]] = {
    status: frozenset() if status in FINISHED else _ONWARD[status] | {_S.cancelled} for status in RunStatus
}

_SOURCES: Final = {to: tuple(status for status in RunStatus if to in MOVES[status]) for to in RunStatus}


def may_move(status: RunStatus, to: RunStatus) -> bool:
    """Whether the table allows a run to go from `status` to `to`."""
    return to in MOVES[status]


def sources_of(to: RunStatus) -> tuple[RunStatus, ...]:
    """Every status from which a run may become `to`, in the order of the enum."""
    return _SOURCES[to]
