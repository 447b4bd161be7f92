"""Four people with `profile: team` and not a word more: a week's work needs no other policy, and nobody reads of what they do not use."""

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import text

from commands.inboxes import card_of_waiting, waiting_for
from commands.seed import DEFAULT_POLICY
from commands.stories import tell
from integrations.slack.blocks import home_view
from kit.bots import Bot, Member, RunHandle
from kit.fixtures import open_bot
from kit.servers import Servers
from store.databases import ReadSession, reading
from store.runs import search_runs

UNUSED: Final = (
    *("stages?", "quorum", "fallback", "escalat\\w*", "remind\\w*", "managers?", "on.call", "rotation", "schedules?"),
    *("(un)?delegat\\w*", "in (the|your|their) place", "standing", "break-glass", "glass", "reviews?", "badge"),
    *("freezes?", "frozen", "windows?", "opens", "passkeys?", "step.up", "sign(s|ed)?", "fresh login"),
    *("switch\\w*", "stop (everything|changes|command|integration)", "read-only"),
    *("access", "grants?", "revoke", "roles?", "limits?", "tickets?"),
)
"""Words of what a small team does not use, as they would be read on a card, in a form, in help or in an answer."""
PEOPLE: Final = ("ada", "lin", "kim", "max")
COMMANDS: Final = '''
"""What a small shop runs."""

from pathlib import Path

from countersign import Context, Plan, PlanningContext, Reply, StepFailed, action, command, step

HERE = Path({folder!r})


def now() -> str:
    return (HERE / "version").read_text() if (HERE / "version").exists() else "v1"


@step(idempotent=True)
async def put(ctx: Context, version: str) -> None:
    """Puts a version live."""
    (HERE / "version").write_text(version)


@step(idempotent=True)
async def check(ctx: Context, version: str) -> None:
    """Looks whether the shop answers."""
    if version == "v9":
        raise StepFailed("the shop does not answer")


@command("release", permission="shop:release")
async def release(ctx: PlanningContext, version: str) -> Plan:
    """Put a version of the shop live."""
    before = now()
    ctx.watch("version", before)
    return Plan(f"{{before}} → {{version}}", put(version).undone_by(put(before)), check(version))


@action("restart", permission="shop:restart", risk="low", idempotent=True)
async def restart(ctx: Context) -> None:
    """Restart the shop."""


@command("live", permission="shop:read", risk="read")
async def live(ctx: PlanningContext) -> Reply:
    """Show which version is live."""
    return Reply(text=now())
'''


