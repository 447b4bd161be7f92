"""The validator judges as Slack does: each limit at its edge, and one past it."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.slack.validation import Surface, problems, view_problems

Json = dict[str, Any]


def plain(text: str) -> Json:
    return {"type": "plain_text", "text": text}


def mrkdwn(text: str) -> Json:
    return {"type": "mrkdwn", "text": text}


def button(**more: Any) -> Json:
    return {"type": "button", "text": plain("Approve"), "action_id": "approve", **more}


def actions(*elements: Json, **more: Any) -> Json:
    return {"type": "actions", "elements": list(elements), **more}


def section(**more: Any) -> Json:
    return {"type": "section", **more}


def select(count: int, *, label: str = "api", value: str = "api") -> Json:
    return {"type": "static_select", "action_id": "s", "options": [{"text": plain(label), "value": value + str(n)} for n in range(count)]}


def asked(element: Json, **more: Any) -> Json:
    return {"type": "input", "label": plain("Version"), "element": element, **more}


def modal(*blocks: Json, **more: Any) -> Json:
    return {"type": "modal", "title": plain("Deploy"), "blocks": list(blocks), **more}


def confirm(**more: Any) -> Json:
    return {"title": plain("Sure?"), "text": mrkdwn("*api* in prod"), "confirm": plain("Yes"), "deny": plain("No"), **more}


TYPED = {"type": "plain_text_input", "action_id": "version"}

TAKEN: dict[str, list[Json]] = {
    "section 3000": [section(text=mrkdwn("x" * 3000))],
    "ten fields of 2000": [section(fields=[mrkdwn("x" * 2000)] * 10)],
    "25 buttons": [actions(*[button(action_id=f"a{n}") for n in range(25)])],
    "button at its limits": [
        actions(button(text=plain("x" * 75), value="v" * 2000, action_id="i" * 255, url="https://a.test/" + "x" * 2900))
    ],
    "confirm at its limits": [
        actions(button(confirm=confirm(title=plain("x" * 100), text=plain("x" * 300), confirm=plain("x" * 30), deny=plain("x" * 30))))
    ],
    "select of 100": [actions(select(100))],
    "header 150": [{"type": "header", "text": plain("x" * 150)}],
    "context of 10": [{"type": "context", "elements": [mrkdwn("who")] * 10}],
    "same action_id in two blocks": [actions(button()), actions(button())],
    "block_id 255": [section(text=mrkdwn("x"), block_id="b" * 255)],
    "50 blocks": [{"type": "divider"}] * 50,
    "markdown 12000": [{"type": "markdown", "text": "x" * 12_000}],
    "overflow with a url": [
        section(
            text=mrkdwn("x"), accessory={"type": "overflow", "options": [{"text": plain("Open"), "value": "o", "url": "https://a.test"}]}
        )
    ],
    "image": [{"type": "image", "image_url": "https://a.test/i.png", "alt_text": "graph"}],
}

REFUSED: dict[str, tuple[list[Any], str]] = {
    "51 blocks": ([{"type": "divider"}] * 51, "at most 50 blocks"),
    "not an object": (["hello"], "must be a block, not a string"),
    "unknown block": ([{"type": "carousel3"}], "'carousel3' is not allowed"),
    "no type": ([{"text": mrkdwn("x")}], "None is not allowed"),
    "unknown key": ([{"type": "divider", "colour": "red"}], "does not know the key 'colour'"),
    "empty section": ([section()], "needs 'text' or 'fields'"),
    "empty text": ([section(text=mrkdwn(""))], "must not be empty"),
    "text 3001": ([section(text=mrkdwn("x" * 3001))], "at most 3000"),
    "text is a number": ([section(text={"type": "mrkdwn", "text": 3})], "must be a string, not a number"),
    "text is a string": ([section(text="hello")], "must be a text object, not a string"),
    "emoji on mrkdwn": ([section(text={**mrkdwn("x"), "emoji": True})], "does not know the key 'emoji'"),
    "11 fields": ([section(fields=[mrkdwn("x")] * 11)], "1 to 10 items, has 11"),
    "no fields": ([section(fields=[])], "1 to 10 items, has 0"),
    "field 2001": ([section(fields=[mrkdwn("x" * 2001)])], "at most 2000"),
    "empty actions": ([actions()], "1 to 25 items, has 0"),
    "26 buttons": ([actions(*[button(action_id=f"a{n}") for n in range(26)])], "1 to 25 items, has 26"),
    "mrkdwn in a button": ([actions(button(text=mrkdwn("Go")))], "'mrkdwn' is not allowed here; allowed: plain_text"),
    "button text 76": ([actions(button(text=plain("x" * 76)))], "at most 75"),
    "button value 2001": ([actions(button(value="x" * 2001))], "at most 2000"),
    "button value a number": ([actions(button(value=7))], "must be a string"),
    "action_id 256": ([actions(button(action_id="x" * 256))], "at most 255"),
    "url 3001": ([actions(button(url="https://a.test/" + "x" * 3000))], "at most 3000"),
    "relative url": ([actions(button(url="/runs/1"))], "absolute URL"),
    "bad url": ([actions(button(url="https://[oops"))], "absolute URL"),
    "button style": ([actions(button(style="warning"))], "one of primary, danger"),
    "unknown element": ([actions({"type": "slider"})], "'slider' is not allowed"),
    "input in actions": ([actions(TYPED)], "'plain_text_input' is not allowed"),
    "confirm title": ([actions(button(confirm=confirm(title=plain("x" * 101))))], "at most 100"),
    "confirm text": ([actions(button(confirm=confirm(text=mrkdwn("x" * 301))))], "at most 300"),
    "confirm button": ([actions(button(confirm=confirm(deny=plain("x" * 31))))], "at most 30"),
    "confirm without text": ([actions(button(confirm={"title": plain("Sure?")}))], "needs 'text'"),
    "no options": ([actions(select(0))], "1 to 100 items, has 0"),
    "101 options": ([actions(select(101))], "1 to 100 items, has 101"),
    "option text 76": ([actions(select(1, label="x" * 76))], "at most 75"),
    "option value 151": ([actions(select(1, value="x" * 151))], "at most 150"),
    "initial option not offered": (
        [actions({**select(1), "initial_option": {"text": plain("web"), "value": "web"}})],
        "initial option is not among",
    ),
    "options and groups": ([actions({**select(1), "option_groups": [{"label": plain("g"), "options": select(1)["options"]}]})], "not both"),
    "6 overflow options": ([actions({"type": "overflow", "options": select(6)["options"]})], "1 to 5 items"),
    "11 radio buttons": ([actions({"type": "radio_buttons", "options": select(11)["options"]})], "1 to 10 items"),
    "11 checkboxes": ([actions({"type": "checkboxes", "options": select(11)["options"]})], "1 to 10 items"),
    "header 151": ([{"type": "header", "text": plain("x" * 151)}], "at most 150"),
    "header mrkdwn": ([{"type": "header", "text": mrkdwn("x")}], "allowed: plain_text"),
    "11 context elements": ([{"type": "context", "elements": [mrkdwn("x")] * 11}], "1 to 10 items"),
    "button in context": ([{"type": "context", "elements": [button()]}], "'button' is not allowed"),
    "doubled block_id": ([{"type": "divider", "block_id": "b"}] * 2, "block_id 'b' is used twice"),
    "doubled action_id": ([actions(button(), button())], "action_id 'approve' is used twice"),
    "block_id 256": ([{"type": "divider", "block_id": "b" * 256}], "at most 255"),
    "image without alt": ([{"type": "image", "image_url": "https://a.test/i.png"}], "needs 'alt_text'"),
    "image without source": ([{"type": "image", "alt_text": "graph"}], "'image_url' or 'slack_file'"),
    "two markdowns over 12000": ([{"type": "markdown", "text": "x" * 7000}] * 2, "together have at most 12000"),
    "input max_length 3001": ([asked({**TYPED, "max_length": 3001})], "from 1 to 3000"),
    "input lengths crossed": ([asked({**TYPED, "min_length": 9, "max_length": 3})], "more than max_length"),
    "input label mrkdwn": ([{**asked(TYPED), "label": mrkdwn("x")}], "allowed: plain_text"),
    "number without decimals said": ([asked({"type": "number_input"})], "needs 'is_decimal_allowed'"),
}


@pytest.mark.parametrize("name", TAKEN)
def test_slack_takes_blocks_at_the_limit(name: str) -> None:
    assert problems(TAKEN[name], surface="message") == []


@pytest.mark.parametrize("name", REFUSED)
def test_slack_refuses_blocks_past_the_limit(name: str) -> None:
    blocks, sentence = REFUSED[name]
    found = problems(blocks, surface="message")
    assert any(sentence in problem for problem in found), found


@pytest.mark.parametrize(("surface", "most"), [("message", 50), ("modal", 100), ("home", 100)])
def test_each_surface_has_its_own_most_blocks(surface: Surface, most: int) -> None:
    assert problems([{"type": "divider"}] * most, surface=surface) == []
    assert problems([{"type": "divider"}] * (most + 1), surface=surface)


def test_markdown_is_for_messages_only() -> None:
    markdown = [{"type": "markdown", "text": "# hello"}]
    assert problems(markdown, surface="message") == []
    assert problems(markdown, surface="modal")


def test_a_problem_starts_with_where_it_is() -> None:
    assert problems([{"type": "divider"}, section(text=mrkdwn(""))], surface="message") == ["/blocks/1/text/text: must not be empty"]


def test_slack_takes_a_modal_at_the_limit() -> None:
    view = modal(
        asked(TYPED),
        title=plain("x" * 24),
        submit=plain("x" * 24),
        close=plain("x" * 24),
        private_metadata="x" * 3000,
        callback_id="c" * 255,
    )
    assert view_problems(view) == []
    assert view_problems({"type": "home", "blocks": [section(text=mrkdwn("x"))], "private_metadata": ""}) == []


@pytest.mark.parametrize(
    ("view", "sentence"),
    [
        ({"type": "page", "blocks": []}, "not a kind of view"),
        ({"type": "modal", "blocks": []}, "needs 'title'"),
        (modal(title=plain("x" * 25)), "at most 24"),
        (modal(title=mrkdwn("x")), "allowed: plain_text"),
        (modal(submit=plain("x" * 25)), "at most 24"),
        (modal(asked(TYPED)), "needs 'submit' because"),
        (modal(private_metadata="x" * 3001), "at most 3000"),
        (modal(callback_id="x" * 256), "at most 255"),
        (modal(external_id="x" * 256), "at most 255"),
        (modal(*[{"type": "divider"}] * 101), "at most 100 blocks"),
        (modal(section()), "needs 'text' or 'fields'"),
        (modal(colour="red"), "does not know the key 'colour'"),
        ({"type": "home", "blocks": [], "title": plain("x")}, "does not know the key 'title'"),
        ({"type": "modal", "title": plain("x"), "blocks": "none"}, "must be a list"),
    ],
)
def test_slack_refuses_a_wrong_view(view: Json, sentence: str) -> None:
    found = view_problems(view)
    assert any(sentence in problem for problem in found), found


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "text", "elements", "options", "value"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(st.lists(JSON, max_size=4))
def test_any_json_is_judged_without_an_error(blocks: list[Any]) -> None:
    assert all(problem.startswith("/blocks") for problem in problems(blocks, surface="message"))


@given(st.sampled_from(sorted(TAKEN)), st.data())
def test_an_unknown_key_anywhere_is_refused(name: str, data: st.DataObject) -> None:
    blocks = deepcopy(TAKEN[name])
    places: list[Json] = []
    _collect(blocks, places)
    data.draw(st.sampled_from(places))["nonsense"] = 1
    assert any("'nonsense'" in problem for problem in problems(blocks, surface="message"))


@given(st.text(min_size=1, max_size=3000))
def test_any_text_within_the_limit_is_taken(text: str) -> None:
    assert problems([section(text=mrkdwn(text))], surface="message") == []


def _collect(value: Any, places: list[Json]) -> None:
    if isinstance(value, dict):
        places.append(value)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        _collect(inner, places)
