"""The manifest of the Slack app: what Slack must know about our commands, and the least that we must be allowed.

Source: https://docs.slack.dev/reference/app-manifest
"""

from typing import Any, Final

from commands.registries import Registry
from countersign.commands import Command

from .apps import SHORTCUT
from .routes import PATH
from .slashes import EVERY_COMMAND

_LONGEST_NAME: Final = 32
_LONGEST_DESCRIPTION: Final = 2_000
_LONGEST_USAGE: Final = 1_000
SCOPES: Final = (
    "app_mentions:read",  # to be asked in threads
    "channels:history",  # to look for a message whose posting got no answer, before it is posted again
    "channels:read",  # to keep plans out of channels shared with another company
    "chat:write",
    "commands",
    "files:write",  # to show pictures, and long answers as files where the settings say so; without it both are left out
    "groups:history",
    "groups:read",
    "im:history",
    "im:write",  # to write to approvers directly
    "users:read",  # to refuse guests, bots, strangers and deactivated accounts
    "users:read.email",  # to link an account to a person once, where policy says so
)
USER_GROUPS: Final = "usergroups:read"  # only where policy takes groups from Slack
EVENTS: Final = ("app_home_opened", "app_mention", "user_change")


def manifest(registry: Registry, public_url: str, *, socket_mode: bool = False, user_groups: bool = False) -> dict[str, Any]:
    """The manifest as JSON data. With `socket_mode` Slack needs no address of ours; `user_groups` asks to see who is in them."""
    address = {} if socket_mode else {"request_url": f"{public_url.rstrip('/')}{PATH}"}
    url = {} if socket_mode else {"url": address["request_url"]}
    return {
        "display_information": {
            "name": "Countersign",
            "description": "Ask for an operation, see exactly what will happen, and have the right people countersign it.",
        },
        "features": {
            "app_home": {"home_tab_enabled": True, "messages_tab_enabled": True, "messages_tab_read_only_enabled": True},
            "bot_user": {"display_name": "Countersign", "always_online": True},
            "shortcuts": [
                {
                    "name": "Run a command about it",
                    "type": "message",
                    "callback_id": SHORTCUT,
                    "description": "Asks for a command; its run is told in this thread.",
                }
            ],
            "slash_commands": [one | url for one in (*_own(), *(_slash(registry.commands[name]) for name in registry.slash_names))],
        },
        "oauth_config": {"scopes": {"bot": [*SCOPES, *((USER_GROUPS,) if user_groups else ())]}},
        "settings": {
            "event_subscriptions": {**address, "bot_events": list(EVENTS)},
            "interactivity": {"is_enabled": True, **address},
            "org_deploy_enabled": False,
            "socket_mode_enabled": socket_mode,
            "token_rotation_enabled": False,
        },
    }


def _own() -> list[dict[str, Any]]:
    usage = "COMMAND …, for instance: help"
    return [
        {"command": name, "description": "Every command of Countersign", "usage_hint": usage, "should_escape": True}
        for name in EVERY_COMMAND
    ]


def _slash(command: Command) -> dict[str, Any]:
    """`should_escape`, so that people and channels arrive by their ids and not by names that anybody can take."""
    if len(command.name) >= _LONGEST_NAME:
        raise ValueError(f"command {command.name!r}: Slack allows {_LONGEST_NAME - 1} characters for a slash command's name")
    made: dict[str, Any] = {"command": f"/{command.name}", "description": command.summary[:_LONGEST_DESCRIPTION], "should_escape": True}
    return made | ({"usage_hint": command.schema.usage[:_LONGEST_USAGE]} if command.schema.usage else {})
