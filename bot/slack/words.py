"""The words of a command as a person meant them: Slack's markup for people, channels and links is taken out again."""

import re
from html import unescape
from typing import Final

from countersign.errors import CountersignError

from .identities import Identities

_MARKED: Final = re.compile(r"<([^<>]*)>")
_PERSON: Final = re.compile(r"@([UW][A-Z0-9_]+)(?:\|(.*))?\Z")
_LINK: Final = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


class UnknownMention(CountersignError):
    """A text mentions an account that belongs to nobody we know."""


async def command_text(text: str, identities: Identities) -> str:
    """The text with `<@U1|ada>` as the person's name, `<#C1|ops>` as the channel's id and links as they were typed.

    Raises UnknownMention. Markup: https://docs.slack.dev/messaging/formatting-message-text
    """
    if "<" in text:
        names = {one: await _person(match, identities) for one in _MARKED.findall(text) if (match := _PERSON.match(one))}
        text = _MARKED.sub(lambda found: names.get(found[1]) or _plain(found[1]), text)
    return unescape(text) if "&" in text else text


def after_mention(text: str, bot_user: str) -> str:
    """What follows the first mention of us."""
    _, found, rest = text.partition(f"<@{bot_user}>")
    return (rest if found else text).strip()


async def _person(match: re.Match[str], identities: Identities) -> str:
    person = await identities.named(match[1])
    if person is None:
        raise UnknownMention(f"@{match[2] or match[1]} is nobody Countersign knows; write the person's name instead.")
    return person.name


def _plain(marked: str) -> str:
    body, _, label = marked.partition("|")
    if body.startswith("#"):
        return body[1:]
    if body.startswith("!"):
        return label or f"@{body[1:]}"
    # Slack makes a link of `example.test` too; its label is then what was typed.
    return label if label and _LINK.match(body) and body.endswith(label) else body
