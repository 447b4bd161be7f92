"""Countersign: what a command author imports."""

from .approvals import Approval
from .arguments import Channel, Choices, Duration, Percent, Person, Secret, ZonedTime
from .commands import Command, action, command, control, step
from .contexts import Asker, Context, PlanningContext
from .errors import CountersignError, PlanRefused, StepFailed
from .integrations import Integration, acts, reads
from .permissions import Risk
from .plans import Plan, Step
from .replies import Button, Card, Field, Form, Input, Reply, Tone
from .runs import RunId, RunStatus

__all__ = [
    "Approval",
    "Asker",
    "Button",
    "Card",
    "Channel",
    "Choices",
    "Command",
    "Context",
    "CountersignError",
    "Duration",
    "Field",
    "Form",
    "Input",
    "Integration",
    "Percent",
    "Person",
    "Plan",
    "PlanRefused",
    "PlanningContext",
    "Reply",
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
    "command",
    "control",
    "reads",
    "step",
]
