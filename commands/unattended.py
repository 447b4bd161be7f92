"""unattended: what a schedule or a trigger asks for as a service account. Nobody is there to fill in a form, so what is missing refuses."""

from dataclasses import dataclass, replace

from countersign.invocations import Invocation
from store.audits import AuditEvent, record
from store.databases import WriteSession
from store.people import Person, find_person
from store.runs import Born, create

from .limits import find_used_up
from .requests import INACTIVE
from .rulebooks import Rulebook
from .submit import Ask, Birth, ControlCall, NotBorn, prepare


@dataclass(frozen=True)
class Sent:
    """What became of it: the run (born refused where `refused` says why), or no run, and the sentence for whoever answers for it."""

    sentence: str
    born: Born | None = None
    refused: str = ""


async def submit_unattended(
    session: WriteSession,
    rulebook: Rulebook,
    invocation: Invocation,
    *,
    account: str,
    source: str,
    holder: str = "",
    known: Person | None = None,
) -> Sent:
    """Asks as a service account, in the caller's transaction; the same key again gives the same run.

    `source` is what asks, as people read it: `schedule nightly-backup`. The `holder` answers for the request in the account's place: they
    may cancel it, are told of it, and do not approve it, unless they are the only person there is. `known` is the account for who has
    just looked it up. Refusals are recorded, whatever the caller does with the sentence.
    """
    person = known or await find_person(session, account)
    if person is None or not person.service:
        return await _unheard(session, invocation, account, source, f"There is no service account {account}.", "unknown_account")
    if not person.active:
        sentence = f"The service account {account} is not active any more."
        return await _unheard(session, invocation, account, source, sentence, INACTIVE.reason)
    prepared = prepare(rulebook, person, invocation)
    if isinstance(prepared, NotBorn):
        detail = prepared.event.detail | {"source": source}
        await record(session, [replace(prepared.event, detail=detail)])
        return Sent(prepared.sentence, refused=str(detail["reason"]))
    if isinstance(prepared, Ask):
        return await _unheard(session, invocation, account, source, prepared.sentence, "incomplete")
    if isinstance(prepared, ControlCall):
        sentence = f"{prepared.command.name} answers at once whoever asks; only commands that make a run can be asked for like this."
        return await _unheard(session, invocation, account, source, sentence, "control")
    birth = await _within_limits(session, prepared)
    held = None if rulebook.alone else holder or None
    run = replace(birth.run, source=source, handed_to=held)
    return Sent(birth.sentence, (await create(session, [run]))[run.key], birth.run.because)


async def _within_limits(session: WriteSession, birth: Birth) -> Birth:
    used_up = await find_used_up(session, birth.limits) if birth.limits else None
    return birth.refused(used_up) if used_up else birth


async def _unheard(session: WriteSession, invocation: Invocation, account: str, source: str, sentence: str, reason: str) -> Sent:
    detail = {"reason": reason, "door": invocation.door, "place": invocation.place.as_json(), "trace": invocation.trace, "source": source}
    await record(session, [AuditEvent("request:refused", account, None, detail)])
    return Sent(sentence, refused=reason)
