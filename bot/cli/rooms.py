"""chat: the terminal room. It shows a channel's cards, keeps them current, and presses their buttons by number."""

import time
from collections.abc import Mapping
from contextlib import closing
from typing import Annotated, Any, Final

import typer

from .asking import RESTING
from .cards import inert
from .clients import Client, new_key
from .endings import Failed, WrongCall
from .feeds import Feed
from .identities import Identity, demo_tokens, hub_url, identify, is_local
from .inputs import Terminal
from .options import As
from .views import View

QUIET_SECONDS: Final = 0.5
PATIENCE_SECONDS: Final = 30.0
HELP: Final = (
    "Type a command, for instance: /help",
    "A number presses the button with that number. Besides:",
    "  /go CHANNEL   look at another channel (/go @ shows your direct messages)",
    "  /as PERSON    be somebody else of the demo's people",
    "  /quit         leave",
)


def chat(
    *,
    channel: Annotated[str, typer.Option(help="The channel to begin in.")] = "ops",
    as_person: As = "",
) -> None:
    """Open the terminal room: commands, cards and their buttons, live. Lines may also come from a pipe."""
    if not as_person and is_local(hub_url()):
        # In the demo nobody has to log in: whoever says nothing is the first of the cast.
        as_person = next(iter(sorted(demo_tokens())), "")
    with closing(Room(identify(as_person), Terminal())) as room:
        room.enter(channel)
        room.run()


class Room:
    """One person's place in the room. Raises Failed and WrongCall as the client does."""

    def __init__(self, identity: Identity, terminal: Terminal) -> None:
        self._terminal = terminal
        self._view = View(terminal)
        self._feed: Feed | None = None
        self._channel = ""
        self._touched: set[str] = set()
        self._acted = 0.0
        self._become(identity)

    def run(self) -> None:
        """Reads lines until the end of the input or /quit. A script's next line waits until the last one has had its effect."""
        if self._terminal.is_interactive:
            self._terminal.show([*HELP, ""])
        while (line := self._terminal.ask(f"{self._person} {self._place}> ")) is not None:
            try:
                if not self._obey(line.strip()):
                    return
                if not self._terminal.is_interactive:
                    self._wait_for_quiet()
            except (Failed, WrongCall) as error:
                self._terminal.show([inert(error.format_message())])

    def enter(self, channel: str) -> None:
        """Shows a channel and follows it; raises WrongCall when there is none of this name."""
        name = channel.removeprefix("#").removeprefix("@")
        if name not in self._channels:
            raise WrongCall(f"There is no channel {channel!r}; there are {', '.join(f'#{one}' if one else '@' for one in self._channels)}.")
        self._leave()
        self._channel, self._acted = name, time.monotonic()
        found = self._client.get("/room/messages", channel=name)
        self._terminal.show([f"— {self._place}, as {self._person} —"])
        for message in found["items"]:
            self._view.message(message)
        self._feed = Feed(self._identity, name, after=found["next"], show=self._view.message)

    def close(self) -> None:
        self._leave()
        self._client.close()

    @property
    def _place(self) -> str:
        return f"#{self._channel}" if self._channel else "@direct"

    def _leave(self) -> None:
        if self._feed:
            self._feed.stop()
        self._view.clear()

    def _become(self, identity: Identity) -> None:
        client = Client(identity)
        found = client.get("/room/channels")
        self._identity, self._client, self._person = identity, client, str(found["person"])
        self._channels = [str(one["name"]) for one in found["items"]]

    def _obey(self, line: str) -> bool:
        """Does what one line says; False when it says to leave."""
        word, _, rest = line.partition(" ")
        if word == "/quit":
            return False
        if word == "/go":
            self.enter(rest.strip())
        elif word == "/as":
            old = self._client
            self._become(identify(rest.strip() or " "))
            old.close()
            self.enter(self._channel if self._channel in self._channels else "")
        elif line.isdecimal():
            self._press(int(line))
        elif line:
            self._answered(self._client.post("/room/say", {"channel": self._channel, "text": line, "key": new_key()}))
        return True

    def _answered(self, answer: Mapping[str, Any]) -> None:
        self._acted = time.monotonic()
        if answer.get("run"):
            self._touched.add(str(answer["run"]))
        self._view.reply(answer["reply"])
        if answer.get("form"):
            self._fill(answer["form"])

    def _fill(self, form: Mapping[str, Any]) -> None:
        """Asks the questions of a form one by one; an empty line keeps what is there."""
        carried: dict[str, str] = dict(form.get("carried", {}))
        answers: dict[str, str] = {}
        for one in form["inputs"]:
            given = self._asked(one)
            if given is None:
                self._terminal.show(["Nothing was sent."])
                return
            answers[str(one["name"])] = given
        if form.get("intent", "submit") != "submit":
            self._pressed({"intent": form["intent"], "target": form["target"], "digest": carried.get("digest", ""), "answers": answers})
            return
        body = {"channel": self._channel, "command": form["target"], "answers": {**carried, **answers}, "key": new_key()}
        self._answered(self._client.post("/room/form", body))

    def _asked(self, one: Mapping[str, Any]) -> str | None:
        hints = [" or ".join(one.get("choices", ())) or one.get("hint", ""), "" if one.get("required", True) else "may be empty"]
        hint = ", ".join(inert(part) for part in hints if part)
        initial = str(one.get("initial", ""))
        prompt = f"{inert(one['label'])}{f' ({hint})' if hint else ''}{f' [{inert(initial)}]' if initial else ''}: "
        given = self._terminal.ask_secret(prompt) if one.get("kind") == "secret" else self._terminal.ask(prompt)
        return None if given is None else given.strip() or initial

    def _press(self, number: int) -> None:
        button = self._view.button(number)
        if button is None:
            raise WrongCall(f"There is no button {number} here.")
        if button.get("confirm") and (self._terminal.ask(f"{inert(button['confirm'])} [y/N] ") or "").strip().lower() not in ("y", "yes"):
            self._terminal.show(["Nothing was done."])
            return
        reason = (self._terminal.ask("Why? ") or "").strip() if button.get("ask_reason") else ""
        body = {name: button.get(name, "") for name in ("intent", "target", "digest")}
        self._pressed({**body, "reason": reason})

    def _pressed(self, body: Mapping[str, Any]) -> None:
        answer = self._client.post("/room/press", {**body, "key": new_key()})
        self._acted = time.monotonic()
        self._touched.add(str(body["target"]))
        self._answered({"reply": answer["reply"], "form": answer["reply"].get("form")})

    def _wait_for_quiet(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            self._touched = {one for one in self._touched if not self._rests(one)}
            heard = max(self._acted, self._feed.heard if self._feed else 0.0)
            if not self._touched and time.monotonic() - heard > QUIET_SECONDS:
                return
            time.sleep(0.05)

    def _rests(self, run: str) -> bool:
        """Whether the run waits for somebody or has ended; one that this person may not see is none of their business."""
        try:
            if self._client.get(f"/runs/{run}")["status"] not in RESTING:
                return False
        except Failed:
            return True
        self._acted = time.monotonic()
        return True
