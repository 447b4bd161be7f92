"""Who sent a payload, from where, and how an answer gets back to them alone."""

from collections.abc import Mapping
from typing import Any, Self

from countersign.invocations import Place
from countersign.records import value

Json = Mapping[str, Any]


@value
class Source:
    """`claimed` is the team that the payload says the person is of; `team` is part of the idempotency key. `home` means App Home."""

    user: str
    claimed: str
    team: str
    channel: str = ""
    thread: str = ""
    shared: bool = False
    response_url: str = ""
    home: bool = False

    @classmethod
    def of_slash(cls, form: Json) -> Self:
        """Slash commands have no thread, and Slack lets only members of the installing team use them."""
        team = text_at(form, "team_id")
        return cls(text_at(form, "user_id"), team, team, text_at(form, "channel_id"), response_url=text_at(form, "response_url"))

    @classmethod
    def of_interaction(cls, payload: Json) -> Self:
        """`payload.team` may be the installer's, the actor's or null; only `user.team_id` is the actor's own."""
        claimed = text_at(payload, "user", "team_id")
        return cls(
            user=text_at(payload, "user", "id"),
            claimed=claimed or text_at(payload, "team", "id"),
            team=text_at(payload, "team", "id") or claimed,
            channel=text_at(payload, "channel", "id") or text_at(payload, "container", "channel_id"),
            thread=text_at(payload, "container", "thread_ts") or text_at(payload, "message", "thread_ts"),
            response_url=text_at(payload, "response_url"),
            home=text_at(payload, "view", "type") == "home",
        )

    @classmethod
    def of_event(cls, envelope: Json) -> Self:
        """An event names the actor's own team only when it is a foreign one, under one of two names."""
        team = text_at(envelope, "team_id")
        foreign = text_at(envelope, "event", "user_team") or text_at(envelope, "event", "source_team")
        return cls(
            user=text_at(envelope, "event", "user"),
            claimed=foreign or text_at(envelope, "event", "team") or team,
            team=team,
            channel=text_at(envelope, "event", "channel"),
            thread=text_at(envelope, "event", "thread_ts"),
            shared=envelope.get("is_ext_shared_channel") is True,
        )

    @property
    def place(self) -> Place:
        return Place("slack", self.team, self.channel, self.thread, self.shared)

    def carried(self) -> dict[str, str]:
        """What a form carries, so that its answer still knows where it was opened."""
        marks = {"shared": "yes" if self.shared else "", "home": "yes" if self.home else ""}
        return {"channel": self.channel, "thread": self.thread, "response_url": self.response_url, **marks}


def text_at(payload: Json, *path: str) -> str:
    """The text at this path; empty when there is none or it is something else."""
    found: Any = payload
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) else ""
