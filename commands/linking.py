"""linking: a chat account is proved from both sides: a code shown to a person who is signed in is typed by the account in chat."""

import re
import secrets
from dataclasses import dataclass
from typing import Any, Final

from countersign.arguments import Duration
from countersign.replies import Reply
from store.audits import AuditEvent, record
from store.databases import WriteSession
from store.messages import NewMessage, add_messages
from store.people import Account, Person, find_by_account, find_person, link_account
from store.tokens import end_codes, keep_code, spend_token

from .authorizing import INACTIVE, Refused

KIND: Final = "link_code"
LIFETIME: Final = Duration(minutes=10)
# Without letters and digits that are mistaken for each other; ten of them are 2^50 codes, of which one lives for ten minutes.
_LETTERS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH: Final = 10
_TYPED: Final = re.compile(r"\s*/?link\s+([0-9A-Za-z]{5})-?([0-9A-Za-z]{5})\s*\Z")
_MISTAKEN: Final = str.maketrans({"O": "0", "I": "1", "L": "1", "U": "V"})


@dataclass(frozen=True)
class Linked:
    """The account acts as this person from now on."""

    person: str
    sentence: str


async def begin_link(session: WriteSession, person: Person) -> str:
    """A code for this person, who proves to be them by being signed in; it lives ten minutes, works once and ends an earlier one."""
    letters = "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
    await end_codes(session, person=person.name, kind=KIND)
    await keep_code(session, letters, kind=KIND, person=person.name, lifetime=LIFETIME.total_seconds())
    await record(session, [AuditEvent("link:begun", person.name, None, {"lives": str(LIFETIME)})])
    return f"{letters[:5]}-{letters[5:]}"


def code_in(text: str) -> str:
    """The code in a line such as `link 7K2QF-9XWMA`; empty when the line is none."""
    found = _TYPED.match(text)
    return (found[1] + found[2]).upper().translate(_MISTAKEN) if found else ""


async def finish_link(session: WriteSession, account: Account, code: str, *, trace: str) -> Linked | Refused:
    """Links the account that typed the code, which uses the code up; one audit event either way, and the person is told.

    Whether the account may act at all (a full member, of a workspace that policy lists) was checked by the door.
    """
    answer = await _answer(session, account, code)
    place = {"platform": account.platform, "team": account.team, "account": account.account}
    if isinstance(answer, Refused):
        actor = f"{account.platform}:{account.team}:{account.account}"
        detail: dict[str, Any] = {"reason": answer.reason, "door": account.platform, "trace": trace}
        await record(session, [AuditEvent("request:refused", actor, None, detail)])
        return answer
    await record(session, [AuditEvent("account:linked", answer.person, None, {**place, "by": "code", "trace": trace})])
    told = f"The {account.platform} account {account.account} acts as you from now on. If that was not you, tell an admin at once."
    card = Reply(text=told).model_dump(mode="json")
    await add_messages(session, [NewMessage(None, "reply", "room", "", person=answer.person, card=card)])
    return answer


async def _answer(session: WriteSession, account: Account, code: str) -> Linked | Refused:
    already = await find_by_account(session, account)
    if already is not None:
        return Refused(f"This account acts as {already.name} already.", "linked_already")
    spent = await spend_token(session, code, kind=KIND)
    person = await find_person(session, spent.person) if spent and spent.person else None
    if person is None:
        return Refused("This code is not known, was used, or is older than ten minutes; get a new one: link code", "unknown_code")
    if not person.active:
        return INACTIVE
    if not await link_account(session, account, person.name, by="code"):
        return Refused(f"{person.name} has another account in this workspace already; ask an admin to link this one.", "linked_already")
    return Linked(person.name, f"Linked: this account acts as {person.name} from now on.")
