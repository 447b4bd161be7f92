"""What we render, Slack takes, whatever people typed; and nothing that people typed means anything to Slack."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.replies import Button, Card, Field, Form, Input, Reply, Tone
from integrations.slack.blocks import card_blocks, fallback_text, form_view, home_view, notice_view, reason_view, reply_blocks
from integrations.slack.roundtrips import metadata, read_answers, read_button, read_metadata
from integrations.slack.texts import cleaned, code, code_pieces, inert, pieces
from integrations.slack.validation import problems, view_problems

HOSTILE = st.sampled_from(
    [
        "<!channel>",
        "<@U0ADA>",
        "<https://evil.test|click>",
        "&amp;",
        "```",
        "`````",
        "\x00\x1b[31m",
        "\u202eevil",
        "*b* _i_ ~s~",
        "\r\n",
    ]
)
WORDS = st.lists(st.one_of(HOSTILE, st.text(max_size=60)), max_size=6).map("".join)
# Long ones too, of signs that grow when they are escaped or taken apart.
TEXTS = st.one_of(WORDS, st.builds(lambda word, times: word * times, WORDS, st.integers(1, 120)))
BUTTONS = st.builds(
    Button,
    label=WORDS.map(lambda one: one[:75]),
    intent=st.sampled_from(["approve", "deny", "details", "resume_again"]),
    target=WORDS,
    digest=WORDS,
    style=st.sampled_from(["plain", "primary", "danger"]),
    confirm=TEXTS,
    ask_reason=st.booleans(),
)
CARDS = st.builds(
    Card,
    title=WORDS,
    fallback=WORDS,
    tone=st.sampled_from(Tone),
    text=TEXTS,
    fields=st.lists(st.builds(Field, label=WORDS, value=TEXTS), max_size=4).map(tuple),
    code=TEXTS,
    footer=TEXTS,
    buttons=st.lists(BUTTONS, max_size=4).map(tuple),
)
INPUTS = st.builds(
    Input,
    name=st.just("name"),
    label=WORDS,
    kind=st.sampled_from(["text", "choice", "secret", "long"]),
    required=st.booleans(),
    choices=st.one_of(st.lists(WORDS, max_size=4), st.integers(99, 250).map(lambda most: [f"choice {n}" for n in range(most)])).map(tuple),
    initial=TEXTS,
    hint=WORDS,
)
FORMS = st.builds(
    lambda title, inputs, submit: Form(
        title=title,
        intent="submit",
        target="deploy",
        inputs=tuple(one.model_copy(update={"name": f"name{n}"}) for n, one in enumerate(inputs)),
        submit_label=submit,
    ),
    WORDS,
    st.lists(INPUTS, max_size=4),
    WORDS,
)


@given(CARDS)
@settings(max_examples=150, deadline=None)
def test_any_card_is_taken_and_inert(card: Card) -> None:
    blocks = card_blocks(card)
    assert problems(blocks, surface="message") == []
    assert_inert(blocks)


@given(TEXTS, TEXTS, st.one_of(st.none(), CARDS), st.one_of(st.none(), FORMS))
@settings(max_examples=75, deadline=None)
def test_any_reply_is_taken_and_inert(text: str, lines: str, card: Card | None, form: Form | None) -> None:
    reply = Reply(text=text, code=lines, card=card, form=form)
    blocks = reply_blocks(reply)
    assert problems(blocks, surface="message") == []
    assert_inert(blocks)
    assert view_problems(notice_view(reply)) == []


@given(FORMS)
@settings(max_examples=75, deadline=None)
def test_any_form_is_taken(form: Form) -> None:
    assert view_problems(form_view(form, private_metadata="{}")) == []


@given(st.lists(CARDS, max_size=3), st.lists(CARDS, max_size=3))
@settings(max_examples=30, deadline=None)
def test_any_home_is_taken_and_inert(waiting: list[Card], mine: list[Card]) -> None:
    view = home_view(waiting * 8, mine * 8)
    assert view_problems(view) == []
    assert_inert(view["blocks"])


@given(TEXTS, st.integers(2, 80))
def test_a_cut_never_splits_an_entity(text: str, longest: int) -> None:
    cut = inert(text, longest)
    assert len(cut) <= longest
    assert re.fullmatch(r"(?:[^<>&]|&amp;|&lt;|&gt;)*", cut, re.DOTALL)


@given(TEXTS)
def test_pieces_lose_nothing_but_line_ends(text: str) -> None:
    whole = "".join(pieces(text, longest=300)).replace("\n", "")
    assert whole == cleaned(text).replace("\n", "") or not whole.strip()
    assert all(code(one)["text"].count("```") == 2 for one in code_pieces(text))


def test_a_button_comes_back_as_it_went() -> None:
    button = Button(label="Deny", intent="deny", target="run-1", digest="abc", ask_reason=True)
    [element] = card_blocks(Card(title="#1", fallback="", buttons=(button,)))[-1]["elements"]
    pressed = read_button(element)
    assert pressed is not None
    assert (pressed.intent, pressed.target, pressed.digest, pressed.ask) == ("deny", "run-1", "abc", "Deny")


@pytest.mark.parametrize(
    "action", [{}, {"action_id": "other", "value": "{}"}, {"action_id": "intent:deny:0"}, {"action_id": 7, "value": "x"}]
)
def test_what_is_not_our_button_is_not_read(action: dict[str, Any]) -> None:
    assert read_button(action) is None


def test_a_button_with_a_broken_value_has_no_target() -> None:
    pressed = read_button({"action_id": "intent:deny:0", "value": "[" * 5_000})
    assert pressed is not None
    assert pressed.target == ""


def test_a_fill_button_carries_what_was_typed_but_no_secret() -> None:
    inputs = (Input(name="service", label="service", initial="<api>"), Input(name="password", label="password", kind="secret", initial="s"))
    form = Form(title="deploy", intent="submit", target="deploy", inputs=inputs)
    [element] = reply_blocks(Reply(text="version: is required", form=form))[-1]["elements"]
    assert element["text"]["text"] == "Fill in"
    assert "<" not in element["value"]
    pressed = read_button(element)
    assert pressed is not None
    assert (pressed.intent, pressed.target, pressed.answers) == ("fill", "deploy", {"service": "<api>"})


def test_what_is_too_long_to_carry_is_typed_again() -> None:
    form = Form(title="deploy", intent="submit", target="deploy", inputs=(Input(name="text", label="text", initial="x" * 2_500),))
    [element] = reply_blocks(Reply(form=form))[-1]["elements"]
    assert json.loads(element["value"]) == {"target": "deploy"}


def test_a_card_too_long_for_slack_says_so() -> None:
    card = Card(title="#1", fallback="", code="line\n" * 10_000)
    assert "no room for the rest" in card_blocks(card)[-1]["elements"][0]["text"]
    assert "no room" not in str(card_blocks(Card(title="#1", fallback="", code="line\n" * 10), whole="https://hub.example.test/runs/1"))


def test_an_answer_too_long_for_slack_shows_the_way_to_all_of_it() -> None:
    blocks = reply_blocks(Reply(text="much", code="line\n" * 10_000), whole="https://hub.example.test/runs/1")
    assert "no room for the rest" in blocks[-2]["elements"][0]["text"]
    [element] = blocks[-1]["elements"]
    assert (element["text"]["text"], element["url"]) == ("Show all of it", "https://hub.example.test/runs/1")
    assert problems(blocks, surface="message") == []


def test_a_risky_button_asks_with_the_targets_name() -> None:
    button = Button(label="Approve", intent="approve", target="r", confirm="Approve deploy api v2?", style="primary")
    [element] = card_blocks(Card(title="#1", fallback="", buttons=(button,)))[-1]["elements"]
    assert element["confirm"]["text"]["text"] == "Approve deploy api v2?"


def test_the_reason_form_says_what_is_confirmed() -> None:
    view = reason_view(Button(label="Deny", intent="deny", target="r", confirm="Deny deploy?"), private_metadata=metadata(intent="deny"))
    assert view_problems(view) == []
    assert view["blocks"][0]["text"]["text"] == "Deny deploy?"
    assert read_metadata(view) == {"intent": "deny"}


def test_a_form_carries_only_so_much() -> None:
    with pytest.raises(ValueError, match="3000"):
        metadata(target="x" * 3_000)


def test_answers_come_back_by_name_and_empty_ones_not_at_all() -> None:
    values = {
        "service": {"answer": {"type": "static_select", "selected_option": {"value": "api"}}},
        "version": {"answer": {"type": "plain_text_input", "value": "v2 <&>"}},
        "note": {"answer": {"type": "plain_text_input", "value": None}},
        "odd": "not an element",
    }
    assert read_answers({"state": {"values": values}}) == {"service": "api", "version": "v2 <&>"}
    assert read_answers({}) == {}


def test_more_choices_than_a_select_takes_are_grouped_or_typed() -> None:
    many = Input(name="host", label="host", kind="choice", choices=tuple(f"h{n}" for n in range(150)), initial="h120")
    long = Input(name="path", label="path", kind="choice", choices=("x" * 151,))
    view = form_view(Form(title="t", intent="submit", target="c", inputs=(many, long)), private_metadata="")
    assert [len(group["options"]) for group in view["blocks"][0]["element"]["option_groups"]] == [100, 50]
    assert view["blocks"][0]["element"]["initial_option"]["value"] == "h120"
    assert view["blocks"][1]["element"]["type"] == "plain_text_input"


def test_home_shows_a_dozen_and_counts_the_rest() -> None:
    card = Card(title="#1 deploy", fallback="", fields=(Field(label="State", value="waiting"),))
    text = json.dumps(home_view([card] * 14, []))
    assert "and 2 more" in text
    assert "You have not asked for anything yet." in text
    assert "Guests" in json.dumps(home_view([], [], notice="Guests cannot use this."))


@pytest.mark.parametrize(
    ("reply", "said"),
    [(Reply(text="yes"), "yes"), (Reply(card=Card(title="t", fallback="line")), "line"), (Reply(code="x"), "Done.")],
)
def test_a_notification_says_one_line(reply: Reply, said: str) -> None:
    assert fallback_text(reply) == said


def assert_inert(value: Any) -> None:
    for text in strings(value):
        assert "<" not in text
        assert ">" not in text
        assert re.sub(r"&(amp|lt|gt);", "", text).count("&") == 0
        assert not re.search(r"[\x00-\x08\x0b-\x1f\u202a-\u202e]", text)


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for one in value.values():
            yield from strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)
    elif isinstance(value, str):
        yield value


def test_what_works_in_the_browser_alone_is_a_link_here() -> None:
    buttons = (
        Button(label="Approve", intent="approve", target="t", only="browser"),
        Button(label="Decide in the browser", intent="open", target="t", link="http://localhost:8000/runs/7"),
        Button(label="Cancel", intent="cancel", target="t"),
    )
    card = Card(title="t", fallback="f", buttons=buttons)
    home = home_view([card], [])["blocks"]
    assert problems(card_blocks(card), surface="message") + problems(home, surface="home") == []
    for blocks in (card_blocks(card), home):
        [row] = [one for one in blocks if one["type"] == "actions"]
        assert [one["text"]["text"] for one in row["elements"]] == ["Decide in the browser", "Cancel"]
        assert row["elements"][0]["url"] == "http://localhost:8000/runs/7"
        assert read_button(row["elements"][0]) is None, "a press of it means nothing"
    assert "no room for the rest" not in str(card_blocks(card))
