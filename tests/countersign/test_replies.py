import pytest
from pydantic import BaseModel, ValidationError

from countersign import Button, Card, Field, Form, Input, Reply, Tone

BUTTON = Button(label="Approve", intent="approve", target="run-1", digest="d1", style="primary", confirm="Approve api v2 in prod?")
CARD = Card(title="api v2", fallback="Ada asks: api v2", tone=Tone.waiting, fields=(Field(label="env", value="prod"),), buttons=(BUTTON,))
FORM = Form(title="deploy", intent="submit", target="deploy", inputs=(Input(name="env", label="env", kind="choice", choices=("a", "b")),))
REPLY = Reply(text="Hello <@U1> *not markup*", card=CARD, form=FORM, code="$ ls")


@pytest.mark.parametrize("one", [BUTTON, CARD, FORM, REPLY], ids=lambda one: type(one).__name__)
def test_what_is_stored_as_json_comes_back_equal(one: BaseModel) -> None:
    assert type(one).model_validate_json(one.model_dump_json()) == one


@pytest.mark.parametrize(("one", "field"), [(BUTTON, "intent"), (CARD, "title"), (FORM, "target"), (REPLY, "text")])
def test_output_does_not_change_after_it_was_made(one: BaseModel, field: str) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(one, field, "other")


def test_a_misspelt_part_is_refused() -> None:
    with pytest.raises(ValidationError, match="butons"):
        Card.model_validate({"title": "a", "fallback": "b", "butons": []})


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
