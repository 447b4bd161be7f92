import pytest
from pydantic import BaseModel, ValidationError

from countersign import Bar, Button, Card, Chart, Field, Form, Input, Part, Picture, Reply, Tone

BUTTON = Button(label="Approve", intent="approve", target="run-1", digest="d1", style="primary", confirm="Approve api v2 in prod?")
CARD = Card(title="api v2", fallback="Ada asks: api v2", tone=Tone.waiting, fields=(Field(label="env", value="prod"),), buttons=(BUTTON,))
FORM = Form(title="deploy", intent="submit", target="deploy", inputs=(Input(name="env", label="env", kind="choice", choices=("a", "b")),))
PARTS = (Part(name="good", tone=Tone.good), Part(name="bad", tone=Tone.bad), Part(name="other", tone=Tone.neutral))
BARS = (Bar(label="deploy", values=(6, 2, 0), told="8, 2 failed"), Bar(label="grant", values=(0, 4, 0), told="4"))
PICTURE = Picture(title="A week", charts=(Chart(title="Runs", parts=PARTS, bars=BARS), Chart(title="Time")))
REPLY = Reply(text="Hello <@U1> *not markup*", card=CARD, form=FORM, code="$ ls", picture=PICTURE)


@pytest.mark.parametrize("one", [BUTTON, CARD, FORM, PICTURE, REPLY], ids=lambda one: type(one).__name__)
def test_what_is_stored_as_json_comes_back_equal(one: BaseModel) -> None:
    assert type(one).model_validate_json(one.model_dump_json()) == one


@pytest.mark.parametrize(("one", "field"), [(BUTTON, "intent"), (CARD, "title"), (FORM, "target"), (REPLY, "text"), (PICTURE, "title")])
def test_output_does_not_change_after_it_was_made(one: BaseModel, field: str) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(one, field, "other")


def test_a_misspelt_part_is_refused() -> None:
    with pytest.raises(ValidationError, match="butons"):
        Card.model_validate({"title": "a", "fallback": "b", "butons": []})


def test_what_a_newer_hub_has_stored_is_read_without_what_is_new() -> None:
    newer = Reply(text="done", card=CARD).model_dump(mode="json")
    newer["sound"] = {"name": "gong"}
    newer["card"]["scent"] = "rose"
    assert Reply.stored(newer) == Reply(text="done", card=CARD)


def test_two_forms_do_not_share_what_they_carry() -> None:
    first = Form(title="a", intent="submit", target="deploy", inputs=())
    first.carried["env"] = "prod"
    assert Form(title="b", intent="submit", target="deploy", inputs=()).carried == {}


def test_a_button_that_slack_would_refuse_is_refused() -> None:
    with pytest.raises(ValidationError, match="at most 75"):
        Button(label="x" * 76, intent="approve", target="run-1")


@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", "JavaScript:alert(1)", " https://page.test", "data:text/html,x", "//evil.test", "/runs/7"]
)
def test_a_button_leads_to_a_page_and_to_nothing_else(link: str) -> None:
    with pytest.raises(ValidationError, match="should begin with https:// or http://"):
        Button(label="Open", intent="open", target="run-1", link=link)


def test_each_part_of_a_bar_begins_where_the_one_before_ends_on_the_scale_of_the_longest() -> None:
    chart, empty = PICTURE.charts
    assert list(chart.pieces(BARS[0])) == [(Tone.good, 0.0, 0.75), (Tone.bad, 0.75, 1.0)]
    assert list(chart.pieces(BARS[1])) == [(Tone.bad, 0.0, 0.5)]
    assert [one.name for one in chart.named] == ["good", "bad"], "a legend names only what there is"
    assert (empty.named, empty.nothing) == ([], "Nothing to count yet.")
    zero = Bar(label="a", values=(0,), told="0")
    assert list(Chart(title="zeros", bars=(zero,)).pieces(zero)) == []


@pytest.mark.parametrize("values", [(), (1, 2), (-1,), (float("nan"),), (float("inf"),), (1e300,)])
def test_figures_that_no_bar_can_have_are_refused(values: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        Chart(title="a", bars=(Bar(label="b", values=values, told="c"),))


def test_a_reply_without_a_picture_is_stored_as_before() -> None:
    assert "picture" not in Reply(text="none").model_dump(mode="json")
