"""Cards in a terminal: readable, and without anything that a terminal would obey."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.cli.cards import card_lines, inert, pressable, reply_lines, run_line

CARD: dict[str, Any] = {
    "title": "#12 deploy api v2",
    "tone": "waiting",
    "text": "api in prod: v1 → v2\nCannot be undone: restart",
    "fields": [{"label": "Asked by", "value": "ada"}, {"label": "Approvals", "value": "1 of 2: lin"}],
    "code": "· release\n\n· check",
    "footer": "run 01",
    "buttons": [{"label": "Approve", "intent": "approve", "target": "01"}, {"label": "Deny", "intent": "deny", "target": "01"}],
}


def test_a_card_is_ten_calm_lines() -> None:
    assert card_lines(CARD, numbers=[3, 4]) == [
        "#12 deploy api v2",
        "  api in prod: v1 → v2",
        "  Cannot be undone: restart",
        "  Asked by   ada",
        "  Approvals  1 of 2: lin",
        "  │ · release",
        "  │",
        "  │ · check",
        "  run 01",
        "  [3] Approve  [4] Deny",
    ]


def test_colours_only_where_they_are_wanted() -> None:
    assert card_lines(CARD, colour=True)[0] == "\x1b[1;33m#12 deploy api v2\x1b[0m"
    assert not any("\x1b" in line for line in card_lines(CARD))


def test_a_reply_shows_its_lines() -> None:
    assert reply_lines({"text": "You are ada.", "code": "groups  developers", "card": None}) == ["You are ada.", "  groups  developers"]


@pytest.mark.parametrize("text", ["\x1b]0;owned\x07", "\x1b[2J", "a\rb", "a\u202eb", "a\x9bb", "\x00"])
def test_what_a_terminal_would_obey_is_replaced(text: str) -> None:
    card = CARD | {"title": text, "text": text, "code": text, "footer": text, "fields": [{"label": text, "value": text}]}
    shown = "\n".join(card_lines(card))
    assert "\N{REPLACEMENT CHARACTER}" in shown
    assert all(one.isprintable() or one == "\n" for one in shown)


@given(st.text())
def test_inert_text_obeys_nobody(text: str) -> None:
    assert not any(ord(one) < 32 and one != "\n" for one in inert(text))
    assert not {"\x7f", "\x9b", "\u202e", "\u2066"} & set(inert(text))


def test_a_run_is_one_line_whatever_its_arguments_say() -> None:
    run = {"number": 7, "status": "awaiting_approval", "asker": "ada", "command": "deploy", "arguments": {"note": "a\nb"}, "dry_run": True}
    assert run_line(run) == "#7     awaiting approval  ada         deploy note=a b (dry run)"


def test_a_terminal_numbers_only_what_it_can_press() -> None:
    card = {
        "title": "#7",
        "buttons": [
            {"label": "Approve", "only": "browser"},
            {"label": "Decide in the browser", "link": "http://localhost:8000/runs/7"},
            {"label": "Cancel"},
        ],
    }
    assert [one["label"] for one in pressable(card)] == ["Cancel"]
    lines = card_lines(card, numbers=[3])
    assert "  Decide in the browser: http://localhost:8000/runs/7" in lines
    assert lines[-1] == "  [3] Cancel"