@dataclass
class Team:
    """The shop's people. Whatever one of them is shown is kept, with who it was and where."""

    bot: Bot
    folder: Path
    shown: list[tuple[str, str]] = field(default_factory=list)
    read: int = 0

    async def ask(self, who: str, line: str) -> str:
        """Types a line; returns what the answer says, its form and card included."""
        answer = await Member(self.bot, who).ask(line)
        parts = [one.model_dump(mode="json") for one in (answer.reply, answer.form) if one]
        said = " ".join(_words(parts))
        self.shown.append((f"{who} typed {line}", said))
        return said

    async def say(self, who: str, line: str, *, dry_run: bool = False) -> RunHandle:
        """Types a command; returns its run."""
        run = await Member(self.bot, who).say(line, dry_run=dry_run)
        self.shown.append((f"{who} typed {line}", run.reply.text))
        return run

    async def press(self, who: str, verb: str, run: RunHandle, *, reason: str = "") -> str:
        member = Member(self.bot, who)
        buttons = {"approve": member.approve, "cancel": member.cancel}
        said = await member.deny(run, reason=reason) if verb == "deny" else await buttons[verb](run)
        self.shown.append((f"{who} pressed {verb}", said))
        return said

    async def roster(self, *names: str, by: str, approved_by: str) -> RunHandle:
        """Says who is on the team, the only thing of the policy that changes."""
        run = await Member(self.bot, by).submit("policy apply", text=policy_of(*names))
        await self.press(approved_by, "approve", run)
        assert run.succeeded, run.outcome
        await self.bot.later("1m")
        return run

    def live(self) -> str:
        return (self.folder / "version").read_text() if (self.folder / "version").exists() else "v1"

    async def look_around(self, who: str) -> None:
        """What there is to read: the home view, lists, forms, what is said to mistakes, and each run of the day with its details."""
        for line in ("help", "whoami", "runs", "inbox", "audit", "policy explain", "release", "policy explain lin release", "relaese v2"):
            assert await self.ask(who, line), line
        async with reading(self.bot.services.engine) as session:
            numbers = [one.number for one in await search_runs(session, limit=50) if one.number > self.read]
            self.shown.append((f"{who}'s home", " ".join(_words(await self._home(session, who)))))
        for number in numbers:
            await self.ask(who, f"run {number}")
            await self.ask(who, f"audit {number}")
        self.read = max([self.read, *numbers])

    async def read_help(self, who: str) -> None:
        """Every page of what help lists."""
        listed = re.findall(r"^/(.*?)(?:  | <| \[|$)", (await Member(self.bot, who).ask("help")).reply.code, re.MULTILINE)
        assert {"release", "approve", "run"} <= set(listed), listed
        for name in listed:
            await self.ask(who, f"help '{name}'")

    async def read_messages(self) -> None:
        """Every card and answer that was sent, as it looks now."""
        async with reading(self.bot.services.engine) as session:
            for row in await session.execute(text("SELECT kind, person, card FROM messages WHERE card IS NOT NULL")):
                self.shown.append((f"the {row.kind} to {row.person or 'all'}", " ".join(_words(row.card))))

    async def _home(self, session: ReadSession, who: str) -> dict[str, Any]:
        rulebook = await self.bot.hub.rulebook()
        inbox = await waiting_for(session, rulebook, await self.bot.person(who))
        mine = [await tell(session, one, rulebook=rulebook) for one in await search_runs(session, asker=who, limit=12)]
        return home_view([card_of_waiting(one, rulebook) for one in inbox.waiting], mine)

    async def end_of_day(self, who: str, *, until: str) -> None:
        """Somebody reads everything, and nobody has been shown a word too many."""
        await self.look_around(who)
        await self.read_messages()
        assert not unused(self.shown), "\n".join(unused(self.shown))
        self.shown.clear()
        await self.bot.later(until)


@pytest.fixture
async def team(servers: Servers, tmp_path: Path) -> AsyncIterator[Team]:
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands" / "shop.py").write_text(COMMANDS.format(folder=str(tmp_path)))
    async with open_bot(servers.fresh_database(), tmp_path, commands=tmp_path / "commands") as bot:
        bot.policy_file(policy_of(*PEOPLE))
        yield Team(bot, tmp_path)


def policy_of(*people: str) -> str:
    """The policy that a hub starts with, and who is there."""
    return DEFAULT_POLICY + "people:\n" + "".join(f"  {one}: {{email: {one}@shop.example}}\n" for one in people)


def unused(shown: list[tuple[str, str]]) -> list[str]:
    pattern = re.compile(rf"\b({'|'.join(UNUSED)})\b", re.IGNORECASE)
    found = [(where, said, one) for where, said in shown for one in pattern.finditer(said)]
    return sorted({f"{where}: …{said[max(0, one.start() - 50) : one.end() + 30]!r}" for where, said, one in found})


async def test_a_week_needs_no_policy_edit_and_shows_nothing_that_is_not_used(team: Team) -> None:
    await monday(team)
    await tuesday(team)
    await wednesday(team)
    await thursday(team)
    await friday(team)
    kept = {one.status for one in await _runs(team)}
    assert kept >= {"succeeded", "denied", "expired", "cancelled", "rolled_back", "answered"}
    await one_day(team)


def test_the_story_would_notice() -> None:
    for word in ("Stage 2 of 3", "/delegate <person>", "a standing approval", "needs a passkey", "Frozen until", "window opens", "roles"):
        assert unused([("somewhere", f"it says: {word}!")]), word
    assert not unused([("somewhere", "Waits for one person other than ada. Approve Deny Details Cancel")])


