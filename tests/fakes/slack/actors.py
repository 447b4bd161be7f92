"""People in front of Slack's own client: they can do what it lets them do, and no more."""

from collections.abc import Mapping
from typing import Any

from tests.fakes.slack import payloads
from tests.fakes.slack.couriers import Courier, Outcome
from tests.fakes.slack.forms import fill, pick
from tests.fakes.slack.worlds import Channel, FakeUser, Json, Message, SlackForbids, View, World, elements


class Actor:
    """One person; the same acts go over HTTP or Socket Mode, whichever the fake was made with."""

    def __init__(self, world: World, courier: Courier, user: FakeUser) -> None:
        self.id = user.id
        self._world, self._courier, self._user = world, courier, user

    async def slash(self, command: str, text: str = "", *, channel: str, thread: str | None = None) -> Outcome:
        """Type a slash command. Raises SlackForbids in a thread, and for people of other companies."""
        if thread is not None:
            raise SlackForbids("Slack has no slash commands in threads")
        self._must_be_ours("use its slash commands")
        place = self._place(channel)
        payload = payloads.slash(
            self._world,
            self._user,
            command=command,
            text=text,
            channel=place,
            trigger=self._courier.triggers.issue(self.id),
            response_url=self._courier.response_url(place, self._user),
        )
        return await self._courier.slash(self._user, payload)

    async def click(self, target: Message | View, label: str, *, confirmed: bool = True) -> Outcome:
        """Press the button with that label. Raises SlackForbids when it is not there now, or the person cannot see it.

        With `confirmed=False` the person reads the button's confirm dialog and backs out.
        """
        element = self._element(target, lambda item: item["type"] == "button" and item["text"]["text"] == label, f"a button {label!r}")
        confirm = element.get("confirm")
        if confirm and not confirmed:
            return Outcome(None, confirm=confirm)
        keys = ("type", "action_id", "text", "value", "style", "url")
        outcome = await self._act(target, {key: element[key] for key in keys if key in element} | _block_of(target, element))
        return Outcome(**{**vars(outcome), "confirm": confirm})

    async def choose(self, target: Message | View, action_id: str, value: str) -> Outcome:
        """Choose an option of a select or an overflow menu, by value or label."""
        element = self._element(target, lambda item: item.get("action_id") == action_id, f"an element {action_id!r}")
        key = "selected_user" if element["type"] == "users_select" else "selected_option"
        chosen: Any = value if element["type"] == "users_select" else pick(element, value, self._world.suggested)
        return await self._act(target, {"type": element["type"], "action_id": action_id, key: chosen} | _block_of(target, element))

    async def suggest(self, target: Message | View, action_id: str, query: str) -> Outcome:
        """Type into a select whose options the app supplies; `options` of the outcome can then be chosen."""
        element = self._element(target, lambda item: item.get("action_id") == action_id, f"an element {action_id!r}")
        if len(query) < element.get("min_query_length", 3):
            raise SlackForbids(f"Slack asks for options from {element.get('min_query_length', 3)} characters on")
        return await self._courier.suggest(self._user, payloads.suggestion(self._world, self._user, target, element=element, query=query))

    async def submit(self, view: View, values: Mapping[str, Any] | None = None) -> Outcome:
        """Fill in and submit the view on top, each field named by label, block_id or action_id."""
        self._must_be_on_top(view)
        state = fill(view, values or {}, suggested=self._world.suggested)
        trigger = self._courier.triggers.issue(self.id)
        payload = payloads.submission(self._world, self._user, view, state=state, trigger=trigger)
        return await self._courier.submit(self._user, view, payload)

    async def close(self, view: View, *, all_of_them: bool = False) -> Outcome:
        """Close the view on top, or the whole stack; the app hears of it only if the view asked for that."""
        self._must_be_on_top(view)
        stack = self._world.stacks[self.id]
        closed = stack[:] if all_of_them else stack[-1:]
        del stack[-len(closed) :]
        outcome = Outcome(None)
        for gone in reversed(closed):
            if gone.data.get("notify_on_close"):
                payload = payloads.closing(self._world, self._user, gone, cleared=all_of_them)
                outcome = await self._courier.interact(self._user, payload)
        return outcome

    async def shortcut(self, message: Message, callback: str) -> Outcome:
        """Use a message shortcut; not for people of other companies."""
        self._must_be_ours("use its message shortcuts")
        place = self._sees(message)
        payload = payloads.message_shortcut(
            self._world,
            self._user,
            message,
            callback=callback,
            trigger=self._courier.triggers.issue(self.id),
            response_url=self._courier.response_url(place, self._user, original=message),
        )
        return await self._courier.interact(self._user, payload)

    async def global_shortcut(self, callback: str) -> Outcome:
        """Use a global shortcut."""
        trigger = self._courier.triggers.issue(self.id)
        return await self._courier.interact(
            self._user, payloads.global_shortcut(self._world, self._user, callback=callback, trigger=trigger)
        )

    def say(self, channel: str, text: str, *, thread: str | None = None) -> Message:
        """Write a message that does not concern the app."""
        return self._world.add_message(self._place(channel), text, [], sender=self.id, thread=thread)

    async def mention(self, channel: str, text: str, *, thread: str | None = None) -> Outcome:
        """Write `@Countersign text`; the app hears of it only in channels it is in."""
        place = self._place(channel)
        message = self.say(channel, f"<@{self._world.bot_user}> {text}", thread=thread)
        if not place.bot_in:
            return Outcome(None)
        body: Json = {
            "type": "app_mention",
            "user": self.id,
            "team": self._user.team,
            "text": message.text,
            "ts": message.ts,
            "event_ts": message.ts,
            "channel": channel,
        }
        if thread is not None:
            body["thread_ts"] = thread
        return await self._courier.event(self._user, body, shared=place.shared)

    async def write_directly(self, text: str) -> Outcome:
        """Write to the app in the direct channel."""
        place = self._world.direct(self.id)
        message = self.say(place.id, text)
        body = {"type": "message", "channel_type": "im", "user": self.id, "team": self._user.team, "text": text}
        return await self._courier.event(self._user, {**body, "ts": message.ts, "event_ts": message.ts, "channel": place.id})

    async def leave(self) -> Outcome:
        """Be deactivated by an admin of the workspace; the app is told, if it listens."""
        self._user.deleted = True
        user: Json = {"id": self.id, "team_id": self._user.team, "deleted": True}
        body: Json = {"type": "user_change", "user": user, "event_ts": f"{self._world.clock.now():.6f}"}
        return await self._courier.event(self._user, body)

    async def open_home(self) -> Outcome:
        """Open the app's Home tab."""
        self._must_be_active()
        body: Json = {"type": "app_home_opened", "user": self.id, "tab": "home", "channel": self._world.direct(self.id).id}
        home = self._world.homes.get(self.id)
        if home is not None:
            body["view"] = {**home.data, "id": home.id, "hash": home.hash}
        return await self._courier.event(self._user, body | {"event_ts": f"{self._world.clock.now():.6f}"})

    async def forge_click(
        self, channel: str, ts: str, *, action_id: str, value: str, block_id: str = "forged", secret: str | None = None
    ) -> Outcome:
        """Send a click that no message offers, as somebody would who holds the signing secret (or, given `secret`, another one)."""
        place = self._world.channels.get(channel) or Channel(channel, "forged", {self.id})
        message = Message(channel, ts, "", [], self._world.bot_user)
        action = {"type": "button", "action_id": action_id, "block_id": block_id, "value": value, "text": _plain("Approve")}
        self._world.channels.setdefault(channel, place)
        payload = payloads.on_message(
            self._world,
            self._user,
            message,
            action=action,
            trigger=self._courier.triggers.issue(self.id),
            response_url=self._courier.response_url(place, self._user),
        )
        request = self._courier.signed("interactive", payload)
        answer = await self._courier.send(request.signed_with(secret) if secret is not None else request)
        return Outcome(answer.status, error=answer.failure, text=answer.text, request=request)

    async def _act(self, target: Message | View, action: Json) -> Outcome:
        trigger = self._courier.triggers.issue(self.id)
        if isinstance(target, View):
            payload = payloads.on_view(self._world, self._user, target, action=action, trigger=trigger)
        else:
            url = self._courier.response_url(self._world.channels[target.channel], self._user, original=target)
            payload = payloads.on_message(self._world, self._user, target, action=action, trigger=trigger, response_url=url)
        return await self._courier.interact(self._user, payload)

    def _element(self, target: Message | View, wanted: Any, what: str) -> Json:
        if isinstance(target, Message):
            self._sees(target)
        elif target is not self._world.homes.get(self.id):
            self._must_be_on_top(target)
        for element in elements(target.blocks):
            if wanted(element):
                return element
        offered = [element.get("text", {}).get("text") or element.get("action_id") for element in elements(target.blocks)]
        raise SlackForbids(f"{self.id} cannot use {what}: there is none now; offered: {offered}")

    def _sees(self, message: Message) -> Channel:
        place = self._place(message.channel)
        if message.deleted or message.ephemeral_to not in (None, self.id):
            raise SlackForbids(f"{self.id} cannot see that message")
        return place

    def _place(self, channel: str) -> Channel:
        self._must_be_active()
        place = self._world.channel(channel)
        if self.id not in place.members and (place.private or self._user.guest or self._user.team != self._world.team):
            raise SlackForbids(f"{self.id} cannot see {place.name}")
        return place

    def _must_be_on_top(self, view: View) -> None:
        self._must_be_active()
        stack = self._world.stacks.get(self.id)
        if not stack or stack[-1] is not view:
            raise SlackForbids(f"{self.id} does not have that view in front")

    def _must_be_ours(self, doing: str) -> None:
        self._must_be_active()
        if self._user.team != self._world.team:
            raise SlackForbids(f"only the team that installed the app can {doing}; {self.id} is of {self._user.team}")

    def _must_be_active(self) -> None:
        if self._user.deleted:
            raise SlackForbids(f"{self.id} is deactivated")


def _block_of(target: Message | View, element: Json) -> Json:
    return next({"block_id": block["block_id"]} for block in target.blocks if element in elements([block]))


def _plain(text: str) -> Json:
    return {"type": "plain_text", "text": text}
