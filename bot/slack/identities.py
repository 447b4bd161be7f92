"""A Slack account becomes a Person or is refused: identity is (team, immutable id), full members of listed workspaces only."""

from dataclasses import dataclass

from bot.hubs import Hub
from commands.linking import finish_link
from countersign.invocations import Door
from integrations.slack.clients import SlackUser
from store.audits import AuditEvent, record
from store.databases import WriteSession
from store.people import Account, Person, find_by_account, find_name_by_email, link_account

from .accounts import Accounts, SlackSilent
from .workspaces import Workspace


@dataclass(frozen=True)
class Stranger:
    """Nobody who may act: `sentence` for them, `reason` for the audit."""

    sentence: str
    reason: str


_FOREIGN = Stranger("Only members of this company can use Countersign here.", "external_denied")
_GUEST = Stranger("Guests cannot run this; ask a full member of the workspace.", "guest_denied")
_BOT = Stranger("Apps and bots cannot ask here; give them a service account and a token.", "unknown_account")
_GONE = Stranger("This Slack account is deactivated.", "actor_inactive")
_UNKNOWN = Stranger("Slack knows no such account.", "unknown_account")
_UNLINKED = Stranger(
    "This Slack account belongs to nobody Countersign knows; ask an admin to add you to the policy,"
    " or, if you can sign in to the browser room, get a code there with: link code",
    "unknown_account",
)
_TWICE = Stranger(
    "Somebody with your e-mail address already uses another account of this workspace; ask an admin to link this one.", "unknown_account"
)


class Identities:
    """Asked on every command, click, form and event; nothing that a payload says about a person's rights is believed."""

    def __init__(self, hub: Hub, accounts: Accounts, workspace: Workspace) -> None:
        self._hub, self._accounts, self._workspace = hub, accounts, workspace

    async def find(self, user: str, *, claimed: str, trace: str, recorded: bool = True) -> Person | Stranger:
        """The person behind an account; a refusal is recorded, unless that of the same request was.

        `claimed` is the team that the payload says the person is of, empty if it does not say: a foreign one is enough to refuse,
        an own one is not enough to believe. Raises SlackSilent, NothingDone or NotConfirmed.
        """
        found = await self._find(user, claimed)
        if isinstance(found, Stranger) and recorded:
            await self._note(found, user, claimed, trace)
        return found

    async def prove(self, user: str, code: str, *, claimed: str, trace: str) -> str:
        """What became of a code that an account typed to be linked; a sentence for it alone.

        Raises SlackSilent, NothingDone or NotConfirmed.
        """
        teams = await self._teams()
        account = await self._accounts.find(user)
        refusal = _FOREIGN if claimed and claimed not in teams else _refused(account, teams)
        if refusal is not None:
            await self._note(refusal, user, claimed, trace)
            return refusal.sentence
        assert account is not None  # noqa: S101  _refused() says so
        key = Account("slack", account.team, user)
        answer = await self._hub.committed(lambda session: finish_link(session, key, code, trace=trace))
        return answer.sentence

    async def named(self, user: str) -> Person | None:
        """The person whom a text mentions; None for somebody who could not ask either."""
        found = await self._find(user, "")
        return found if isinstance(found, Person) else None

    async def _find(self, user: str, claimed: str) -> Person | Stranger:
        identity = (await self._hub.rulebook()).policy.identity("slack")
        teams = await self._teams()
        if claimed and claimed not in teams:
            return _FOREIGN
        account = await self._accounts.find(user)
        if refusal := _refused(account, teams):
            return refusal
        assert account is not None  # noqa: S101  _refused() says so
        key = Account("slack", account.team, user)
        person = await self._hub.person(key)
        if person is None and identity.link_by_email and account.email:
            return await self._link(key, account.email)
        return person or _UNLINKED

    async def _teams(self) -> tuple[str, ...]:
        """The workspaces whose full members may act."""
        identity = (await self._hub.rulebook()).policy.identity("slack")
        teams = identity.teams or ((self._workspace.team,) if self._workspace.team else ())
        if not teams:
            raise SlackSilent
        return teams

    async def _note(self, stranger: Stranger, user: str, claimed: str, trace: str) -> None:
        actor = f"slack:{(claimed or self._workspace.team)[:40]}:{user[:40]}"
        detail = {"reason": stranger.reason, "door": Door.slack.value, "trace": trace}
        await self._hub.record([AuditEvent("request:refused", actor, None, detail)])

    async def _link(self, key: Account, email: str) -> Person | Stranger:
        async def work(session: WriteSession) -> Person | Stranger:
            name = await find_name_by_email(session, email)
            if name is None:
                return _UNLINKED
            if await link_account(session, key, name, by="e-mail"):
                detail = {"platform": key.platform, "team": key.team, "account": key.account, "by": "e-mail"}
                await record(session, [AuditEvent("account:linked", name, None, detail)])
            return await find_by_account(session, key) or _TWICE

        return await self._hub.committed(work)


def _refused(account: SlackUser | None, teams: tuple[str, ...]) -> Stranger | None:
    if account is None:
        return _UNKNOWN
    if account.team not in teams or account.is_stranger:
        return _FOREIGN
    if account.deleted:
        return _GONE
    if account.is_bot:
        return _BOT
    return _GUEST if account.is_guest else None