async def monday(team: Team) -> None:
    """Ada asks, may not approve it herself, Lin does; small things need nobody; what was asked in the evening nobody sees in time."""
    run = await team.say("ada", "release v2")
    assert run.status == "awaiting_approval"
    assert "someone else must approve" in (await team.press("ada", "approve", run)).lower()
    assert "release version=v2" in await team.ask("lin", "inbox")
    await team.press("lin", "approve", run)
    assert (run.status, team.live()) == ("succeeded", "v2")
    assert "already approved by lin" in await team.press("kim", "approve", run)
    assert (await team.say("kim", "restart")).succeeded
    assert (await team.say("kim", "live")).answer is not None
    late = await team.say("max", "release v3")
    await team.read_help("kim")
    await team.end_of_day("max", until="25h")
    assert (late.status, team.live()) == ("expired", "v2")


async def tuesday(team: Team) -> None:
    """Kim says no and why; Ada reads it; Lin changes her mind about a request of her own."""
    run = await team.say("ada", "release v3")
    await team.press("kim", "deny", run, reason="The sale ends at noon")
    assert (run.status, run.outcome) == ("denied", "Denied by kim: The sale ends at noon")
    assert "The sale ends at noon" in await team.ask("ada", f"run {run.id}")
    withdrawn = await team.say("lin", "release v4")
    await team.ask("lin", f"withdraw {withdrawn.id} --reason 'v5 comes instead'")
    await team.bot.refresh()
    assert withdrawn.status == "cancelled"
    cancelled = await team.say("max", "release v4")
    await team.press("max", "cancel", cancelled)
    assert cancelled.status == "cancelled"
    await team.end_of_day("lin", until="23h")


async def wednesday(team: Team) -> None:
    """A release that fails is taken back by itself; before the next one Ada looks at the plan without asking anybody."""
    run = await team.say("ada", "release v9")
    await team.press("max", "approve", run)
    assert (run.status, team.live()) == ("rolled_back", "v2")
    tried = await team.say("ada", "release v5", dry_run=True)
    assert (tried.summary, team.live()) == ("v2 → v5", "v2")
    assert "required" in await team.ask("ada", "help release")
    await team.end_of_day("ada", until="1d")


async def thursday(team: Team) -> None:
    """Ivo joins, asks for something the same day, and approves something."""
    await team.roster(*PEOPLE, "ivo", by="max", approved_by="lin")
    run = await team.say("ivo", "release v5")
    await team.press("ivo", "approve", run)
    await team.press("kim", "approve", run)
    assert (run.status, team.live()) == ("succeeded", "v5")
    other = await team.say("kim", "release v6")
    await team.press("ivo", "approve", other)
    assert (other.status, team.live()) == ("succeeded", "v6")
    await team.end_of_day("ivo", until="1d")


async def friday(team: Team) -> None:
    """Kim leaves while a request of hers waits; she is nobody from then on. The others read what the week was."""
    waiting = await team.say("kim", "release v7")
    await team.roster("ada", "lin", "max", "ivo", by="lin", approved_by="ada")
    await team.press("max", "approve", waiting)
    assert (waiting.status != "succeeded", team.live()) == (True, "v6")
    run = await team.say("max", "release v8")
    assert "not" in await team.press("kim", "approve", run)
    assert run.status == "awaiting_approval"
    await team.press("ada", "deny", run, reason="Not on a Friday")
    team.read = 0
    await team.end_of_day("ada", until="3d")


async def one_day(team: Team) -> None:
    """The team has grown, and its policy says who approves: now help lists what goes with that, and still nothing else."""
    said = await team.ask("ada", "help")
    assert not re.search("/(delegate|standing|grant|review|access|passkey|stop)", said)
    team.bot.policy_file(policy_of("ada", "lin", "max", "ivo") + "roles: {approver: ['countersign:approve', 'countersign:break-glass']}\n")
    said = await team.ask("ada", "help")
    assert {"delegate", "undelegate", "standing", "grant", "review"} <= set(re.findall("/([a-z-]+)", said))
    assert not re.search("/(access|passkey|stop|break-glass)", said)


async def _runs(team: Team) -> list[Any]:
    async with reading(team.bot.services.engine) as session:
        return list(await search_runs(session, limit=50))


def _words(value: Any) -> Iterator[str]:
    """Every text in it; names of keys are not read by anybody."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _words(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _words(one)
