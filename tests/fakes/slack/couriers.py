"""Carries what a person does to the app, and takes what the app answers at once."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.slack import payloads
from tests.fakes.slack.chat_methods import content_of
from tests.fakes.slack.delivering import Answer, Events, Transport, form
from tests.fakes.slack.faults import Hooks, Triggers
from tests.fakes.slack.signing import SignedRequest
from tests.fakes.slack.view_methods import checked_view, push, replace
from tests.fakes.slack.worlds import Channel, FakeUser, Json, Message, SlackSays, View, World

FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Outcome:
    """What came of one act of a person. `status` None: nothing was sent, or nothing came back.

    `error` is what the person saw go wrong; `errors` are a form's complaints by block_id; `options` what a suggestion offered;
    `confirm` the dialog shown before a click; `request` can be replayed.
    """

    status: int | None
    error: str | None = None
    text: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)
    options: list[Json] = field(default_factory=list)
    confirm: Json | None = None
    request: SignedRequest | None = None
    ephemerals: Callable[[], list[Message]] = list

    @property
    def ok(self) -> bool:
        """Whether the person saw no error."""
        return self.error is None and not self.errors

    @property
    def ephemeral(self) -> Message | None:
        """The newest message shown to that person alone since, if any; it may come a moment after the act."""
        shown = self.ephemerals()
        return shown[-1] if shown else None


class Courier:
    """Signs, sends, and applies the immediate answer."""

    def __init__(self, world: World, *, triggers: Triggers, hooks: Hooks, events: Events, secret: str) -> None:
        self.transport: Transport | None = None
        self.secret = secret
        self.base = ""
        self.triggers, self.events = triggers, events
        self._world, self._hooks = world, hooks

    def response_url(self, channel: Channel, user: FakeUser, *, original: Message | None = None) -> str:
        """Issue a response_url that leads to this fake."""
        return self.base + self._hooks.issue(channel, user.id, original=original)

    async def send(self, request: SignedRequest) -> Answer:
        """Deliver a request as it is: signed, forged or stale."""
        return await self._way().send(request)

    async def slash(self, user: FakeUser, payload: Json) -> Outcome:
        """Deliver a slash command; an answer with content is shown to the person."""
        request = self.signed("slash_commands", payload)
        answer, outcome = await self._deliver(user, request, payload["command"])
        if answer.failure is None and (answer.body or answer.text):
            self._show(user, self._world.channels[payload["channel_id"]], answer.body or {"text": answer.text})
        return outcome

    async def interact(self, user: FakeUser, payload: Json) -> Outcome:
        """Deliver a click or a shortcut; Slack ignores the body of the answer."""
        _, outcome = await self._deliver(user, self.signed("interactive", payload), payload["type"])
        return outcome

    async def suggest(self, user: FakeUser, payload: Json) -> Outcome:
        """Ask the app for options; more than 100 are an error."""
        answer, outcome = await self._deliver(user, self.signed("interactive", payload), payload["type"])
        options = [option for group in [answer.body, *answer.body.get("option_groups", [])] for option in group.get("options", [])]
        if len(options) > 100:
            return self._error(user, outcome, "block_suggestion failed: more than 100 options")
        self._world.suggested[payload["action_id"]] = options
        return _with(outcome, options=options)

    async def submit(self, user: FakeUser, view: View, payload: Json) -> Outcome:
        """Deliver a form and do what the answer's response_action says; an empty answer closes the view."""
        answer, outcome = await self._deliver(user, self.signed("interactive", payload), "view_submission")
        if answer.failure is not None:
            return outcome
        try:
            errors = self._respond(user, view, answer.body)
        except SlackSays as error:
            return self._error(user, outcome, f"view_submission failed: {error.code} {' '.join(error.messages)}")
        return _with(outcome, errors=errors)

    async def event(self, user: FakeUser, body: Json, *, shared: bool = False) -> Outcome:
        """Deliver an event, with its retries."""
        request = self.signed("events_api", payloads.event(self._world, user, body, shared=shared))
        answer = await self.events.deliver(self._way(), request)
        return Outcome(answer.status, request=request)

    def signed(self, kind: str, payload: Json) -> SignedRequest:
        """Return the request that carries a payload of that Socket Mode kind over HTTP."""
        if kind == "slash_commands":
            body, content_type = form(payload), FORM
        elif kind == "interactive":
            body, content_type = form({"payload": json.dumps(payload)}), FORM
        else:
            body, content_type = json.dumps(payload).encode(), "application/json"
        return SignedRequest.of(kind, payload, body=body, content_type=content_type, secret=self.secret)

    def _way(self) -> Transport:
        if self.transport is None:
            raise RuntimeError("the fake is not started, or has no target_url")
        return self.transport

    async def _deliver(self, user: FakeUser, request: SignedRequest, what: str) -> tuple[Answer, Outcome]:
        shown_before = len(self._world.messages)
        answer = await self._way().send(request)

        def ephemerals() -> list[Message]:
            later = self._world.messages[shown_before:]
            return [message for message in later if message.ephemeral_to == user.id and not message.deleted]

        outcome = Outcome(answer.status, text=answer.text, request=request, ephemerals=ephemerals)
        if answer.failure is None:
            return answer, outcome
        word = "operation_timeout" if answer.failure == "http_timeout" else "dispatch_failed"
        return answer, self._error(user, outcome, f"{what} failed: {word}")

    def _show(self, user: FakeUser, channel: Channel, body: Json) -> None:
        try:
            text, blocks = content_of(body)
        except SlackSays as error:
            self._world.saw_error(user.id, f"slash command failed: {error.code}")
            return
        alone = None if body.get("response_type") == "in_channel" else user.id
        self._world.add_message(channel, text, blocks, ephemeral_to=alone)

    def _respond(self, user: FakeUser, view: View, body: Json) -> Mapping[str, str]:
        stack = self._world.stacks[user.id]
        action: Any = body.get("response_action")
        if action == "errors":
            inputs = {block["block_id"] for block in view.blocks if block["type"] == "input"}
            if not body.get("errors") or not set(body["errors"]) <= inputs:
                raise SlackSays("invalid_errors", f"errors must name input blocks, not {sorted(body.get('errors', {}))}")
            return dict(body["errors"])
        if action == "update":
            replace(self._world, view, checked_view(body.get("view"), "modal"))
        elif action == "push":
            push(self._world, user.id, checked_view(body.get("view"), "modal"))
        elif action == "clear":
            stack.clear()
        elif action is None:
            stack.pop()
        else:
            raise SlackSays("unknown_response_action", str(action))
        return {}

    def _error(self, user: FakeUser, outcome: Outcome, error: str) -> Outcome:
        self._world.saw_error(user.id, error)
        return _with(outcome, error=error)


def _with(outcome: Outcome, **changes: Any) -> Outcome:
    return Outcome(**{**vars(outcome), **changes})
