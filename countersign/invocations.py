"""One verified request: who asks, through which door, where, for what, and where each argument came from."""

from dataclasses import field
from enum import StrEnum
from typing import Any

from .records import value


class Door(StrEnum):
    slack = "slack"
    discord = "discord"
    browser = "browser"
    terminal = "terminal"
    api = "api"
    schedule = "schedule"
    trigger = "trigger"


class Origin(StrEnum):
    """Where an argument's value came from."""

    typed = "typed"
    default = "default"
    label = "label"
    payload = "payload"
    model = "model"


@value
class Place:
    """Where something was asked or is shown: a platform, its team, a channel (or empty for direct), and a thread."""

    platform: str
    team: str = ""
    channel: str = ""
    thread: str = ""
    shared: bool = False

    def as_json(self) -> dict[str, Any]:
        return {"platform": self.platform, "team": self.team, "channel": self.channel, "thread": self.thread, "shared": self.shared}


@value
class Invocation:
    """What a door hands to `submit`. `key` makes a repeated delivery the same request; `text` or `command` with `arguments` says what.

    `origins` says where arguments came from that nobody typed, such as an alert's labels.
    `start_at` is when it is wanted to start, as it was typed; empty means as soon as it may. `answer_to` is where a private reply can be
    posted (sealed before it is stored), if the platform gave such an address.
    """

    key: str
    door: Door
    place: Place
    text: str = ""
    command: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    reason: str = ""
    dry_run: bool = False
    start_at: str = ""
    answer_to: str = ""
    trace: str = ""
