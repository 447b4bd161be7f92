"""The bodies that Slack sends, as its documentation shows them."""

import time
from copy import deepcopy

from tests.fakes.slack.chat_methods import message_json
from tests.fakes.slack.view_methods import view_json
from tests.fakes.slack.worlds import Channel, FakeUser, Json, Message, View, World, elements

VERIFICATION = "legacy-verification-token"


def slash(world: World, user: FakeUser, *, command: str, text: str, channel: Channel, trigger: str, response_url: str) -> Json:
    """A slash command: all flat strings, and never a thread_ts."""
    made: Json = {
        "token": VERIFICATION,
        "team_id": world.team,
        "team_domain": "example",
        "channel_id": channel.id,
        "channel_name": channel.name,
        "user_id": user.id,
        "user_name": user.name,
        "command": command,
        "text": text,
        "api_app_id": world.app_id,
        "is_enterprise_install": "true" if world.enterprise else "false",
        "response_url": response_url,
        "trigger_id": trigger,
    }
    if world.enterprise:
        made |= {"enterprise_id": world.enterprise, "enterprise_name": "Example Grid"}
    return made


def interaction(world: World, user: FakeUser, kind: str) -> Json:
    """What all interactions share. For people of other companies `team` follows `world.payload_team`."""
    team_id = user.team if world.payload_team == "actor" else world.team
    absent = world.payload_team == "null" and user.team != world.team
    team = None if absent or world.enterprise else {"id": team_id, "domain": "example"}
    return {
        "type": kind,
        "token": VERIFICATION,
        "api_app_id": world.app_id,
        "team": team,
        "enterprise": {"id": world.enterprise, "name": "Example Grid"} if world.enterprise else None,
        "is_enterprise_install": world.enterprise is not None,
        "user": {"id": user.id, "username": user.name, "name": user.name, "team_id": user.team},
    }


def on_message(world: World, user: FakeUser, message: Message, *, action: Json, trigger: str, response_url: str) -> Json:
    """A click on a message; the body of an ephemeral message is not included."""
    channel = world.channels[message.channel]
    made = interaction(world, user, "block_actions") | {
        "container": {
            "type": "message",
            "message_ts": message.ts,
            "channel_id": channel.id,
            "is_ephemeral": message.ephemeral_to is not None,
        },
        "channel": {"id": channel.id, "name": channel.name},
        "state": {"values": {}},
        "trigger_id": trigger,
        "response_url": response_url,
        "actions": [action | {"action_ts": f"{time.time():.6f}"}],
    }
    if message.thread:
        made["container"]["thread_ts"] = message.thread
    if message.ephemeral_to is None:
        made["message"] = message_json(world, message)
    return made


def on_view(world: World, user: FakeUser, view: View, *, action: Json, trigger: str) -> Json:
    """A click inside a modal or App Home."""
    return interaction(world, user, "block_actions") | {
        "container": {"type": "view", "view_id": view.id},
        "view": view_json(world, view),
        "trigger_id": trigger,
        "actions": [action | {"action_ts": f"{time.time():.6f}"}],
    }


def submission(world: World, user: FakeUser, view: View, *, state: Json, trigger: str) -> Json:
    return interaction(world, user, "view_submission") | {
        "view": view_json(world, view, state=state),
        "trigger_id": trigger,
        "response_urls": [],
    }


def closing(world: World, user: FakeUser, view: View, *, cleared: bool) -> Json:
    return interaction(world, user, "view_closed") | {"view": view_json(world, view), "is_cleared": cleared}


def suggestion(world: World, user: FakeUser, target: Message | View, *, element: Json, query: str) -> Json:
    """block_suggestion: without trigger and without response_url."""
    made = interaction(world, user, "block_suggestion") | {"action_id": element["action_id"], "value": query}
    made["block_id"] = next(block["block_id"] for block in target.blocks if element in elements([block]))
    if isinstance(target, View):
        return made | {"container": {"type": "view", "view_id": target.id}, "view": view_json(world, target)}
    return made | {
        "container": {"type": "message", "message_ts": target.ts, "channel_id": target.channel},
        "channel": {"id": target.channel, "name": world.channels[target.channel].name},
        "message": message_json(world, target),
    }


def message_shortcut(world: World, user: FakeUser, message: Message, *, callback: str, trigger: str, response_url: str) -> Json:
    channel = world.channels[message.channel]
    return interaction(world, user, "message_action") | {
        "callback_id": callback,
        "trigger_id": trigger,
        "response_url": response_url,
        "action_ts": f"{time.time():.6f}",
        "message_ts": message.ts,
        "channel": {"id": channel.id, "name": channel.name},
        "message": message_json(world, message),
    }


def global_shortcut(world: World, user: FakeUser, *, callback: str, trigger: str) -> Json:
    """A global shortcut has no channel and no response_url."""
    return interaction(world, user, "shortcut") | {"callback_id": callback, "trigger_id": trigger, "action_ts": f"{time.time():.6f}"}


def event(world: World, user: FakeUser, body: Json, *, shared: bool) -> Json:
    """The envelope of an event; `authorizations` names one installation only."""
    return {
        "token": VERIFICATION,
        "type": "event_callback",
        "team_id": world.team,
        "enterprise_id": world.enterprise,
        "api_app_id": world.app_id,
        "event": deepcopy(body) | ({"user_team": user.team} if user.team != world.team else {}),
        "event_id": world.mint("Ev"),
        "event_time": int(world.clock.now()),
        "is_ext_shared_channel": shared,
        "authorizations": [
            {
                "enterprise_id": world.enterprise,
                "team_id": world.team,
                "user_id": world.bot_user,
                "is_bot": True,
                "is_enterprise_install": world.enterprise is not None,
            }
        ],
    }
