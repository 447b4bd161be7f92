"""What goes to Slack with a button or a form and comes back when somebody presses or sends it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from countersign.replies import Button, Form

Json = dict[str, Any]

PREFIX: Final = "intent:"
OPEN: Final = "open:"  # Slack tells of these presses too; they mean nothing
FILL: Final = "fill"
ANSWER: Final = "answer"
LONGEST_VALUE: Final = 2_000
LONGEST_METADATA: Final = 3_000


@dataclass(frozen=True)
class Pressed:
    """A button as it comes back. `ask` is its label when a reason is to be asked first; `answers` prefill a form."""

    intent: str
    target: str
    digest: str = ""
    ask: str = ""
    answers: Mapping[str, str] = field(default_factory=dict)


def button_value(button: Button) -> str:
    """What a button carries, as JSON without the signs that Slack gives a meaning."""
    return _written({"target": button.target, "digest": button.digest} | ({"ask": button.label} if button.ask_reason else {}))


def fill_value(form: Form) -> str:
    """What a button that opens this form carries: the answers given so far, or none where they are too long."""
    given = {one.name: one.initial for one in form.inputs if one.initial and one.kind != "secret"}
    value = _written({"target": form.target, "answers": given})
    return value if len(value) <= LONGEST_VALUE else _written({"target": form.target})


def read_button(action: Mapping[str, Any]) -> Pressed | None:
    """The button of ours that this action is; None for anything else."""
    action_id, value = action.get("action_id"), action.get("value")
    if not isinstance(action_id, str) or not action_id.startswith(PREFIX) or not isinstance(value, str):
        return None
    carried = _read(value)
    answers = carried.get("answers")
    return Pressed(
        intent=action_id.removeprefix(PREFIX).rpartition(":")[0],
        target=_text(carried, "target"),
        digest=_text(carried, "digest"),
        ask=_text(carried, "ask"),
        answers={str(name): str(one) for name, one in answers.items()} if isinstance(answers, dict) else {},
    )


def metadata(**carried: str) -> str:
    """A form's private metadata; raises ValueError when Slack would not take so much."""
    text = _written({name: value for name, value in carried.items() if value})
    if len(text) > LONGEST_METADATA:
        raise ValueError(f"a form carries at most {LONGEST_METADATA} characters, not {len(text)}")
    return text


def read_metadata(view: Mapping[str, Any]) -> dict[str, str]:
    """What `metadata` wrote; empty for anything else."""
    text = view.get("private_metadata")
    carried = _read(text) if isinstance(text, str) else {}
    return {name: value for name, value in carried.items() if isinstance(value, str)}


def read_answers(view: Mapping[str, Any]) -> dict[str, str]:
    """The answers of a sent form by input name; what was left empty is left out."""
    state = view.get("state")
    values = state.get("values") if isinstance(state, dict) else None
    found: dict[str, str] = {}
    for name, elements in values.items() if isinstance(values, dict) else ():
        given = elements.get(ANSWER) if isinstance(elements, dict) else None
        if isinstance(given, dict) and (answer := _answer(given)):
            found[str(name)] = answer
    return found


def _answer(given: Json) -> str:
    option = given.get("selected_option")
    value = option.get("value") if isinstance(option, dict) else given.get("value")
    return value if isinstance(value, str) else ""


def _written(data: Mapping[str, Any]) -> str:
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _read(text: str) -> Json:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    return value if isinstance(value, str) else ""
