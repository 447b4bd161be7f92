"""All tables in one place, for migrations."""

from . import (
    approvals,
    audiences,
    audits,
    breaks,
    delegations,
    grants,
    inbox,
    journals,
    levels,
    limits,
    messages,
    passkeys,
    people,
    policies,
    runs,
    secrets,
    standings,
    switches,
    tokens,
    workers,
)
from .bases import Base

metadata = Base.metadata

__all__ = [
    "approvals",
    "audiences",
    "audits",
    "breaks",
    "delegations",
    "grants",
    "inbox",
    "journals",
    "levels",
    "limits",
    "messages",
    "metadata",
    "passkeys",
    "people",
    "policies",
    "runs",
    "secrets",
    "standings",
    "switches",
    "tokens",
    "workers",
]
