"""All tables in one place, for migrations."""

from . import (
    approvals,
    audits,
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
    switches,
    tokens,
    workers,
)
from .bases import Base

metadata = Base.metadata

__all__ = [
    "approvals",
    "audits",
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
    "switches",
    "tokens",
    "workers",
]
