"""Columns of text that hold no script after the story, and why: by the column's name, or by table and column where it is only there."""

from collections.abc import Mapping
from typing import Final

_OURS: Final = "words of ours: nobody else chooses them"
_MADE: Final = "made by us: hashes, marks, numbers, addresses and times of our own"
_NAME: Final = (
    "names of people, commands, steps, schedules and triggers, which are checked: letters, digits and hyphens, or who wrote the code"
)
_UNSHOWN: Final = "what callers and their keys send to be compared: it stands on no page and in no message"
_SAME: Final = "what people and programs write, kept a second time: the same words are planted where they are kept first"
_CHAT: Final = "ids and names that a chat platform makes; accounts are planted"
CHOSEN_BY_NOBODY: Final[Mapping[str, str]] = {
    **dict.fromkeys(("kind", "status", "state", "door", "phase", "platform", "visibility", "verdict", "via", "choice"), _OURS),
    **dict.fromkeys(("overlap", "catch_up", "zone", "timezone", "cadence", "badge", "origins", "rp_id", "page", "source"), _OURS),
    **dict.fromkeys(("grants.ended_how", "triggers.sender", "service_levels.figure", "tokens.scopes"), _OURS),
    **dict.fromkeys(
        ("promises.promise", "promises.what", "audit_marks.name", "schedule_slots.because", "audit_checks.problems", "deliveries.reason"),
        _OURS,
    ),
    **dict.fromkeys(("digest", "policy", "code_version", "trace", "sha256", "key_id", "mark", "lane", "worker"), _MADE),
    **dict.fromkeys(("messages.file", "promises.example", "runs.line", "targets.target"), _MADE),
    **dict.fromkeys(("decisions.proof", "inbox.key"), _UNSHOWN),
    **dict.fromkeys(("person", "asker", "owner", "command", "account", "by", "holder", "delegate", "subject"), _NAME),
    **dict.fromkeys(("acknowledged_by", "resolved_by", "revoked_by", "ended_by", "made_by", "asked_by", "applied_by", "signed_by"), _NAME),
    **dict.fromkeys(("cancelled_by", "edited_by", "handed_to", "paused_by", "answered_by", "assigned_by", "on_by", "off_by"), _NAME),
    **dict.fromkeys(("held_by", "lifted_by", "manager", "approved_by", "involved", "assignees", "escalate_to", "standings.people"), _NAME),
    **dict.fromkeys(
        ("people.name", "people.alias", "schedules.name", "triggers.name", "steps.name", "choices.name", "artifacts.name"), _NAME
    ),
    **dict.fromkeys(("artifacts.content_type", "step", "undo", "label", "on_behalf", "target", "actor"), _NAME),
    **dict.fromkeys(("team", "thread", "remote_channel", "remote_id", "place", "directories.error"), _CHAT),
    **dict.fromkeys(("audit_events.canonical", "audiences.asked", "approval_requests.rule", "approval_requests.voters"), _SAME),
    **dict.fromkeys(("directory_feed.body", "directory_feed.refused", "integrations.scopes"), _SAME),
    **dict.fromkeys(("integrations.variables", "steps.earlier", "service_levels.asked", "views.shared_with"), _SAME),
}
