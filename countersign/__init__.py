"""Countersign: what a command author imports."""

from .approvals import Approval
from .arguments import Channel, Choices, Duration, Percent, Person, Secret, ZonedTime
from .commands import Command, action, command, control, step
from .contexts import Asker, Context, PlanningContext
from .errors import CountersignError, NothingDone, PlanRefused, StepFailed
from .integrations import Integration, acts, reads
from .locks import Lock
from .permissions import Risk
from .plans import Plan
from .replies import Bar, Button, Card, Chart, Field, Form, Input, Part, Picture, Reply, Tone
from .retries import Retry
from .runs import RunId, RunStatus
from .shapes import branch, each, parallel, sequence
from .steps import Step, happened, submit, try_submit
from .tasks import ask_choice, ask_done, ask_form, ask_review

__all__ = [
    "Approval",
    "Asker",
    "Bar",
    "Button",
    "Card",
    "Channel",
    "Chart",
    "Choices",
    "Command",
    "Context",
    "CountersignError",
    "Duration",
    "Field",
    "Form",
    "Input",
    "Integration",
    "Lock",
    "NothingDone",
    "Part",
    "Percent",
    "Person",
    "Picture",
    "Plan",
    "PlanRefused",
    "PlanningContext",
    "Reply",
    "Retry",
    "Risk",
    "RunId",
    "RunStatus",
    "Secret",
    "Step",
    "StepFailed",
    "Tone",
    "ZonedTime",
    "action",
    "acts",
    "ask_choice",
    "ask_done",
    "ask_form",
    "ask_review",
    "branch",
    "command",
    "control",
    "each",
    "happened",
    "parallel",
    "reads",
    "sequence",
    "step",
    "submit",
    "try_submit",
]
