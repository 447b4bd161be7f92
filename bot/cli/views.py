"""What the terminal room has shown: each card once, then only what changed of it, and the numbers of the buttons."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from .cards import card_lines, inert, is_coloured, pressable, reply_lines
from .inputs import Terminal


class View:
    """One look at one channel. Any thread may show something."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._colour = is_coloured()
        self._lock = threading.RLock()
        self._versions: dict[str, Any] = {}
        self._lines: dict[str, list[str]] = {}
        self._numbers: dict[tuple[str, str, str], int] = {}
        self._buttons: dict[int, Mapping[str, Any]] = {}

    def clear(self) -> None:
        """Forgets what was shown; numbers begin at 1 again."""
        with self._lock:
            for one in (self._versions, self._lines, self._numbers, self._buttons):
                one.clear()

    def message(self, message: Mapping[str, Any]) -> None:
        """Shows a message of the channel, or what is new in it; one that did not change is not shown again."""
        name, version = str(message["id"]), (message["version"], message["changed"])
        with self._lock:
            if self._versions.get(name) == version:
                return
            self._versions[name] = version
            if message.get("reply"):
                self.reply(message["reply"])
            elif message.get("card"):
                self._card(name, message["card"], [inert(one["text"]) for one in message.get("beneath", ())])

    def reply(self, reply: Mapping[str, Any]) -> None:
        """Shows what is for this person alone."""
        with self._lock:
            card = reply.get("card")
            numbers = self._numbered("", pressable(card)) if card else ()
            self._terminal.show(reply_lines(reply, numbers=numbers, colour=self._colour))

    def button(self, number: int) -> Mapping[str, Any] | None:
        """The button with this number, if it is still on a card."""
        with self._lock:
            return self._buttons.get(number)

    def _card(self, name: str, card: Mapping[str, Any], beneath: Sequence[str]) -> None:
        before = self._lines.get(name)
        numbers = self._numbered(name, pressable(card))
        lines = card_lines(card, numbers=numbers, colour=self._colour)
        lines[-1:-1] = [f"  ↳ {one}" for one in beneath]
        self._lines[name] = lines
        if before is None or before[-1] != lines[-1]:
            self._terminal.show([*lines, ""])
        elif news := [line for line in lines[1:] if line not in before]:
            self._terminal.show([lines[0], *news, ""])

    def _numbered(self, name: str, buttons: Sequence[Mapping[str, Any]]) -> list[int]:
        """A button keeps its number as long as it is on its card; a number is never given to another one."""
        gone = {key for key in self._numbers if key[0] == name} if name else set()
        numbers = []
        for one in buttons:
            key = (name, str(one["intent"]), str(one["target"]))
            number = self._numbers.setdefault(key, len(self._numbers) + 1)
            gone.discard(key)
            self._buttons[number] = one
            numbers.append(number)
        for key in gone:
            self._buttons.pop(self._numbers[key], None)
        return numbers
