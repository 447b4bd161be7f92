"""The Slack door."""

from .manifests import manifest
from .routes import SlackDoor, open_slack

__all__ = ["SlackDoor", "manifest", "open_slack"]
