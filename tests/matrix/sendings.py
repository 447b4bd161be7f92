"""What Slack sends for each surface of its table, with each persona's account behind it."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from bot.slack import PATH
from bot.slack.apps import SHORTCUT
from integrations.slack.roundtrips import FILL
from tests.matrix.doors import Doors, Shown
from tests.matrix.towns import Run
from tests.matrix.ways import show_home

Send = Callable[[Doors, str, Run], Awaitable[Shown]]


async def _slash(doors: Doors, persona: str, run: Run) -> Shown:
    return await doors.slash(persona, "whoami")


async def _click(doors: Doors, persona: str, run: Run) -> Shown:
    return await doors.press("slack", persona, "details", str(run.id))


async def _mention(doors: Doors, persona: str, run: Run) -> Shown:
    return await doors.mention(persona, "whoami")


async def _home(doors: Doors, persona: str, run: Run) -> Shown:
    return await show_home(doors, "slack", persona, run)


async def _user_change(doors: Doors, persona: str, run: Run) -> Shown:
    return await doors.event(persona, {"type": "user_change", "user": {"id": "U0GONE", "deleted": True}})


async def _verification(doors: Doors, persona: str, run: Run) -> Shown:
    return await doors.signed(persona, json.dumps({"type": "url_verification", "challenge": "c"}).encode(), "application/json")


async def _ssl_check(doors: Doors, persona: str, run: Run) -> Shown:
    async with doors.town.web.client({"content-type": "application/x-www-form-urlencoded"}) as slack:
        answer = await slack.post(PATH, content=b"ssl_check=1&token=t")
    return Shown(answer.status_code, answer.text)


async def _form(doors: Doors, persona: str, run: Run) -> Shown:
    return await doors.submit(persona, "form", {}, {"intent": "submit", "target": "whoami"})


async def _line(doors: Doors, persona: str, run: Run) -> Shown:
    return await doors.submit(persona, "line", {"text": "whoami"}, {})


async def _reason(doors: Doors, persona: str, run: Run) -> Shown:
    return await doors.submit(persona, "reason", {"reason": "because"}, {"intent": "details", "target": str(run.id)})


async def _fill(doors: Doors, persona: str, run: Run) -> Shown:
    return await doors.click(persona, FILL, {"target": "help"})


async def _shortcut(doors: Doors, persona: str, run: Run) -> Shown:
    return await doors.interact(persona, {"type": "message_action", "callback_id": SHORTCUT, "trigger_id": "1.2", "message": {"ts": "1.1"}})


async def _nothing(doors: Doors, persona: str, run: Run) -> Shown:
    return await doors.interact(persona, {"type": "view_closed", "view": {"id": "V1", "callback_id": "form"}})


SENT: Final[Mapping[str, Send]] = {
    "slash_commands": _slash,
    "interactive": _click,
    "events_api": _mention,
    "url_verification": _verification,
    "ssl_check": _ssl_check,
    "event app_mention": _mention,
    "event app_home_opened": _home,
    "event user_change": _user_change,
    "form form": _form,
    "form line": _line,
    "form reason": _reason,
    f"button {FILL}": _fill,
    "listener _slash": _slash,
    "listener _click": _click,
    "listener _submission": _form,
    "listener _mention": _mention,
    "listener _shortcut": _shortcut,
    "listener _user_changed": _user_change,
    "listener _nothing": _nothing,
}
