"""500 requests on which two to eight people click at the same instant, the asker among them: one outcome each, and every click recorded."""

import asyncio
import os
import random
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import text

from bot.deadlines import NotConfirmed, NothingDone
from bot.hubs import Hub, open_hub
from bot.presses import Press
from countersign.invocations import Door
from kit.servers import Servers
from store.databases import reading, transaction
from store.people import Person, find_people
from tests.hubs import World, disposing
from tests.stories.waiting import WaitingRun, make_waiting

ROUNDS = 500
HUBS = 3
TOGETHER = 3
ASKER, OUTSIDER = "ada", "eve"
VOTERS = ("lin", "kim", "max", "ann", "bob", "cho", "dee")
POLICY = f"""
profile: strict
people: {{ada: {{groups: [leads]}}, eve: {{}}, {", ".join(f"{name}: {{groups: [leads]}}" for name in VOTERS)}}}
roles: {{approver: ["races:approve"]}}
groups: {{leads: [approver]}}
"""


@dataclass(frozen=True)
class Click:
    """Who clicks what, through which hub."""

    person: str
    verdict: str
    hub: int


async def test_clicks_at_the_same_instant_have_one_outcome(servers: Servers, tmp_path: Path) -> None:
    seed = int(os.environ.get("RACES_SEED", str(time.time_ns() % 1_000_000)))
    dice = random.Random(seed)
    print(f"races seed {seed}")
    world = World(servers.fresh_database(), "", tmp_path, policy=POLICY)
    await world.prepare()
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(disposing(world.engine()))
        hubs = [await stack.enter_async_context(open_hub(world.settings())) for _ in range(HUBS)]
        async with transaction(engine) as session:
            people = await find_people(session, [ASKER, OUTSIDER, *VOTERS])
            runs = await make_waiting(session, [dice.randint(1, 3) for _ in range(ROUNDS)], asker=ASKER, by="races:approve")
        rounds = {run: _clicks(dice) for run in runs}
        began = time.monotonic()
        answers = await _all_rounds(hubs, people, rounds)
        seconds = time.monotonic() - began
        async with reading(engine) as session:
            truth = await _Truth.read(session)
    counts: Counter[str] = Counter()
    for run, clicks in rounds.items():
        counts += truth.check(run, clicks, answers[run])
    clicked = sum(map(len, rounds.values()))
    print(f"races seed {seed}: {ROUNDS} rounds, {clicked} clicks, {seconds / ROUNDS * 1_000:.1f} ms a round: {dict(counts)}")
    assert counts["queued"] > ROUNDS / 10 < counts["denied"]
    assert counts["self-approvals refused"] > ROUNDS / 10


def _clicks(dice: random.Random) -> list[Click]:
    """Two to eight people, more often few, the asker always among them; now and then somebody clicks twice."""
    names = [ASKER, *dice.sample([*VOTERS, OUTSIDER], min(dice.randint(1, 7), dice.randint(1, 7)))]
    names += dice.sample(names, dice.choice([0, 0, 1]))
    asker = "deny" if dice.random() < 0.05 else "approve"
    clicks = [Click(name, asker if name == ASKER else dice.choices(["approve", "deny"], [5, 1])[0], dice.randrange(HUBS)) for name in names]
    dice.shuffle(clicks)
    return clicks


async def _all_rounds(hubs: list[Hub], people: dict[str, Person], rounds: dict[WaitingRun, list[Click]]) -> dict[WaitingRun, list[str]]:
    answers: dict[WaitingRun, list[str]] = {}
    todo = iter(rounds.items())

    async def play() -> None:
        for run, clicks in todo:
            barrier = asyncio.Barrier(len(clicks))
            answers[run] = await asyncio.gather(*(_click(hubs[one.hub], people[one.person], run, one, barrier) for one in clicks))

    await asyncio.gather(*(play() for _ in range(TOGETHER)))
    return answers


async def _click(hub: Hub, person: Person, run: WaitingRun, one: Click, barrier: asyncio.Barrier) -> str:
    press = Press(str(uuid4()), one.verdict, str(run.id), Door.api, digest=run.digest)
    await barrier.wait()
    while True:
        try:
            return (await hub.press(person, press)).text
        except (NothingDone, NotConfirmed):  # a busy machine; the same click again is the same click
            continue


@dataclass(frozen=True)
class _Truth:
    """What the database says after the storm, by run."""

    statuses: dict[Any, str]
    trail: dict[Any, Counter[str]]
    refusals: dict[Any, Counter[tuple[str, str]]]
    decisions: dict[Any, list[tuple[str, str]]]
    requests: dict[Any, str]

    @classmethod
    async def read(cls, session: Any) -> "_Truth":
        truth = cls({}, {}, {}, {}, {})
        for row in await session.execute(text("SELECT id, status FROM runs")):
            truth.statuses[row.id] = row.status
            truth.trail[row.id], truth.refusals[row.id], truth.decisions[row.id] = Counter(), Counter(), []
        for row in await session.execute(text("SELECT run_id, state FROM approval_requests")):
            truth.requests[row.run_id] = row.state
        for row in await session.execute(text("SELECT run_id, person, verdict FROM decisions")):
            truth.decisions[row.run_id].append((row.person, row.verdict))
        events = text(
            "SELECT run_id, kind, actor, audit_detail(canonical, payload) #>> '{refused}' AS refused FROM audit_events"
            " WHERE run_id IS NOT NULL"
        )
        for row in await session.execute(events):
            truth.trail[row.run_id][row.kind] += 1
            truth.refusals[row.run_id][row.actor, row.refused] += row.kind == "decision:refused"
        return truth

    def check(self, run: WaitingRun, clicks: list[Click], answers: list[str]) -> Counter[str]:
        """Fails unless this round had one outcome, told to exactly one person and recorded click by click."""
        status, trail, decisions = self.statuses[run.id], self.trail[run.id], self.decisions[run.id]
        story = f"run {run.id}, {run.count} wanted: {clicks}, {answers}, {trail}"
        assert sum(n for kind, n in trail.items() if kind.startswith("decision:")) == len(clicks), story
        yes, no = [p for p, verdict in decisions if verdict == "approve"], [p for p, verdict in decisions if verdict == "deny"]
        assert trail["decision:approve"] == len(yes) == len(set(yes)), story
        assert trail["decision:deny"] == len(no) <= 1, story
        assert ASKER not in yes, f"a self-approval was counted: {story}"
        assert OUTSIDER not in yes + no, story
        expected = "denied" if no else "queued" if len(yes) == run.count else "awaiting_approval"
        assert status == expected, story
        assert len(yes) <= run.count - bool(no), story
        assert (trail["run:queued"], trail["run:denied"]) == (status == "queued", status == "denied"), story
        assert self.requests[run.id] == {"queued": "approved", "denied": "denied"}.get(status, "open"), story
        assert sum("it starts now" in one for one in answers) == (status == "queued"), story
        assert sum("will not happen" in one for one in answers) == (status == "denied"), story
        selfish = sum(one == Click(ASKER, "approve", one.hub) for one in clicks)
        refused = self.refusals[run.id]
        assert refused[ASKER, "self_approval"] + refused[ASKER, "late_click"] >= selfish, story
        return Counter({status: 1, "late clicks": _of(refused, "late_click")}) + Counter(
            {"self-approvals refused": refused[ASKER, "self_approval"], "second clicks refused": _of(refused, "dup_vote")}
        )


def _of(refused: Counter[tuple[str, str]], reason: str) -> int:
    return sum(n for (_, why), n in refused.items() if why == reason)
