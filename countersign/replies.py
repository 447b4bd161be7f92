"""Chat-neutral output. All text is plain: a door escapes it and never reads markup in it."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic import Field as Limit


class Tone(StrEnum):
    """What a card's edge or mark says before anything is read."""

    neutral = "neutral"
    waiting = "waiting"
    busy = "busy"
    good = "good"
    bad = "bad"


def opens_a_page(address: str) -> bool:
    """Whether a browser opens a page there and does nothing else, such as carrying out a script."""
    return address.startswith(("https://", "http://"))


def _page(address: str) -> str:
    if address and not opens_a_page(address):
        raise ValueError("should begin with https:// or http://")
    return address


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Field(_Value):
    """One labelled fact on a card."""

    label: str
    value: str


class Button(_Value):
    """A use case with frozen arguments: pressing it carries `intent` for `target`; the right is decided at every press.

    `confirm` is the question asked before a risky press; it names the target. `ask_reason` opens a form for a sentence first.
    `only="browser"` is a button that works in the browser alone; with `signed` the press takes the presser's passkey. With a `link` it
    only opens that address.
    """

    label: Annotated[str, Limit(max_length=75)]
    intent: str
    target: str
    digest: str = ""
    style: Literal["plain", "primary", "danger"] = "plain"
    confirm: str = ""
    ask_reason: bool = False
    only: Literal["", "browser"] = ""
    signed: bool = False
    link: Annotated[str, AfterValidator(_page)] = ""


class Card(_Value):
    """At most ten lines that tell one thing; `fallback` is the line on a locked phone, at most 120 characters."""

    title: str
    fallback: str
    tone: Tone = Tone.neutral
    text: str = ""
    fields: tuple[Field, ...] = ()
    code: str = ""
    footer: str = ""
    buttons: tuple[Button, ...] = ()


class Input(_Value):
    """One question of a form."""

    name: str
    label: str
    kind: Literal["text", "choice", "secret", "long"] = "text"
    required: bool = True
    choices: tuple[str, ...] = ()
    initial: str = ""
    hint: str = ""


class Form(_Value):
    """Questions whose answers go to `intent` with `target`; for `intent="submit"` the target is a command's name.

    `carried` goes back with the answers. `problems` says, by the input's name, what was wrong with an answer given before.
    """

    title: str
    intent: str
    target: str
    inputs: tuple[Input, ...]
    submit_label: str = "Send"
    carried: dict[str, str] = {}
    problems: dict[str, str] = {}


class Reply(_Value):
    """An answer that changes nothing: a sentence or lines of text, an optional card, optional preformatted lines, optional form.

    `data` is the same for programs: REST and `--json` give it, people are not shown it.
    """

    text: str = ""
    card: Card | None = None
    code: str = ""
    form: Form | None = None
    data: dict[str, Any] = Limit(default_factory=dict)
