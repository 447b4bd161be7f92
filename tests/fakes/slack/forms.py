"""Filling in a modal as Slack's own client would let a person do it."""

import re
from collections.abc import Mapping
from typing import Any

from tests.fakes.slack.worlds import Json, SlackForbids, View


def fill(view: View, values: Mapping[str, Any], *, suggested: Mapping[str, list[Json]]) -> Json:
    """Return the state of a view after typing `values`, each named by label, block_id or action_id.

    Raises SlackForbids for an unknown field, a missing required one, or a choice that is not offered.
    """
    inputs = [block for block in view.blocks if block["type"] == "input"]
    known = {name: block for block in inputs for name in _names(block)}
    for name in values:
        if name not in known:
            raise SlackForbids(f"the form has no field {name!r}; it has {sorted(known)}")
    state: Json = {}
    for block in inputs:
        element = block["element"]
        given = [values[name] for name in _names(block) if name in values]
        entry = _entry(element, given[0], suggested) if given else _initial(element)
        if entry is None and not block.get("optional"):
            raise SlackForbids(f"the field {block['label']['text']!r} is required")
        state[block["block_id"]] = {element["action_id"]: {"type": element["type"], **(entry or _blank(element))}}
    return state


def _names(block: Json) -> list[str]:
    return list(dict.fromkeys([block["label"]["text"], block["block_id"], block["element"]["action_id"]]))


def _entry(element: Json, value: Any, suggested: Mapping[str, list[Json]]) -> Json | None:
    kind = element["type"]
    if kind in {"static_select", "radio_buttons", "external_select"}:
        return {"selected_option": pick(element, value, suggested)}
    if kind in {"multi_static_select", "checkboxes", "multi_external_select"}:
        return {"selected_options": [pick(element, one, suggested) for one in value]}
    if kind.endswith("_input"):
        return _typed(element, str(value))
    return {_key(kind): value}


def pick(element: Json, value: str, suggested: Mapping[str, list[Json]]) -> Json:
    """Return the offered option with that value or label. Raises SlackForbids when there is none."""
    groups = [element, *element.get("option_groups", [])]
    offered = [option for group in groups for option in group.get("options", [])] + suggested.get(element["action_id"], [])
    option: Json
    for option in offered:
        if value in (option["value"], option["text"]["text"]):
            return option
    raise SlackForbids(f"{value!r} is not offered; offered: {[option['value'] for option in offered]}")


def _typed(element: Json, value: str) -> Json | None:
    if not value:
        return None
    if not element.get("min_length", 0) <= len(value) <= element.get("max_length", 3000):
        raise SlackForbids(f"{len(value)} characters are too few or too many for {element['action_id']!r}")
    if element["type"] == "number_input" and not re.fullmatch(r"-?\d+(\.\d+)?" if element["is_decimal_allowed"] else r"-?\d+", value):
        raise SlackForbids(f"{value!r} is not a number")
    return {"value": value}


def _initial(element: Json) -> Json | None:
    """What Slack sends for a field that a person leaves as it came."""
    for key in ("initial_option", "initial_options", "initial_value", "initial_user", "initial_date", "initial_time", "initial_channel"):
        if key in element:
            field = key.removeprefix("initial_")
            return {field if field == "value" else f"selected_{field}": element[key]}
    return None


def _blank(element: Json) -> Json:
    kind = element["type"]
    if kind.startswith("multi_") or kind == "checkboxes":
        return {"selected_options": []} if "static" in kind or kind == "checkboxes" or "external" in kind else {_key(kind): []}
    if kind.endswith("_input"):
        return {"value": None}
    return {"selected_option" if "options" in element or kind == "external_select" else _key(kind): None}


def _key(kind: str) -> str:
    return {
        "users_select": "selected_user",
        "multi_users_select": "selected_users",
        "conversations_select": "selected_conversation",
        "multi_conversations_select": "selected_conversations",
        "channels_select": "selected_channel",
        "multi_channels_select": "selected_channels",
        "datepicker": "selected_date",
        "timepicker": "selected_time",
        "datetimepicker": "selected_date_time",
    }.get(kind, "selected_option")
