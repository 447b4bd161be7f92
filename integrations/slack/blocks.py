"""Cards, replies and forms as Block Kit. People's words only stand in plain_text, where Slack reads no markup, or in code.

What is more than Slack takes is left out, and the message says so.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Final, TypeVar

from countersign.replies import Button, Card, Field, Form, Input, Reply, Tone
from integrations.slack.roundtrips import ANSWER, FILL, LONGEST_VALUE, OPEN, PREFIX, button_value, fill_value
from integrations.slack.texts import SECTION, code, code_pieces, inert, pieces, plain

Json = dict[str, Any]
T = TypeVar("T")

_MARKS: Final = {Tone.neutral: "⚪", Tone.waiting: "🟡", Tone.busy: "🔵", Tone.good: "🟢", Tone.bad: "🔴"}
_LEFT_OUT: Final = "Slack has no room for the rest; the browser console and the command line show everything."
_MOST_TEXTS: Final = 4
_MOST_CODES: Final = 6
_MOST_FIELDS: Final = 30
_MOST_BUTTONS: Final = 50
_IN_ROW: Final = 25
_IN_SECTION: Final = 10
_MOST_INPUTS: Final = 98
_LONGEST_OPTION: Final = 150
_LONGEST_TYPED: Final = 3_000
_MOST_AT_HOME: Final = 12


def card_blocks(card: Card, *, whole: str = "") -> list[Json]:
    """The blocks of a message that shows this card: at most 25 of the 50 that Slack takes. `whole` is the address of what has no room."""
    page = _Page(whole)
    page.card(card)
    return page.finished()


def reply_blocks(reply: Reply, *, whole: str = "") -> list[Json]:
    """The blocks of an answer to one person; `whole` is the address where all of it is, for when Slack has no room."""
    page = _Page(whole)
    page.reply(reply)
    return page.finished()


def has_room(reply: Reply) -> bool:
    """Whether Slack has room for all of this answer."""
    page = _Page()
    page.reply(reply)
    return not page.left_out


def fallback_text(reply: Reply) -> str:
    """What a notification says of an answer."""
    return inert(reply.text.strip() or (reply.card.fallback if reply.card else ""), SECTION) or "Done."


def form_view(form: Form, *, private_metadata: str, callback_id: str = "form") -> Json:
    """A form as a modal; the answers come back through `roundtrips.read_answers`."""
    blocks = [_input(one) for one in form.inputs[:_MOST_INPUTS]]
    if len(form.inputs) > _MOST_INPUTS:
        blocks.append(_section(plain("There are more arguments than a form can hold; type the command instead.", SECTION)))
    return _modal(form.title, blocks or [_section(plain("There is nothing to fill in.", SECTION))], callback_id, private_metadata) | {
        "submit": plain(form.submit_label, 24, instead="Send")
    }


def reason_view(button: Button, *, private_metadata: str = "") -> Json:
    """Asks for the sentence that goes with pressing this button."""
    asked = Input(name="reason", label="Reason", kind="long", required=False, hint="The asker and the record will show it.")
    form = Form(title=button.label, intent=button.intent, target=button.target, inputs=(asked,), submit_label=button.label)
    view = form_view(form, private_metadata=private_metadata, callback_id="reason")
    return view | {"blocks": [*([_section(plain(button.confirm, SECTION))] if button.confirm else []), *view["blocks"]]}


def notice_view(reply: Reply, *, title: str = "Countersign") -> Json:
    """An answer as a modal that can only be closed. Its buttons are left out: inside a modal a press could not be answered in place."""
    card = reply.card.model_copy(update={"buttons": ()}) if reply.card else None
    return _modal(title, reply_blocks(reply.model_copy(update={"card": card, "form": None})), "notice", "")


def home_view(waiting: Sequence[Card], mine: Sequence[Card], *, more: str = "", notice: str = "") -> Json:
    """App Home: what waits for this person, then their own runs; `notice` is a sentence shown instead of both.

    `more` says where there is more that waits than is given here.
    """
    if notice:
        return {"type": "home", "blocks": [_section(plain(notice, SECTION))]}
    blocks = [
        *_list("Waiting for you", waiting, nothing="Nothing waits for you."),
        *([_context(more)] if more else []),
        {"type": "divider"},
        *_list("Your runs", mine, nothing="You have not asked for anything yet."),
    ]
    return {"type": "home", "blocks": blocks}


def _list(title: str, cards: Sequence[Card], *, nothing: str) -> list[Json]:
    blocks: list[Json] = [{"type": "header", "text": plain(title, 150)}]
    for card in cards[:_MOST_AT_HOME]:
        blocks += _brief(card)
    if not cards:
        blocks.append(_section(plain(nothing, SECTION)))
    if len(cards) > _MOST_AT_HOME:
        blocks.append(_context(f"and {len(cards) - _MOST_AT_HOME} more"))
    return blocks


def _brief(card: Card) -> list[Json]:
    """Three blocks at most, so that two full lists fit into the 100 of a home."""
    facts = " · ".join(f"{one.label}: {one.value}" for one in card.fields[:4])
    lines = "\n".join(line for line in (f"{_MARKS[card.tone]} {card.title}", card.text[:600]) if line.strip())
    blocks = [_section(plain(lines, SECTION)), *_footer(facts)]
    mine = [one for one in card.buttons if not one.only]
    elements = [element for position, one in enumerate(mine[:_IN_ROW]) if (element := _button(one, position))]
    return [*blocks, _row(elements)] if elements else blocks


class _Page:
    """The blocks of one message, and whether something was left out of it."""

    def __init__(self, whole: str = "") -> None:
        self.blocks: list[Json] = []
        self.left_out = False
        self._whole = whole

    def reply(self, reply: Reply) -> None:
        self.texts(reply.text)
        self.codes(reply.code)
        if reply.card is not None:
            self.card(reply.card)
        if reply.form is not None:
            self.blocks.append(_row([_fill_button(reply.form)]))

    def card(self, card: Card) -> None:
        self.blocks.append({"type": "header", "text": plain(f"{_MARKS[card.tone]} {card.title.strip() or card.fallback}", 150)})
        self.texts(card.text)
        self._fields(card.fields)
        self.codes(card.code)
        self.blocks += _footer(card.footer)
        self._buttons(card.buttons)

    def texts(self, text: str) -> None:
        self.blocks += [_section(plain(part, SECTION)) for part in self._first(pieces(text.strip()), _MOST_TEXTS)]

    def codes(self, text: str) -> None:
        self.blocks += [_section(code(part)) for part in self._first(code_pieces(text), _MOST_CODES)]

    def finished(self) -> list[Json]:
        """The blocks, never none."""
        blocks = self.blocks or [_section(plain("Done.", SECTION))]
        if not self.left_out:
            return blocks
        link = [_link_row("Show all of it", self._whole)] if self._whole else []
        return [*blocks, _context(_LEFT_OUT), *link]

    def _fields(self, fields: Sequence[Field]) -> None:
        shown = [plain(f"{one.label}: {one.value}", 2_000) for one in self._first(fields, _MOST_FIELDS)]
        self.blocks += [{"type": "section", "fields": shown[start : start + _IN_SECTION]} for start in range(0, len(shown), _IN_SECTION)]

    def _buttons(self, buttons: Sequence[Button]) -> None:
        mine = [one for one in buttons if not one.only]
        made = [_button(one, position) for position, one in enumerate(self._first(mine, _MOST_BUTTONS))]
        fitting = [one for one in made if one is not None]
        self.left_out |= len(fitting) < len(made)
        self.blocks += [_row(fitting[start : start + _IN_ROW]) for start in range(0, len(fitting), _IN_ROW)]

    def _first(self, items: Iterable[T], most: int) -> list[T]:
        taken = list(islice(items, most + 1))
        self.left_out |= len(taken) > most
        return taken[:most]


def _button(button: Button, position: int) -> Json | None:
    if button.link:
        return {"type": "button", "text": plain(button.label, 75), "action_id": f"{OPEN}{position}", "url": button.link}
    value, action_id = button_value(button), f"{PREFIX}{button.intent}:{position}"
    if len(value) > LONGEST_VALUE or len(action_id) > 255 or not action_id.isascii() or "<" in action_id:
        return None
    element: Json = {"type": "button", "text": plain(button.label, 75), "action_id": action_id, "value": value}
    if button.style != "plain":
        element["style"] = button.style
    if button.confirm:
        element["confirm"] = _confirm(button)
    return element


def _confirm(button: Button) -> Json:
    dialog: Json = {
        "title": plain("Are you sure?", 100),
        "text": plain(button.confirm, 300),
        "confirm": plain(button.label, 30),
        "deny": plain("Go back", 30),
    }
    return dialog | ({"style": "danger"} if button.style == "danger" else {})


def _fill_button(form: Form) -> Json:
    """Opens the form again; one that a button has opened is opened by the same press."""
    if form.intent != "submit":
        value = button_value(Button(label="Fill in", intent=form.intent, target=form.target))
        return {"type": "button", "text": plain("Fill in", 75), "action_id": f"{PREFIX}{form.intent}:0", "value": value, "style": "primary"}
    return {"type": "button", "text": plain("Fill in", 75), "action_id": f"{PREFIX}{FILL}:0", "value": fill_value(form), "style": "primary"}


def _input(one: Input) -> Json:
    block: Json = {
        "type": "input",
        "block_id": one.name,
        "label": plain(one.label, 2_000),
        "element": _select(one) if one.kind == "choice" and _selectable(one.choices) else _typed(one),
        "optional": not one.required,
    }
    hint = one.hint or ("Sealed as soon as it is sent." if one.kind == "secret" else "")
    return block | ({"hint": plain(hint, 2_000)} if hint else {})


def _typed(one: Input) -> Json:
    """A field to type in. The text that is already there goes raw: it is no text object, and it comes back as it went."""
    element: Json = {"type": "plain_text_input", "action_id": ANSWER, "multiline": one.kind == "long", "max_length": _LONGEST_TYPED}
    if one.initial and one.kind != "secret" and len(one.initial) <= _LONGEST_TYPED:
        element["initial_value"] = one.initial
    return element


def _selectable(choices: Sequence[str]) -> bool:
    """Whether Slack can offer them: at most 100 groups of 100, and no value that is empty or long."""
    return 0 < len(choices) <= 10_000 and all(0 < len(one) <= _LONGEST_OPTION for one in choices)


def _select(one: Input) -> Json:
    options = [{"text": plain(choice, 75), "value": choice} for choice in one.choices]
    element: Json = {"type": "static_select", "action_id": ANSWER}
    if len(options) <= 100:
        element["options"] = options
    else:
        element["option_groups"] = [_group(options[start : start + 100]) for start in range(0, len(options), 100)]
    chosen = [option for option in options if option["value"] == one.initial]
    return element | ({"initial_option": chosen[0]} if chosen else {})


def _group(options: list[Json]) -> Json:
    return {"label": plain(f"{options[0]['value'][:30]} … {options[-1]['value'][:30]}", 75), "options": options}


def _modal(title: str, blocks: list[Json], callback_id: str, private_metadata: str) -> Json:
    return {
        "type": "modal",
        "callback_id": callback_id,
        "title": plain(title, 24, instead="Countersign"),
        "close": plain("Close", 24),
        "private_metadata": private_metadata,
        "blocks": blocks,
    }


def _section(text: Json) -> Json:
    return {"type": "section", "text": text}


def _row(elements: list[Json]) -> Json:
    return {"type": "actions", "elements": elements}


def _link_row(label: str, address: str) -> Json:
    button = Button(label=label, intent="open", target="whole", link=address)
    return _row([element for element in [_button(button, 0)] if element])


def _context(text: str) -> Json:
    return {"type": "context", "elements": [plain(text, SECTION)]}


def _footer(text: str) -> list[Json]:
    return [_context(text)] if text.strip() else []
