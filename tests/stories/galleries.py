"""A hub in which everything has happened that a page can show: runs that ended in every way and wait for everything, and more."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID, uuid4

import httpx
from sqlalchemy import text

from automations.housekeeping.following import Follower
from automations.housekeeping.indexing import index_once
from automations.housekeeping.sealing import signer_of
from automations.services import Services
from bot.scim.resources import ENTERPRISE
from commands.breaking import target_of
from countersign.invocations import Door, Invocation, Place
from countersign.runs import RunStatus
from integrations.slack.errors import SlackRefused
from kit.authenticators import Key
from kit.bots import Bot, Member, RunHandle
from kit.fixtures import open_bot
from store.databases import reading, transaction
from store.deliveries import put_off
from store.embedded import DatabaseUrls
from store.erasures import erase_events
from store.grants import give
from store.integrations import note_looks, note_used
from store.legalholds import place_hold
from store.messages import NewMessage, add_messages
from store.passkeys import NewPasskey, add_passkey
from store.runs import find_run
from store.sealing import Signer, seal
from store.tokens import issue_token
from store.workers import note_worker, save_choices
from tests.bot.webs import Web, served
from tests.hubs import World
from tests.stories.alarms import notification
from tests.stories.shops import COMMANDS, POLICY

SECRET: Final = "8f742231b10e8888abcd99yyyzzz85a5"
HOSTILE: Final = "javascript:alert(5)//"
"""Where somebody says that an alert comes from."""
_PLACES: Final = {
    "succeeded": "SELECT max(number) FROM runs WHERE status = 'succeeded' AND badge = '' AND arguments ->> 'env' = 'prod'",
    "answered": "SELECT max(number) FROM runs WHERE status = 'answered' AND command = 'status'",
    "broken": "SELECT max(number) FROM runs WHERE badge = 'break-glass'",
    "elsewhere": "SELECT coalesce(max(person), 'ada') FROM directory_people",
    "deciding": "SELECT max(number) FROM runs WHERE command = 'ship' AND arguments ->> 'service' = 'search'",
    "critical": "SELECT max(number) FROM runs WHERE command = 'wipe'",
    "event": "SELECT id FROM audit_events WHERE kind = 'decision:approve' ORDER BY at_us DESC LIMIT 1",
    "erased": "SELECT id FROM audit_events WHERE payload IS NULL ORDER BY at_us LIMIT 1",
    "policy": "SELECT digest FROM policies ORDER BY applied_at LIMIT 1",
}


@dataclass
class Gallery:
    """The hub, the people and what they write; `words` stands wherever somebody or something can write freely."""

    web: Web
    bot: Bot
    words: str = ""
    planted: list[str] = field(default_factory=list)
    places: dict[str, str] = field(default_factory=dict)

    def member(self, name: str) -> Member:
        return Member(self.bot, name)

    def said(self, ordinary: str = "", *, longest: int = 500) -> str:
        """What somebody writes: something ordinary, and where a gallery has words, these after it."""
        if not self.words:
            return ordinary
        head = ordinary or f"note {len(self.planted)}"
        self.planted.append(head)
        return f"{head} {self.words}"[:longest]

    async def order(self, who: str, command: str, **arguments: Any) -> None:
        """Has somebody say what answers at once."""
        given = {name: str(value) for name, value in arguments.items()}
        place = Place("room", "", "ops")
        invocation = Invocation(key=str(uuid4()), door=Door.browser, place=place, command=command, arguments=given)
        answer = await self.bot.hub.submit(await self.bot.person(who), invocation)
        assert not answer.refused, answer.reply.text
        await self.bot.refresh()

    async def one(self, query: str, **values: Any) -> Any:
        async with reading(self.bot.owner) as session:
            return (await session.execute(text(query), values)).scalar_one()


@asynccontextmanager
async def open_gallery(urls: DatabaseUrls, folder: Path, *, words: str = "") -> AsyncIterator[Gallery]:
    """The hub behind a real server, furnished; `words` stand wherever somebody or something can write."""
    commands = folder / "commands"
    commands.mkdir()
    (commands / "shop.py").write_text(COMMANDS)
    world = World(urls, "", folder, POLICY, {"COUNTERSIGN_COMMANDS": str(commands)})
    planted: list[str] = []
    whole = _with_words(POLICY, words, planted) if words else POLICY
    async with open_bot(urls, folder, commands=commands) as bot:
        for policy in (POLICY.replace("count: 2", "count: 1").replace("  eve:", "  gus: {email: gus@example.test}\n  eve:"), whole):
            bot.policy_file(policy)
            await bot.person("ada")
        async with served(world) as web:
            gallery = Gallery(web, bot, words, planted)
            await furnish(gallery)
            yield gallery


def _with_words(policy: str, words: str, planted: list[str]) -> str:
    """The policy with these words in the names and sentences that whoever writes one may choose; what they come after is `planted`."""

    def said(head: str) -> str:
        planted.append(head)
        return json.dumps(f"{head} {words}")

    rules = f"  - {{name: {said('not for nothing')}, command: status, when: {{note: nothing}}, deny: {said('Say what for.')}}}\n"
    rules += f"  - {{name: {said('not too often')}, command: status, limit: {{count: 100, per: 1h}}}}\n"
    guests = said("guests")
    for before, after in (
        ("name: prod takes two", f"name: {said('prod takes two')}"),
        ("  auditor:", f"  {said('reader')}: [shop:ship]\n  auditor:"),
        ("kim@example.test, groups: [leads]", f"kim@example.test, groups: [leads, {guests}]"),
        ("robots: [deployer]", f"robots: [deployer], {guests}: [deployer]"),
    ):
        policy = policy.replace(before, after)
    return policy + rules + f"directories: {{scim: {{groups: {{{json.dumps(_staff(words))}: developers}}}}}}\n"


def _staff(words: str) -> str:
    """A group as the directory calls it, which is at most so long."""
    return f"Staff {words}"[:200]


async def furnish(gallery: Gallery) -> None:
    """Has all of it happen, in the order in which it would."""
    await _ended_well(gallery)
    await _ended_badly(gallery)
    await _from_outside(gallery)
    await _by_the_clock(gallery)
    await _looked_after(gallery)
    await _under_way(gallery)
    await _around(gallery)
    if gallery.words:
        await _from_elsewhere(gallery)
    await keep_record(gallery.bot.services)
    await _find_places(gallery)


async def keep_record(services: Services) -> None:
    """Seals and indexes what was recorded, as housekeepers do."""
    signer = signer_of(services.settings)
    while await _sealed(services, signer):
        pass
    while await index_once(services):
        pass


async def _sealed(services: Services, signer: Signer) -> bool:
    async with services.transaction() as session:
        return await seal(session, signer) is not None


async def _find_places(gallery: Gallery) -> None:
    """Where everything is: of runs the latest of each status, and what other addresses name."""
    async with reading(gallery.bot.owner) as session:
        rows = await session.execute(text("SELECT status, max(number) AS number FROM runs WHERE command <> 'wipe' GROUP BY status"))
        gallery.places |= {row.status: str(row.number) for row in rows}
    for name, query in _PLACES.items():
        gallery.places[name] = str(await gallery.one(query))
    gallery.places["link"] = await gallery.web.token("link", "ada", scopes=())


async def ship(gallery: Gallery, *, version: str = "v2", env: str = "staging", service: str = "api", who: str = "ada") -> RunHandle:
    note = gallery.said("spring sale")
    return await gallery.member(who).submit("ship", service=service, version=version, env=env, note=note)


async def _ended_well(gallery: Gallery) -> None:
    ada, lin, kim = (gallery.member(name) for name in ("ada", "lin", "kim"))
    await ship(gallery)
    run = await ship(gallery, env="prod")
    number = await gallery.one("SELECT number FROM runs WHERE id = :id", id=run.id)
    await gallery.order("lin", "ask", number=number, question=gallery.said("Did you tell support?"))
    await gallery.order("ada", "answer", number=number, text=gallery.said("Yes, an hour ago."))
    await gallery.order("kim", "comment", number=number, text=gallery.said("Friday again, folks."))
    await lin.approve(run, reason=gallery.said("looks right"))
    await kim.approve(run, reason=gallery.said("go"))
    assert run.succeeded, run.outcome
    await ada.submit("status", note=gallery.said())
    await ada.submit("delegate", person="lin", duration="2d")


async def _ended_badly(gallery: Gallery) -> None:
    ada, lin = gallery.member("ada"), gallery.member("lin")
    back, stuck, refused = [await ship(gallery, version=version) for version in ("v9", "v8", "v0")]
    assert (back.status, stuck.status, refused.status) == (RunStatus.rolled_back, RunStatus.rollback_failed, RunStatus.failed)
    denied = await ship(gallery, env="prod", service="web", version="v3")
    await lin.deny(denied, reason=gallery.said("Not on a Friday: support is at the summer party."))
    given_up = await ship(gallery, env="prod", service="web", version="v4")
    await ada.cancel(given_up)
    unclear = await ada.submit("pay out", amount="120 EUR", note=gallery.said("order 4711"))
    assert unclear.status is RunStatus.interrupted, unclear.outcome


async def _from_outside(gallery: Gallery) -> None:
    """A trigger that runs a command, one that shows alerts, and deliveries that were refused."""
    max_, lin = gallery.member("max"), gallery.member("lin")
    given = {"sender": "github", "account": "night-shift", "run": "ship", "secret": SECRET}
    mapping = f"service='api'; version=payload.version; note=payload.note + {json.dumps(gallery.said(', as mapped'))}"
    label = "<b class=planted>Ship v2</b>" if gallery.words else "Ship v2"
    runbooks = f"{label}: ship service=labels.service; version='v2'; note={json.dumps(gallery.said('as the alert says'))}"
    for command, name, how in (
        ("trigger add", "releases", given | {"mapping": mapping}),
        ("trigger alerts", "prometheus", {"sender": "bearer", "channel": "#incidents", "secret": SECRET, "runbooks": runbooks}),
    ):
        run = await max_.submit(command, name=name, **how)
        await lin.approve(run)
        assert run.succeeded, run.outcome
    gallery.web.hub.forget()
    async with gallery.web.client() as sender:
        await _deliver(gallery, sender)
    await gallery.bot.settle()


async def _deliver(gallery: Gallery, sender: httpx.AsyncClient) -> None:
    releases, alerts = [await gallery.one("SELECT id FROM triggers WHERE name = :name", name=one) for one in ("releases", "prometheus")]
    for payload in ({"version": "v3", "note": gallery.said("from the release page")}, {"note": gallery.said("without a version")}):
        body = json.dumps(payload).encode()
        right, wrong = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest(), "sha256=" + "0" * 64
        delivery = gallery.said(f"delivery {payload.get('version', 'none')}", longest=60)
        event = f"release {gallery.words}".strip()
        headers = {"content-type": "application/json", "x-github-event": event, "x-github-delivery": delivery}
        for signature in (right, wrong):
            await sender.post(f"/hooks/{releases}", content=body, headers={**headers, "x-hub-signature-256": signature})
    checkout = [gallery.said(one, longest=100) for one in ("checkout", "edge-2")]
    for group, instance, link in (
        ("api", "db-7", "https://alerts.example.test"),
        (*checkout, gallery.said("https://alerts.example.test/checkout")),
        *([("mail", "mx-1", f"{HOSTILE}{gallery.words}")] if gallery.words else []),
    ):
        body = notification(instance, group=group, severity=gallery.said("critical", longest=100), link=link)
        headers = {"content-type": "application/json", "authorization": f"Bearer {SECRET}"}
        told = await sender.post(f"/hooks/{alerts}", content=body, headers=headers)
        assert told.status_code == 202, told.text


async def _by_the_clock(gallery: Gallery) -> None:
    max_ = gallery.member("max")
    why = gallery.said("Customers read it at breakfast.")
    status = f"status note={json.dumps(f'every night {gallery.words}'.strip())}"
    given = {"account": "night-shift", "why": why, "channel": f"#night-desk {gallery.words}".strip()}
    for name, when, what in (("nightly-status", "30 2 * * *", status), ("weekly-ship", "0 9 * * mon", "ship api v3")):
        run = await max_.submit("schedule add", name=name, when=when, what=what, **given)
        assert run.succeeded, run.outcome
    await max_.submit("schedule pause", name="weekly-ship", why=why)


async def _looked_after(gallery: Gallery) -> None:
    """Access that leads review, some of it unused; a legal hold; and of Gus, who has left, an event that was erased."""
    max_ = gallery.member("max")
    review = await max_.submit("access review", reviewers="lin, kim")
    assert review.status is RunStatus.waiting, review.outcome
    await _catalogue_reviewed(gallery)
    await _glass_broken(gallery)
    erasing = await max_.submit("people erase", person="gus")
    assert erasing.status is RunStatus.awaiting_approval, erasing.outcome
    run, asked = UUID(str(erasing.id)), await gallery.one("SELECT id FROM runs WHERE command = 'status' LIMIT 1")
    event = await gallery.one("SELECT id FROM audit_events WHERE run_id = :run AND kind = 'run:answered'", run=asked)
    begun = text("UPDATE runs SET status = :status WHERE id = :run")
    async with transaction(gallery.bot.owner) as session:
        for subject, role in (("lin", "keeper"), ("ada", f"reader {gallery.words}".strip())):
            await give(session, grant=uuid4(), subject=subject, role=role, length=timedelta(days=2), run=asked, approved_by=["kim"])
        await place_hold(session, kind="command", target="ship", reason=gallery.said("case 12 goes to court"), by="max", run=asked)
        await session.execute(begun, {"status": "running", "run": run})
        await erase_events(session, [event], run=run)
        await session.execute(begun, {"status": "awaiting_approval", "run": run})


async def _glass_broken(gallery: Gallery) -> None:
    """Max goes past the approvers, and Kim, who had no part in it, reviews that."""
    run = await ship(gallery, env="prod", service="tills")
    async with reading(gallery.bot.owner) as session:
        row = await find_run(session, run.id)
    assert row is not None
    await gallery.order("max", "break-glass", number=row.number, target=target_of(row), reason=gallery.said("Nobody can pay anything."))
    await gallery.bot.settle()
    assert run.succeeded, run.outcome
    await gallery.order("kim", "review", number=row.number, finding=gallery.said("It was right: the tills stood still."))


async def _standing_allowed(gallery: Gallery) -> None:
    """Ada need not ask each time, as long as she says the same."""
    note = json.dumps(gallery.said("the weekly till roll"))
    run = await gallery.member("ada").submit(
        "standing allow", what=f"ship tills v1 env=prod note={note}", people="ada", uses="2", duration="1h"
    )
    for name in ("lin", "kim"):
        await gallery.member(name).approve(run)
    assert run.succeeded, run.outcome


async def _catalogue_reviewed(gallery: Gallery) -> None:
    """Lin gives up the first of the commands that are to be looked at, and keeps the others."""
    review = await gallery.member("max").submit("catalogue review", reviewers="lin")
    task = await gallery.one("SELECT id FROM tasks WHERE run_id = :run", run=review.id)
    rows = await gallery.one("SELECT jsonb_array_length(asked -> 'rows') FROM tasks WHERE id = :task", task=task)
    verdicts = {f"row{n}": "accept" if n > 1 else "reject" for n in range(1, rows + 1)}
    await gallery.member("lin").send("task", task, **verdicts)
    assert review.succeeded, review.outcome


async def _under_way(gallery: Gallery) -> None:
    ada, max_ = gallery.member("ada"), gallery.member("max")
    for city in ("Oslo", "Oslo"):
        await ada.submit("move house", city=city, note=gallery.said())
    await ada.submit("restock", season="autumn", note=gallery.said())
    await ada.submit("pick", note=gallery.said())
    await ada.submit("rotate", service="api")
    half = await ship(gallery, env="prod", service="web", version="v5")
    await gallery.member("lin").approve(half)
    await ship(gallery, env="prod", service="search", version="v2", who="lin")
    await max_.submit("wipe", what=gallery.said("customer 4711"), password="not-to-be-seen", note=gallery.said())
    await max_.submit("grant", person="eve", role="deployer")
    await gallery.member("max").ask("ship api v7 env=prod", dry_run=True)


async def _around(gallery: Gallery) -> None:
    """A command that is stopped, messages that cannot be delivered, and a key of Lin's."""
    await gallery.order("max", "stop command", name="pay out", reason=gallery.said("The bank is being moved."))
    run = await gallery.one("SELECT id FROM runs WHERE command = 'ship' ORDER BY number DESC LIMIT 1")
    message = NewMessage(
        UUID(str(run)), "card", "slack", "T1", gallery.said("C0GONE", longest=100), card={"title": "ship", "fallback": "ship"}
    )
    key = Key("localhost", b"lin")
    token = {"name": "COUNTERSIGN_FLEET__TOKEN", "secret": True, "set": True}
    fleet = {"name": "fleet", "scopes": ["pods:read"], "variables": [token], "configured": True, "problem": ""}
    bank = fleet | {"name": gallery.said("bank"), "problem": gallery.said("bank did not answer within 5 s")}
    clock = fleet | {"name": "clock", "configured": False, "problem": "COUNTERSIGN_CLOCK__URL is required"}
    async with transaction(gallery.bot.services.engine) as session:
        label = gallery.said("phone", longest=40)
        await add_passkey(session, NewPasskey(uuid4(), key.id, key.data, "lin", label, key.rp_id, 0, None))
        await note_looks(session, [fleet, bank, clock])
        await note_used(session, ["fleet"])
        await add_messages(session, [message])
        await put_off(session, message.id, seconds=0, error=gallery.said(str(SlackRefused("channel_not_found"))), unclear=False, dead=True)


