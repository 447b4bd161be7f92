"""The terminal room shows a card once, then what changed, and never gives one number to two buttons."""

from collections.abc import Iterable
from typing import Any

import pytest

from bot.cli.inputs import Terminal
from bot.cli.views import View


class Paper(Terminal):
    """A terminal that keeps what is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def show(self, lines: Iterable[str]) -> None:
        self.lines += [line for line in lines if line]

    def taken(self) -> list[str]:
        taken, self.lines = self.lines, []
        return taken


@pytest.fixture
def paper() -> Paper:
    return Paper()


def message(name: str, version: int, *, text: str, intents: tuple[str, ...]) -> dict[str, Any]:
    buttons = [{"label": one.title(), "intent": one, "target": name} for one in intents]
    card = {"title": f"#{name}", "text": text, "fields": [], "code": "", "footer": "", "buttons": buttons}
    return {"id": name, "version": version, "changed": str(version), "card": card, "reply": None}


def test_only_news_is_shown_again(paper: Paper) -> None:
    view = View(paper)
    view.message(message("1", 1, text="planning", intents=("cancel",)))
    assert paper.taken() == ["#1", "  planning", "  [1] Cancel"]
    view.message(message("1", 1, text="planning", intents=("cancel",)))
    assert paper.taken() == []
    view.message(message("1", 2, text="running", intents=("cancel",)))
    assert paper.taken() == ["#1", "  running"]


def test_what_is_said_beneath_a_card_is_shown_once_each(paper: Paper) -> None:
    view = View(paper)
    card = message("1", 1, text="waiting", intents=("approve",))
    view.message(card)
    paper.taken()
    view.message(card | {"changed": "2", "beneath": [{"text": "lin says: why?"}]})
    assert paper.taken() == ["#1", "  ↳ lin says: why?"]
    view.message(card | {"changed": "3", "beneath": [{"text": "lin says: why?"}, {"text": "ada says: \x1b[31mwell\u202e"}]})
    (_, line) = paper.taken()
    assert line.startswith("  ↳ ada says: ")
    assert "\x1b" not in line


def test_a_number_stays_with_its_button(paper: Paper) -> None:
    view = View(paper)
    view.message(message("1", 1, text="waiting", intents=("approve", "deny")))
    view.message(message("2", 1, text="waiting", intents=("approve",)))
    paper.taken()
    view.message(message("1", 2, text="running", intents=("cancel",)))
    assert paper.taken() == ["#1", "  running", "  [4] Cancel"]
    assert view.button(1) is None
    assert (view.button(3) or {})["target"] == "2"
    assert (view.button(4) or {})["intent"] == "cancel"


def test_another_channel_begins_at_one(paper: Paper) -> None:
    view = View(paper)
    view.message(message("1", 1, text="waiting", intents=("approve",)))
    view.clear()
    view.message(message("2", 1, text="waiting", intents=("approve",)))
    assert (view.button(1) or {})["target"] == "2"


def test_a_reply_is_for_once(paper: Paper) -> None:
    view = View(paper)
    one = {"id": "r", "version": 1, "changed": "1", "card": None, "reply": {"text": "Nothing waits for you.", "code": "", "card": None}}
    view.message(one)
    view.message(one)
    assert paper.taken() == ["Nothing waits for you."]
