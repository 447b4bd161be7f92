"""One click on a button, whichever door it came through."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from countersign.invocations import Door


@dataclass(frozen=True)
class Press:
    """One click: `intent` and `target` come from the button, `digest` is the plan that was shown; `key` makes a repeat the same click.

    `fresh` says that whoever clicks has just logged in, `assertion` is what their passkey signed. `answers` are those of a form that the
    button has opened, once it is sent.
    """

    key: str
    intent: str
    target: str
    door: Door
    digest: str = ""
    reason: str = ""
    fresh: bool = False
    answers: Mapping[str, Any] | None = None
    assertion: Mapping[str, Any] | None = None

    @property
    def text(self) -> str:
        """What was written into a form that asks for words alone."""
        return str((self.answers or {}).get("text") or "")