async def _from_the_directory(gallery: Gallery) -> None:
    """Zoe and her group, by the door for directories; what her admin wrote of her is wherever a directory may write."""
    async with transaction(gallery.bot.owner) as session:
        token = await issue_token(session, kind="scim", person=None, label="hr", scopes=(), lifetime=600)
    words = dict.fromkeys(("displayName", "externalId", "title", "userName"), f"Zoe {gallery.words}"[:200])
    name = dict.fromkeys(("formatted", "givenName", "familyName"), words["title"])
    emails = [{"value": gallery.said("zoe@example.test", longest=200)}]
    user = words | {"name": name, "emails": emails, ENTERPRISE: {"department": words["title"]}}
    async with gallery.web.client({"authorization": f"Bearer {token}", "content-type": "application/scim+json"}) as directory:
        made = await directory.post("/scim/v2/Users", json=user)
        group = {"displayName": _staff(gallery.words), "members": [{"value": made.json().get("id")}]}
        answer = await directory.post("/scim/v2/Groups", json=group)
    assert answer.status_code == 201, (made.text, answer.text)
    await Follower(gallery.bot.services).follow()
    assert await gallery.one("SELECT count(*) FROM memberships WHERE source = 'scim' AND \"group\" = 'developers'") == 1


async def _from_elsewhere(gallery: Gallery) -> None:
    """What directories, chat platforms, workers and the names of tokens say, which they or their admins choose."""
    account = {
        "platform": gallery.said("matrix"),
        "team": gallery.said("T0OTHER"),
        "account": gallery.said("U0LIN"),
        "by": gallery.said("slack"),
    }
    async with transaction(gallery.bot.owner) as session:
        linked = "INSERT INTO chat_accounts (platform, team, account, person, linked_by) VALUES (:platform, :team, :account, 'lin', :by)"
        await session.execute(text(linked), account)
        versions, labels = [gallery.said("code")], [f"arm {gallery.words}"]
        await note_worker(session, name=gallery.said("host/1:executing"), role=gallery.said("executing"), versions=versions, labels=labels)
        await issue_token(session, kind="api", person="lin", label=gallery.said("backup script"), scopes=(), lifetime=3_600)
        await save_choices(session, {"shop.cities": ["Oslo", gallery.words]})
    await _from_the_directory(gallery)
    await _standing_allowed(gallery)
    await gallery.order("max", "view save", page="runs", name=gallery.said("Broken", longest=40), query=urlencode({"q": gallery.words}))
    ada, lin = gallery.member("ada"), gallery.member("lin")
    await ada.submit("move house", city=gallery.said("Bergen", longest=200))
    run = await ada.submit("pick")
    first = await gallery.one("SELECT id FROM tasks WHERE run_id = :run", run=run.id)
    await lin.send("task", first, choice="North & Sons")
    second = await gallery.one("SELECT id FROM tasks WHERE run_id = :run AND state = 'open'", run=run.id)
    await lin.send("task", second, street=gallery.said("12 Mill Lane"))
    assert run.succeeded, run.outcome
