"""What a Slack workspace remembers: people, channels, messages, views. Plain state, no HTTP."""

import itertools
import random
import time
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]
Guest = Literal["single", "multi"]
PayloadTeam = Literal["installer", "actor", "null"]


class SlackSays(Exception):
    """An `ok: false` answer: the code and, where Slack explains, its messages."""

    def __init__(self, code: str, *messages: str) -> None:
        self.code = code
        self.messages = messages
        super().__init__(code)


class SlackForbids(AssertionError):
    """A person in the story tries what Slack's own client would not let them do."""


class Clock:
    """Real time plus what the test has added: `now()` is in Unix seconds."""

    def __init__(self) -> None:
        self._added = 0.0

    def now(self) -> float:
        return time.time() + self._added

    def reach(self, moment: float) -> None:
        self._added = max(self._added, moment - time.time())


@dataclass
class FakeUser:
    """An account; `team` differs from the workspace's own for people of other companies."""

    id: str
    team: str
    name: str
    email: str | None = None
    guest: Guest | None = None
    deleted: bool = False
    bot: bool = False
    stranger: bool = False
    tz: str = "Europe/Berlin"


@dataclass
class Channel:
    """A channel; `direct_with` names the person of a direct channel, `shared` means shared with another company."""

    id: str
    name: str
    members: set[str]
    private: bool = False
    shared: bool = False
    archived: bool = False
    bot_in: bool = True
    direct_with: str | None = None


@dataclass(frozen=True)
class Version:
    """What a message said before an edit."""

    text: str
    blocks: list[Json]


@dataclass
class Message:
    """One message, kept current: `edits` holds what it said before, oldest first."""

    channel: str
    ts: str
    text: str
    blocks: list[Json]
    sender: str
    thread: str | None = None
    ephemeral_to: str | None = None
    metadata: Json | None = None
    files: list[Json] = field(default_factory=list)
    deleted: bool = False
    edits: list[Version] = field(default_factory=list)

    @property
    def content(self) -> str:
        """Everything a reader sees: the text and all text inside the blocks."""
        return "\n".join([self.text, *_texts(self.blocks)])

    @property
    def buttons(self) -> list[str]:
        """The labels of its buttons, in order."""
        return [element["text"]["text"] for element in elements(self.blocks) if element["type"] == "button"]

    def edit(self, text: str, blocks: list[Json]) -> None:
        self.edits.append(Version(self.text, self.blocks))
        self.text, self.blocks = text, blocks


@dataclass
class View:
    """A modal or App Home as its person sees it."""

    id: str
    user: str
    data: Json
    hash: str
    root: str
    previous: str | None = None

    @property
    def title(self) -> str:
        return str(self.data.get("title", {}).get("text", ""))

    @property
    def blocks(self) -> list[Json]:
        return list(self.data["blocks"])

    @property
    def content(self) -> str:
        return "\n".join([self.title, *_texts(self.blocks)])


@dataclass
class Usergroup:
    """A user group such as @deployers."""

    id: str
    handle: str
    users: list[str]


class World:
    """One workspace with our app installed."""

    def __init__(self, *, team: str, enterprise: str | None, payload_team: PayloadTeam) -> None:
        self.team = team
        self.enterprise = enterprise
        self.payload_team: PayloadTeam = payload_team
        self.bot_user, self.bot_id, self.app_id = "U_BOT", "B_BOT", "A_APP"
        self.clock = Clock()
        self.users: dict[str, FakeUser] = {}
        self.channels: dict[str, Channel] = {}
        self.usergroups: dict[str, Usergroup] = {}
        self.messages: list[Message] = []
        self.stacks: dict[str, list[View]] = {}
        self.homes: dict[str, View] = {}
        self.suggested: dict[str, list[Json]] = {}
        self.errors: list[tuple[str, str]] = []
        self._numbers = itertools.count(1)
        self._last_ts = 0.0
        self.users[self.bot_user] = FakeUser(self.bot_user, team, "countersign", bot=True)

    def mint(self, prefix: str) -> str:
        """Return a new id such as `D0001`."""
        return f"{prefix}{next(self._numbers):04d}{random.randrange(16**6):06X}"

    def mint_ts(self) -> str:
        """Return a message timestamp: unique and rising, as Slack's are."""
        self._last_ts = max(self.clock.now(), self._last_ts + 0.000001)
        return f"{self._last_ts:.6f}"

    def user(self, user_id: str) -> FakeUser:
        if user_id not in self.users:
            raise SlackSays("user_not_found")
        return self.users[user_id]

    def channel(self, channel_id: str) -> Channel:
        if channel_id not in self.channels:
            raise SlackSays("channel_not_found")
        return self.channels[channel_id]

    def direct(self, user_id: str) -> Channel:
        """Return the direct channel between the bot and a person, making it when needed."""
        user = self.user(user_id)
        if user.deleted:
            raise SlackSays("user_disabled")
        for channel in self.channels.values():
            if channel.direct_with == user_id:
                return channel
        channel = Channel(self.mint("D"), "directmessage", {user_id}, private=True, direct_with=user_id)
        self.channels[channel.id] = channel
        return channel

    def message(self, channel_id: str, ts: str) -> Message:
        for message in self.messages:
            if (message.channel, message.ts) == (channel_id, ts) and not message.deleted:
                return message
        raise SlackSays("message_not_found")

    def add_message(self, channel: Channel, text: str, blocks: list[Json], **more: Any) -> Message:
        more.setdefault("sender", self.bot_user)
        message = Message(channel.id, self.mint_ts(), text, self.complete(blocks), **more)
        self.messages.append(message)
        return message

    def complete(self, blocks: list[Json]) -> list[Json]:
        """Return blocks with the ids that Slack makes up where the app gave none."""
        blocks = deepcopy(blocks)
        for block in blocks:
            block.setdefault("block_id", self.mint("b"))
        for element in elements(blocks):
            if element["type"] != "image":
                element.setdefault("action_id", self.mint("a"))
        return blocks

    def make_view(self, user_id: str, data: Json, *, above: View | None = None) -> View:
        view_id = self.mint("V")
        data = {**data, "blocks": self.complete(data["blocks"])}
        root, previous = (above.root, above.id) if above else (view_id, None)
        return View(view_id, user_id, data, self.mint("h"), root, previous)

    def saw_error(self, user_id: str, what: str) -> None:
        self.errors.append((user_id, what))


def elements(blocks: list[Json]) -> list[Json]:
    """Return the interactive elements of blocks, in reading order."""
    found: list[Json] = []
    for block in blocks:
        inner = block.get("elements", []) if block["type"] == "actions" else []
        found += [element for element in (*inner, block.get("accessory"), block.get("element")) if element]
    return found


def _texts(value: Any) -> list[str]:
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    if not isinstance(value, dict):
        return []
    own = [value["text"]] if isinstance(value.get("text"), str) else []
    return own + [text for item in value.values() for text in _texts(item)]
