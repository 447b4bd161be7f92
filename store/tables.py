"""All tables in one place, for migrations."""

from . import approvals, audits, grants, inbox, journals, messages, people, policies, runs, secrets, tokens, workers
from .bases import Base

metadata = Base.metadata

__all__ = [
    "approvals",
    "audits",
    "grants",
    "inbox",
    "journals",
    "messages",
    "metadata",
    "people",
    "policies",
    "runs",
    "secrets",
    "tokens",
    "workers",
]
