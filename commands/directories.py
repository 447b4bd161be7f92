"""directories: what Slack and a SCIM directory say of people and groups is made so, by workers only, under the policy in force."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from nacl.exceptions import CryptoError
from sqlalchemy import text

from store.audits import AuditEvent, record
from store.databases import ReadSession, WriteSession
from store.directories import (
    GROUP,
    USER,
    Word,
    find_all_resources,
    find_directory_people,
    keep_directory_person,
    lock_followers,
    settle_words,
    take_words,
)
from store.people import Account, find_by_account
from store.rosters import OIDC, SCIM, Membership, find_from, find_memberships, forget_vouchers, sync_memberships, vouch
from store.secrets import Opener
from store.tokens import find_token

from .lastadmins import sparing_an_admin
from .policies import Policy

BATCH: Final = 500
MOST_NAMES: Final = 100
_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9._-]+")
_NO_LOGIN: Final = "its ID token is not one of the issuer's for this hub"
_UNPROVED: Final = "no live token of a directory was shown with it"


@dataclass(frozen=True)
class SlackState:
    """What Slack said: members of its user groups by id (None: it was not asked or did not say), and which accounts are deactivated."""

    team: str
    groups: Mapping[str, Collection[str]] | None
    deactivated: Collection[str]
    active: Collection[str]

    @property
    def source(self) -> str:
        return f"slack:{self.team}"


async def follow_feed(session: WriteSession, policy: Policy, opener: Opener, *, again: bool = False) -> int:
    """Makes so what a SCIM directory said since the last time; returns how many words that were. `again` looks at all of it anew.

    Only what came with a live token of a directory counts: the process that took it in is not believed by itself.
    """
    await lock_followers(session)
    words = await take_words(session, limit=BATCH)
    if not words and not again:
        return 0
    proved = await _proved(session, words, opener) if "scim" in policy.file.directories else set()
    refused = [one.n for one in words if one.n not in proved]
    await settle_words(session, sorted(proved), refused, because=_UNPROVED)
    if refused:
        await record(session, [AuditEvent("directory:refused", "countersign", None, {"words": len(refused), "because": _UNPROVED})])
    await sparing_an_admin(session, policy, lambda spared: _follow_all(session, policy, spared), source=SCIM)
    return len(words)


@dataclass(frozen=True)
class Claimed:
    """What an ID token says of groups, row `n` of the feed; without an issuer the token proved nothing."""

    n: int
    issuer: str = ""
    subject: str = ""
    groups: Collection[str] | None = None


async def follow_logins(session: WriteSession, policy: Policy, claimed: Sequence[Claimed]) -> None:
    """Makes so what the ID tokens of people who signed in said of their groups, as policy maps them."""
    await lock_followers(session)
    await settle_words(session, [one.n for one in claimed if one.issuer], [one.n for one in claimed if not one.issuer], because=_NO_LOGIN)
    if refused := sum(not one.issuer for one in claimed):
        await record(session, [AuditEvent("directory:refused", "countersign", None, {"words": refused, "because": _NO_LOGIN})])
    mapped = policy.file.directories["oidc"].groups if "oidc" in policy.file.directories else {}
    for one in claimed:
        person = await find_by_account(session, Account(OIDC, one.issuer, one.subject)) if one.issuer else None
        if person is not None and one.groups is not None:
            wanted = {(person.name, mapped[theirs]) for theirs in one.groups if theirs in mapped}
            await _follow_login(session, policy, person.name, wanted)


async def _follow_login(session: WriteSession, policy: Policy, name: str, wanted: Collection[tuple[str, str]]) -> None:
    others = {(one.person, one.group) for one in await find_from(session, OIDC) if one.person != name}

    async def make_so(spared: frozenset[str]) -> None:
        await _sync(session, others | set(wanted), source=OIDC, spared=spared)

    await sparing_an_admin(session, policy, make_so, source=OIDC)


async def follow_slack(session: WriteSession, policy: Policy, state: SlackState) -> None:
    """Makes so what Slack said: memberships as policy maps its user groups, and who was deactivated there is let go here."""
    rows = await session.execute(
        text("SELECT account, person FROM chat_accounts WHERE platform = 'slack' AND team = :team"), {"team": state.team}
    )
    linked = {row.account: row.person for row in rows}
    mapped = policy.file.directories["slack"].groups if "slack" in policy.file.directories else {}

    async def make_so(spared: frozenset[str]) -> None:
        if state.groups is not None:
            await _sync(session, _wanted(state.groups, mapped, linked), source=state.source, spared=spared)
        gone = {linked[one]: False for one in state.deactivated if one in linked and linked[one] not in spared}
        changed = await vouch(session, gone, source=state.source)
        back = {linked[one] for one in state.active if one in linked}
        changed |= await forget_vouchers(session, source=state.source, active=False, people=back)
        await _tell(session, changed, source=state.source)

    await sparing_an_admin(session, policy, make_so, source=state.source)


async def _follow_all(session: WriteSession, policy: Policy, spared: frozenset[str]) -> None:
    """Everything that the feed ever said, as it stands now; nothing is taken from those `spared`."""
    if "scim" in policy.file.directories:
        people = await _follow_people(session, policy, spared)
        await _follow_groups(session, policy, people, spared)
        return
    held = {row.person for row in await session.execute(text("SELECT person FROM vouchers WHERE source = :source"), {"source": SCIM})}
    await forget_vouchers(session, source=SCIM, active=True, people=held - spared)
    await _sync(session, set(), source=SCIM, spared=spared)


async def _proved(session: ReadSession, words: Sequence[Word], opener: Opener) -> set[int]:
    """The words that came with a live token; each token is looked up once."""
    known: dict[str, bool] = {}
    proved = set()
    for one in words:
        try:
            value = opener.open(one.token)
        except (CryptoError, ValueError, TypeError):
            continue
        if value not in known:
            known[value] = await find_token(session, value, kind=SCIM) is not None
        if known[value]:
            proved.add(one.n)
    return proved


async def _follow_people(session: WriteSession, policy: Policy, spared: frozenset[str]) -> dict[UUID, str]:
    """Whom each user of the directory is here; new ones are made, and those it let go are let go here."""
    users = await find_all_resources(session, USER)
    names = await _named(session, policy, users)
    said: dict[str, bool] = {}
    for resource, body in users.items():
        if resource in names:
            name = names[resource]
            said[name] = said.get(name, False) or name in spared or (body is not None and bool(body.get("active", True)))
    await _describe(session, policy, users, names)
    await _tell(session, await vouch(session, said, source=SCIM), source=SCIM)
    return names


async def _named(session: WriteSession, policy: Policy, users: Mapping[UUID, Mapping[str, Any] | None]) -> dict[UUID, str]:
    names = await find_directory_people(session)
    rows = (await session.execute(text("SELECT name, email, service FROM people"))).all()
    by_email = {row.email: row.name for row in rows if row.email and not row.service}
    taken = {row.name for row in rows} | set(policy.file.actors)
    for resource, body in users.items():
        if resource in names or body is None:
            continue
        email = email_of(body)
        name = by_email.get(email, "") if email else ""
        if not name:
            name = _free_name(str(body.get("userName", "")), taken)
            taken.add(name)
            await session.execute(
                text("INSERT INTO people (name, email, active) VALUES (:name, :email, false)"), {"name": name, "email": email or None}
            )
            if email:
                by_email[email] = name
        await keep_directory_person(session, resource, name)
        await record(session, [AuditEvent("person:known", name, None, {"source": SCIM, "resource": str(resource), "email": email})])
        names[resource] = name
    return names


async def _describe(
    session: WriteSession, policy: Policy, users: Mapping[UUID, Mapping[str, Any] | None], names: Mapping[UUID, str]
) -> None:
    """E-mail, time zone and manager as the directory has them, where policy does not say them."""
    rows = (await session.execute(text("SELECT name, email, timezone, manager FROM people"))).all()
    now = {row.name: (row.email, row.timezone, row.manager) for row in rows}
    used = {row.email: row.name for row in rows if row.email}
    for resource, body in users.items():
        if body is None or (name := names.get(resource)) is None:
            continue
        entry = policy.file.people.get(name)
        email, zone, manager = now[name]
        wanted = email_of(body) or None
        if not (entry and entry.email) and used.get(wanted or "", name) == name:
            email = wanted
        if entry is None and body.get("timezone"):
            zone = body["timezone"]
        if not (entry and entry.manager):
            manager = _manager(body, names)
        if (email, zone, manager) != now[name]:
            await session.execute(
                text("UPDATE people SET email = :email, timezone = :zone, manager = :manager WHERE name = :name"),
                {"name": name, "email": email, "zone": zone, "manager": manager if manager != name else None},
            )
            used |= {email: name} if email else {}


async def _follow_groups(session: WriteSession, policy: Policy, people: Mapping[UUID, str], spared: frozenset[str]) -> None:
    mapped = policy.file.directories["scim"].groups
    wanted = set()
    for resource, body in (await find_all_resources(session, GROUP)).items():
        for ours in {mapped[one] for one in _names_of(resource, body or {}) if one in mapped} if body else ():
            wanted |= {(people[one], ours) for one in _members(body or {}) if one in people}
    await _sync(session, wanted, source=SCIM, spared=spared)


async def _sync(session: WriteSession, wanted: Collection[tuple[str, str]], *, source: str, spared: frozenset[str]) -> None:
    kept = {(one.person, one.group) for name in spared for one in await find_memberships(session, name) if one.source == source}
    added, removed = await sync_memberships(session, kept | set(wanted), source=source)
    await record(session, [*_changes("added", added), *_changes("removed", removed)])


def _changes(how: str, changed: Sequence[Membership]) -> Iterator[AuditEvent]:
    for group in sorted({one.group for one in changed}):
        names = sorted(one.person for one in changed if one.group == group)
        for n in range(0, len(names), MOST_NAMES):
            detail = {"group": group, "source": changed[0].source, how: names[n : n + MOST_NAMES]}
            yield AuditEvent(f"membership:{how}", "countersign", None, detail)


async def _tell(session: WriteSession, changed: Mapping[str, bool], *, source: str) -> None:
    events = [AuditEvent("person:back" if active else "person:gone", name, None, {"source": source}) for name, active in changed.items()]
    await record(session, events)


def _wanted(groups: Mapping[str, Collection[str]], mapped: Mapping[str, str], linked: Mapping[str, str]) -> set[tuple[str, str]]:
    return {(linked[one], ours) for theirs, ours in mapped.items() for one in groups.get(theirs, ()) if one in linked}


def email_of(body: Mapping[str, Any]) -> str:
    """A user's address: the primary one, else the first, else a user name that is one."""
    emails = body.get("emails") or []
    chosen = next((one for one in emails if one.get("primary")), emails[0] if emails else {"value": body.get("userName", "")})
    value = str(chosen.get("value", "")).strip().lower()
    return value if "@" in value else ""


def _free_name(user_name: str, taken: Collection[str]) -> str:
    """A name for a new person, made from the part before the @; never one that somebody has."""
    plain = _NOT_IN_NAMES.sub("-", user_name.partition("@")[0].lower()).strip("-._")[:56] or "person"
    name, n = plain, 1
    while name in taken:
        n += 1
        name = f"{plain}-{n}"
    return name


def _manager(body: Mapping[str, Any], names: Mapping[UUID, str]) -> str | None:
    try:
        return names.get(UUID(str(body.get("manager", ""))))
    except ValueError:
        return None


def _names_of(resource: UUID, body: Mapping[str, Any]) -> set[str]:
    """What policy may know a directory's group by."""
    return {str(resource), *(str(body[one]) for one in ("displayName", "externalId") if body.get(one))}


def _members(body: Mapping[str, Any]) -> Iterator[UUID]:
    for one in body.get("members") or ():
        try:
            yield UUID(str(one))
        except ValueError:
            continue
