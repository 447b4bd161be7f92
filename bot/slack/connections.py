"""What every handler of this door works with."""

from dataclasses import dataclass

from bot.hubs import Hub
from integrations.slack.clients import SlackClient

from .identities import Identities
from .tasks import Tasks
from .workspaces import Workspace


@dataclass(frozen=True)
class Connection:
    """Our end of one Slack workspace. The client opens forms, publishes App Home and looks accounts up; workers do all the rest."""

    hub: Hub
    client: SlackClient
    workspace: Workspace
    identities: Identities
    tasks: Tasks
