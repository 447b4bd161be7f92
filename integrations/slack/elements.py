"""Block Kit's composition objects and elements as tables of shapes.

Limits: docs.slack.dev/reference/block-kit (block elements, composition objects), checked against slack_sdk.models 3.47.
"""

from collections.abc import Iterator

from integrations.slack.shapes import Check, Shape, address, anything, flag, listing, number, one_of, string, union

TextKinds = tuple[str, ...]


def text(longest: int, *, kinds: TextKinds = ("plain_text", "mrkdwn")) -> Check:
    """Check a text object: its type is one of `kinds`, and its text has 1 to `longest` characters."""
    shapes: dict[str, Check] = {
        "plain_text": Shape({"text": string(longest)}, {"emoji": flag}),
        "mrkdwn": Shape({"text": string(longest)}, {"verbatim": flag}),
    }
    return union({name: shapes[name] for name in kinds}, "a text object")


def plain(longest: int) -> Check:
    """Check a text object that Slack allows as plain_text only."""
    return text(longest, kinds=("plain_text",))


def option(*, with_url: bool = False, markdown: bool = False) -> Check:
    """Check one option: of a select, or (with a URL) of an overflow menu, or (with markdown) of checkboxes and radio buttons."""
    label = text(75) if markdown else plain(75)
    optional: dict[str, Check] = {"description": label}
    if with_url:
        optional["url"] = address
    return Shape({"text": label, "value": string(150)}, optional)


CONFIRM = Shape(
    {"title": plain(100), "text": text(300)},
    {"confirm": plain(30), "deny": plain(30), "style": one_of("primary", "danger")},
)
_ACTION: dict[str, Check] = {"action_id": string(255)}
_FOCUS: dict[str, Check] = {"focus_on_load": flag}
_CONFIRMED: dict[str, Check] = {**_ACTION, "confirm": CONFIRM}
_PLACEHOLDER: dict[str, Check] = {"placeholder": plain(150)}
_SELECT: dict[str, Check] = {**_CONFIRMED, **_FOCUS, **_PLACEHOLDER}
_MULTI: dict[str, Check] = {**_SELECT, "max_selected_items": number(1, 100)}
_DISPATCH: dict[str, Check] = {
    "dispatch_action_config": Shape({}, {"trigger_actions_on": listing(one_of("on_enter_pressed", "on_character_entered"), most=2)})
}
_GROUP = Shape({"label": plain(75), "options": listing(option(), most=100)})
_CHOICES: dict[str, Check] = {"options": listing(option(), most=100), "option_groups": listing(_GROUP, most=100)}
_IDS = listing(string(255), most=100)


def _exactly_one_source(value: object, at: str) -> Iterator[str]:
    if isinstance(value, dict) and ("options" in value) == ("option_groups" in value):
        yield f"{at}: needs either 'options' or 'option_groups', and not both"


def _initials_are_options(value: object, at: str) -> Iterator[str]:
    if not isinstance(value, dict):
        return
    chosen = value.get("initial_options", [value["initial_option"]] if "initial_option" in value else [])
    offered = _all_options(value)
    if isinstance(chosen, list) and any(one not in offered for one in chosen):
        yield f"{at}: an initial option is not among the options"


def _all_options(value: dict[str, object]) -> list[object]:
    offered: list[object] = []
    groups = value.get("option_groups")
    for holder in [value, *(groups if isinstance(groups, list) else [])]:
        options = holder.get("options") if isinstance(holder, dict) else None
        offered += options if isinstance(options, list) else []
    return offered


def _static(value: object, at: str) -> Iterator[str]:
    yield from _exactly_one_source(value, at)
    yield from _initials_are_options(value, at)


def _image_source(value: object, at: str) -> Iterator[str]:
    if isinstance(value, dict) and ("image_url" in value) == ("slack_file" in value):
        yield f"{at}: needs either 'image_url' or 'slack_file', and not both"


def _lengths_agree(value: object, at: str) -> Iterator[str]:
    if not isinstance(value, dict):
        return
    least, most = value.get("min_length", 0), value.get("max_length", 3000)
    if isinstance(least, int) and isinstance(most, int) and least > most:
        yield f"{at}: min_length {least} is more than max_length {most}"


IMAGE = Shape({"alt_text": string(2000)}, {"image_url": address, "slack_file": anything}, _image_source)

