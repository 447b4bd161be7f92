"""Judges blocks and views as Slack does, before Slack does: a refused card in production is a silent one.

No published validator catches duplicate ids, empty actions or a 51st block, so the limits are kept here as tables.
Source of the limits: docs.slack.dev/reference/block-kit/blocks and docs.slack.dev/surfaces/modals.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from integrations.slack.elements import IMAGE, IN_ACTIONS, IN_CONTEXT, IN_INPUT, IN_SECTION, plain, text
from integrations.slack.shapes import Check, Shape, address, anything, flag, kind, listing, one_of, string, union

Surface = Literal["message", "modal", "home"]

MOST_BLOCKS: dict[str, int] = {"message": 50, "modal": 100, "home": 100}
MARKDOWN_TOTAL = 12_000


def problems(blocks: Sequence[object], *, surface: Surface) -> list[str]:
    """Return what Slack would refuse in these blocks; an empty list means that Slack takes them.

    Each problem is a sentence that starts with a JSON pointer, such as `/blocks/0/text/text: must not be empty`.
    """
    return list(_block_problems(blocks, surface))


def view_problems(view: Mapping[str, object]) -> list[str]:
    """Return what Slack would refuse in a modal or a home view, its blocks included."""
    shape = _VIEWS.get(str(view.get("type")))
    if shape is None:
        return [f"/view: type {view.get('type')!r} is not a kind of view; allowed: home, modal"]
    found = list(shape(dict(view), "/view"))
    if "blocks" in view:
        blocks = view["blocks"]
        found += _block_problems(blocks, "modal" if view["type"] == "modal" else "home")
        if view["type"] == "modal" and "submit" not in view and _has_input(blocks):
            found.append("/view: needs 'submit' because it has an input block")
    return found


def _block_problems(blocks: object, surface: Surface) -> Iterator[str]:
    if not isinstance(blocks, list):
        yield f"/blocks: must be a list, not {kind(blocks)}"
        return
    if len(blocks) > MOST_BLOCKS[surface]:
        yield f"/blocks: a {surface} has at most {MOST_BLOCKS[surface]} blocks, this has {len(blocks)}"
    check = union(_BLOCKS[surface], "a block")
    for index, block in enumerate(blocks):
        yield from check(block, f"/blocks/{index}")
    yield from _doubled(blocks)
    markdown = sum(len(str(block.get("text", ""))) for block in blocks if isinstance(block, dict) and _type_of(block) == "markdown")
    if markdown > MARKDOWN_TOTAL:
        yield f"/blocks: markdown blocks together have at most {MARKDOWN_TOTAL} characters, these have {markdown}"


def _doubled(blocks: Sequence[object]) -> Iterator[str]:
    """A block_id is unique in its surface; an action_id is unique in its block (docs.slack.dev, block elements)."""
    dicts = [block for block in blocks if isinstance(block, dict)]
    for name in _repeated(block.get("block_id") for block in dicts):
        yield f"/blocks: block_id {name!r} is used twice"
    for index, block in enumerate(blocks):
        if isinstance(block, dict):
            for name in _repeated(element.get("action_id") for element in interactive(block)):
                yield f"/blocks/{index}: action_id {name!r} is used twice"


def interactive(block: Mapping[str, object]) -> list[dict[str, object]]:
    """Return the elements of a block that a person can act on: those of an actions block, an accessory, an input's element."""
    elements = block.get("elements") if block.get("type") in ("actions", "context_actions") else []
    found = [*(elements if isinstance(elements, list) else []), block.get("accessory"), block.get("element")]
    return [element for element in found if isinstance(element, dict) and element.get("type") != "image"]


def _repeated(names: Iterator[object]) -> list[object]:
    return [name for name, count in Counter(name for name in names if isinstance(name, str)).items() if count > 1]


def _has_input(blocks: object) -> bool:
    return isinstance(blocks, list) and any(_type_of(block) == "input" for block in blocks)


def _type_of(block: object) -> object:
    return block.get("type") if isinstance(block, dict) else None


def _says_something(value: object, at: str) -> Iterator[str]:
    if isinstance(value, dict) and "text" not in value and "fields" not in value:
        yield f"{at}: needs 'text' or 'fields'"


_ID: dict[str, Check] = {"block_id": string(255)}

_EVERYWHERE: dict[str, Check] = {
    "section": Shape(
        {},
        {
            **_ID,
            "text": text(3000),
            "fields": listing(text(2000), most=10),
            "accessory": union(IN_SECTION, "an element"),
            "expand": flag,
        },
        _says_something,
    ),
    "actions": Shape({"elements": listing(union(IN_ACTIONS, "an element"), most=25)}, _ID),
    "context": Shape({"elements": listing(union(IN_CONTEXT, "an image or a text"), most=10)}, _ID),
    "divider": Shape({}, _ID),
    "header": Shape({"text": plain(150)}, _ID),
    "image": Shape(IMAGE.required, {**IMAGE.optional, **_ID, "title": plain(2000)}, IMAGE.also),
    "input": Shape(
        {"label": plain(2000), "element": union(IN_INPUT, "an input element")},
        {**_ID, "hint": plain(2000), "optional": flag, "dispatch_action": flag},
    ),
    "rich_text": Shape({"elements": listing(anything, most=1000)}, _ID),
    "video": Shape(
        {"alt_text": string(2000), "title": plain(199), "thumbnail_url": address, "video_url": address},
        {
            **_ID,
            "author_name": string(49),
            "description": plain(200),
            "provider_icon_url": address,
            "provider_name": string(50),
            "title_url": address,
        },
    ),
}
_MESSAGES_ONLY: dict[str, Check] = {
    "markdown": Shape({"text": string(MARKDOWN_TOTAL)}, _ID),
    "file": Shape({"external_id": string(255), "source": one_of("remote")}, _ID),
    "table": Shape({"rows": listing(listing(anything, most=20), most=100)}, {**_ID, "column_settings": listing(anything, most=20)}),
    "context_actions": Shape(
        {"elements": listing(union({"feedback_buttons": anything, "icon_button": anything}, "an element"), most=5)}, _ID
    ),
}
_BLOCKS: dict[str, dict[str, Check]] = {
    "message": {**_EVERYWHERE, **_MESSAGES_ONLY},
    "modal": _EVERYWHERE,
    "home": _EVERYWHERE,
}
_VIEW: dict[str, Check] = {
    "private_metadata": string(3000, shortest=0),
    "callback_id": string(255, shortest=0),
    "external_id": string(255, shortest=0),
}
_VIEWS: dict[str, Check] = {
    "home": Shape({"blocks": anything}, _VIEW),
    "modal": Shape(
        {"blocks": anything, "title": plain(24)},
        {
            **_VIEW,
            "submit": plain(24),
            "close": plain(24),
            "clear_on_close": flag,
            "notify_on_close": flag,
            "submit_disabled": flag,
        },
    ),
}
