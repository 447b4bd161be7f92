"""The Slack door."""

from .manifests import manifest
from .routes import PATH, SlackDoor, open_slack

__all__ = ["PATH", "SlackDoor", "manifest", "open_slack"]
