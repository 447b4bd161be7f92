"""All tables in one place, for migrations."""

from . import (
    approvals,
    audits,
    breaks,
    delegations,
    grants,
    inbox,
    journals,
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
    "audits",
    "breaks",
    "delegations",
    "grants",
    "inbox",
    "journals",
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
