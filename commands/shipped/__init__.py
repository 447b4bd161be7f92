"""The commands Countersign ships, loaded through the entry point group like anybody's."""

from .accesses import grant, link, revoke
from .accessreviews import access_review
from .alerts import alert_acknowledge, alert_resolve, alert_show, alerts
from .breakings import break_it, review, reviews
from .cataloguereviews import catalogue_review
from .changes import edit_run, hand_over, take_back, withdraw_run
from .conversations import answer_about, ask_about, comment_on
from .decisions import approve, cancel_run, deny, pause_run, unpause_run
from .delegations import delegate, delegate_for, undelegate
from .erasures import legal_hold, legal_holds, legal_lift, people_erase
from .explanations import explain
from .exports import export
from .grants import access_extend, access_list, access_request, access_return
from .helps import show_help, whoami
from .histories import audit, run, runs
from .inboxes import inbox
from .links import link_code
from .messages import messages, messages_resend
from .passkeys import passkey_add, passkey_list, passkey_revoke
from .policychanges import apply
from .policyreads import diff, matrix, suggest
from .promises import promises
from .rehearsals import rehearse
from .repairs import resume, undo
from .reports import catalogue, report
from .schedules import (
    schedule_add,
    schedule_backfill,
    schedule_change,
    schedule_pause,
    schedule_remove,
    schedule_resume,
    schedule_run,
    schedule_show,
    schedules,
)
from .standings import standing_allow, standing_end, standing_list
from .switches import stop_changes, stop_command, stop_everything, stop_integration, switch_off_again, switches
from .tasks import task_answer, task_assign
from .triggerreads import trigger_deliveries, trigger_replay, trigger_show, triggers
from .triggers import trigger_add, trigger_alerts, trigger_change, trigger_remove, trigger_rotate
from .views import view_list, view_remove, view_save

__all__ = [
    "access_extend",
    "access_list",
    "access_request",
    "access_return",
    "access_review",
    "alert_acknowledge",
    "alert_resolve",
    "alert_show",
    "alerts",
    "answer_about",
    "apply",
    "approve",
    "ask_about",
    "audit",
    "break_it",
    "cancel_run",
    "catalogue",
    "catalogue_review",
    "comment_on",
    "delegate",
    "delegate_for",
    "deny",
    "diff",
    "edit_run",
    "explain",
    "export",
    "grant",
    "hand_over",
    "inbox",
    "legal_hold",
    "legal_holds",
    "legal_lift",
    "link",
    "link_code",
    "matrix",
    "messages",
    "messages_resend",
    "passkey_add",
    "passkey_list",
    "passkey_revoke",
    "pause_run",
    "people_erase",
    "promises",
    "rehearse",
    "report",
    "resume",
    "review",
    "reviews",
    "revoke",
    "run",
    "runs",
    "schedule_add",
    "schedule_backfill",
    "schedule_change",
    "schedule_pause",
    "schedule_remove",
    "schedule_resume",
    "schedule_run",
    "schedule_show",
    "schedules",
    "show_help",
    "standing_allow",
    "standing_end",
    "standing_list",
    "stop_changes",
    "stop_command",
    "stop_everything",
    "stop_integration",
    "suggest",
    "switch_off_again",
    "switches",
    "take_back",
    "task_answer",
    "task_assign",
    "trigger_add",
    "trigger_alerts",
    "trigger_change",
    "trigger_deliveries",
    "trigger_remove",
    "trigger_replay",
    "trigger_rotate",
    "trigger_show",
    "triggers",
    "undelegate",
    "undo",
    "unpause_run",
    "view_list",
    "view_remove",
    "view_save",
    "whoami",
    "withdraw_run",
]
