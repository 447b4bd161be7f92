"""Where a run is shown: the asker's reply, the channel's card, and direct messages to those who may approve."""

from collections.abc import Sequence
from typing import Final

from commands.rulebooks import Rulebook
from commands.voting import written_stage
from countersign.approvals import Approval
from countersign.invocations import Place
from countersign.replies import Reply
from store.messages import NewMessage
from store.people import Person
from store.runs import RunRow

MOST_DIRECT: Final = 5
CHATS: Final = ("slack", "room")
ENROL: Final = "passkey add"


def reply_to(run: RunRow, reply: Reply) -> list[NewMessage]:
    """The answer to the asker alone; none for doors that poll. What a service account asked for is answered in the channel it names."""
    place = Place(**run.place)
    if place.platform not in CHATS:
        return []
    card = reply.model_dump(mode="json")
    if run.source:
        return [NewMessage(run.id, "reply", place.platform, place.team, place.channel, card=card)] if place.channel else []
    return [NewMessage(run.id, "reply", place.platform, place.team, place.channel, place.thread, person=run.asker, card=card)]


def card_places(rulebook: Rulebook, run: RunRow, *, fallback: str) -> list[NewMessage]:
    """The channels policy names for the command, else the channel asked in; never a channel shared with another company.

    Asked where there is no channel (REST, command line), the card goes to policy's channels on `fallback`, or directly to the asker; a
    service account, which has no chat, is sent nothing.
    """
    place = Place(**run.place)
    platform = place.platform if place.platform in CHATS else fallback
    named = rulebook.policy.channels_for(run.command)
    if named:
        return [NewMessage(run.id, "card", platform, place.team, channel.removeprefix("#")) for channel in named]
    if place.platform in CHATS and place.channel and not place.shared:
        return [NewMessage(run.id, "card", platform, place.team, place.channel, place.thread)]
    return [] if run.source else [NewMessage(run.id, "direct", platform, place.team, person=run.asker)]


def approver_messages(run: RunRow, voters: Sequence[Person], *, revision: int, fallback: str, again: str = "") -> list[NewMessage]:
    """Direct messages to at most five people who may vote; whoever has one of this revision keeps it. `again` names a reminder."""
    place = Place(**run.place)
    platform = place.platform if place.platform in CHATS else fallback
    kind = ":".join(["direct", *([str(revision)] if revision > 1 or again else []), *([again] if again else [])])
    people = [one.name for one in voters if one.name != run.asker][:MOST_DIRECT]
    return [NewMessage(run.id, kind, platform, place.team, person=name) for name in people]


def asker_messages(run: RunRow, *, fallback: str) -> list[NewMessage]:
    """The asker is told the decision and the end, wherever the card is; for a service account whoever answers for it is told."""
    place = Place(**run.place)
    platform = place.platform if place.platform in CHATS else fallback
    person = run.handed_to if run.source else run.asker
    return [NewMessage(run.id, "direct", platform, place.team, person=person)] if person else []


def voters_wanted(rule: Approval, found: Sequence[Sequence[Person]]) -> str:
    """A sentence when fewer people can vote at a stage than it needs, else empty; `found` are those who can, stage by stage."""
    for stage, able in zip(rule.steps, found, strict=True):
        if len(able) < stage.least and not stage.skip_after:
            can = "nobody" if not able else " and ".join(one.name for one in able)
            wanted = f"{stage.least} who hold {rule.by}" if rule.by else written_stage(stage)
            return f"No one can approve this: it needs {wanted}, and {can} can. An admin has to grant it."
    return ""


def signers_wanted(rulebook: Rulebook, run: RunRow, rule: Approval, found: Sequence[Sequence[Person]]) -> str:
    """A sentence when fewer people have a passkey than have to sign with one, else empty; `found` are those who may, stage by stage."""
    if rule.step_up != "passkey":
        return ""
    for stage, able in zip(rule.steps, found, strict=True):
        having = [one.name for one in able if one.name in rulebook.signers]
        if len(having) < stage.least and not stage.skip_after:
            can = f"of those who may approve, only {' and '.join(having)} can" if having else "nobody who may approve this has one yet"
            machine = f" Or on the hub's machine: countersign passkey accept {run.number} FINGERPRINT" if run.command == ENROL else ""
            return f"This is signed with passkeys, and {can}: enrol one as docs/operators/passkeys.md says.{machine}"
    return ""