BUTTON = Shape(
    {"text": plain(75)},
    {
        **_CONFIRMED,
        "value": string(2000),
        "url": address,
        "style": one_of("primary", "danger"),
        "accessibility_label": string(75),
    },
)
_CHECKS = listing(option(markdown=True), most=10)

SELECTS: dict[str, Check] = {
    "static_select": Shape({}, {**_SELECT, **_CHOICES, "initial_option": option()}, _static),
    "multi_static_select": Shape({}, {**_MULTI, **_CHOICES, "initial_options": listing(option(), most=100)}, _static),
    "external_select": Shape({}, {**_SELECT, "initial_option": option(), "min_query_length": number(0, 100)}),
    "multi_external_select": Shape({}, {**_MULTI, "initial_options": listing(option(), most=100), "min_query_length": number(0, 100)}),
    "users_select": Shape({}, {**_SELECT, "initial_user": string(255)}),
    "multi_users_select": Shape({}, {**_MULTI, "initial_users": _IDS}),
    "conversations_select": Shape(
        {},
        {
            **_SELECT,
            "initial_conversation": string(255),
            "default_to_current_conversation": flag,
            "response_url_enabled": flag,
            "filter": anything,
        },
    ),
    "multi_conversations_select": Shape(
        {}, {**_MULTI, "initial_conversations": _IDS, "default_to_current_conversation": flag, "filter": anything}
    ),
    "channels_select": Shape({}, {**_SELECT, "initial_channel": string(255), "response_url_enabled": flag}),
    "multi_channels_select": Shape({}, {**_MULTI, "initial_channels": _IDS}),
}
PICKERS: dict[str, Check] = {
    "datepicker": Shape({}, {**_SELECT, "initial_date": string(10)}),
    "timepicker": Shape({}, {**_SELECT, "initial_time": string(5), "timezone": string(255)}),
    "datetimepicker": Shape({}, {**_CONFIRMED, **_FOCUS, "initial_date_time": number(0, 9_999_999_999)}),
    "checkboxes": Shape({"options": _CHECKS}, {**_CONFIRMED, **_FOCUS, "initial_options": _CHECKS}, _initials_are_options),
    "radio_buttons": Shape({"options": _CHECKS}, {**_CONFIRMED, **_FOCUS, "initial_option": option(markdown=True)}, _initials_are_options),
}
_TYPED: dict[str, Check] = {**_ACTION, **_FOCUS, **_PLACEHOLDER, **_DISPATCH}
TYPED: dict[str, Check] = {
    "plain_text_input": Shape(
        {},
        {
            **_TYPED,
            "initial_value": string(3000),
            "multiline": flag,
            "min_length": number(0, 3000),
            "max_length": number(1, 3000),
        },
        _lengths_agree,
    ),
    "email_text_input": Shape({}, {**_TYPED, "initial_value": string(3000)}),
    "url_text_input": Shape({}, {**_TYPED, "initial_value": string(3000)}),
    "number_input": Shape(
        {"is_decimal_allowed": flag},
        {**_TYPED, "initial_value": string(3000), "min_value": string(3000), "max_value": string(3000)},
    ),
    "rich_text_input": Shape({}, {**_TYPED, "initial_value": anything}),
    "file_input": Shape({}, {**_ACTION, "filetypes": listing(string(20), most=100), "max_files": number(1, 10)}),
}
OVERFLOW = Shape({"options": listing(option(with_url=True), most=5)}, _CONFIRMED)
WORKFLOW_BUTTON = Shape(
    {"text": plain(75), "workflow": anything},
    {**_ACTION, "style": one_of("primary", "danger"), "accessibility_label": string(75)},
)

IN_ACTIONS: dict[str, Check] = {
    "button": BUTTON,
    "overflow": OVERFLOW,
    "workflow_button": WORKFLOW_BUTTON,
    **SELECTS,
    **PICKERS,
}
IN_SECTION: dict[str, Check] = {**IN_ACTIONS, "image": IMAGE}
IN_INPUT: dict[str, Check] = {**SELECTS, **PICKERS, **TYPED}
IN_CONTEXT: dict[str, Check] = {
    "image": IMAGE,
    "plain_text": Shape({"text": string(3000)}, {"emoji": flag}),
    "mrkdwn": Shape({"text": string(3000)}, {"verbatim": flag}),
}
