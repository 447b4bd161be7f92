"""A Slack for tests, on 127.0.0.1: the real HTTP and websocket paths, real signatures, and every way to fail on demand."""

from tests.fakes.slack.actors import Actor
from tests.fakes.slack.couriers import Outcome
from tests.fakes.slack.servers import APP_TOKEN, BOT_TOKEN, SIGNING_SECRET, SlackFake
from tests.fakes.slack.signing import SignedRequest, sign
from tests.fakes.slack.worlds import FakeUser, Message, SlackForbids, View

ClickResult = Outcome

__all__ = [
    "APP_TOKEN",
    "BOT_TOKEN",
    "SIGNING_SECRET",
    "Actor",
    "ClickResult",
    "FakeUser",
    "Message",
    "Outcome",
    "SignedRequest",
    "SlackFake",
    "SlackForbids",
    "View",
    "sign",
]
