"""Chat-neutral output. All text is plain: a door escapes it and never reads markup in it."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator
from pydantic import Field as Limit

LARGEST: Final = 1e15
"""The largest figure of a bar; the larger ones are no whole numbers any more."""


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

    @classmethod
    def stored(cls, data: Any) -> Self:
        """What some hub wrote, perhaps a newer one during an upgrade: what this one does not know of it is left out.

        Raises pydantic.ValidationError for anything else.
        """
        return cls.model_validate(data, extra="ignore")


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


class Part(_Value):
    """What a piece of every bar of a chart stands for."""

    name: str = ""
    tone: Tone = Tone.busy


class Bar(_Value):
    """One thing: how much of each part of its chart, and `told`, the same in a few words that stand beside the bar."""

    label: str
    values: tuple[Annotated[float, Limit(ge=0, le=LARGEST)], ...]
    told: str

    @property
    def whole(self) -> float:
        return sum(self.values)


class Chart(_Value):
    """Bars of one measure on one scale, each made of the same `parts` from left to right; without bars it says `nothing`."""

    title: str
    aside: str = ""
    parts: tuple[Part, ...] = (Part(),)
    bars: tuple[Bar, ...] = ()
    nothing: str = "Nothing to count yet."

    @model_validator(mode="after")
    def _check(self) -> Self:
        for one in self.bars:
            if len(one.values) != len(self.parts):
                raise ValueError(f"bar {one.label!r} has {len(one.values)} values for {len(self.parts)} parts")
        return self

    @property
    def named(self) -> list[Part]:
        """The parts with a name of which there is any, for a legend."""
        return [part for n, part in enumerate(self.parts) if part.name and any(one.values[n] for one in self.bars)]

    def pieces(self, bar: Bar) -> Iterator[tuple[Tone, float, float]]:
        """Each part of a bar that there is any of: its tone, where it begins and where it ends, from 0 to 1 of the longest bar."""
        longest = max(one.whole for one in self.bars) or 1.0
        begin = 0.0
        for part, value in zip(self.parts, bar.values, strict=True):
            end = min(1.0, begin + value / longest)
            if value:
                yield part.tone, begin, end
            begin = end


class Picture(_Value):
    """Charts under one title. It is drawn where that can be done, so the text of the answer has to say what matters in it."""

    title: str
    aside: str = ""
    charts: Annotated[tuple[Chart, ...], Limit(min_length=1, max_length=10)]


class Reply(_Value):
    """An answer that changes nothing: a sentence or lines of text, an optional card, optional preformatted lines, optional form.

    A `picture` comes beside the text, as a file in chats that show files. `data` is the same for programs: REST and `--json` give it,
    people are not shown it.
    """

    text: str = ""
    card: Card | None = None
    code: str = ""
    form: Form | None = None
    picture: Picture | None = Limit(default=None, exclude_if=lambda found: found is None)
    data: dict[str, Any] = Limit(default_factory=dict)
