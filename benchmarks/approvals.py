"""(d) Ten thousand requests wait for approval: a click until its decision is committed, one person's inbox, and every card edited.

Each round clicks on requests that nobody has touched, one after the other, while the workers edit what shows the ones before.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence

from psycopg.types.json import Jsonb
from sqlalchemy import text

from automations.delivering import BUDGETS
from benchmarks import programs
from benchmarks.clicks import account_of, inbox_reads, signed_clicks
from benchmarks.crowds import GROUPS, MEMBERS, Crowd, messages_of, voters_of
from benchmarks.errors import BenchmarkError
from benchmarks.hubs import OURS, HubAddresses
from benchmarks.loads import Load, percentile, spaced
from benchmarks.machines import require_durable
from benchmarks.ours import Countersign
from benchmarks.programs import Options
from benchmarks.rounds import Figure, interleaved
from benchmarks.services import Services
from benchmarks.slashes import TEAM
from store.databases import WriteSession, open_engine, reading, transaction
from store.lanes import keep_budgets
from store.tokens import issue_token

OPEN, ENDED = 10_000, 20_000
CLICKS_A_ROUND = 200
READS_A_ROUND = 100
SPACING_SECONDS = 0.1
EDIT_SECONDS = 30.0
LOOKED_SECONDS = 180.0
WARMING = 20
CROWD = Crowd("work", {"summary": "moves a thing", "steps": [], "order": ["what"]}, platform="slack", team=TEAM)

P50 = "click to decision committed, 10,000 pending, p50, ms"
P99 = "click to decision committed, 10,000 pending, p99, ms"
INBOX_P50 = "inbox of one person, 10,000 pending, p50, ms"
INBOX_P99 = "inbox of one person, 10,000 pending, p99, ms"
EDITED = "decision to every card of the run edited, p95, s"
NOT_OK = "clicks and reads that were not 200, and cards not edited"


async def measure(services: Services, options: Options) -> list[Figure]:
    """The figures of this hub alone: nobody else holds requests like these."""
    tokens: list[str] = []

    async def fill(session: WriteSession) -> None:
        await CROWD.settle(session, {"ada": {"email": "ada@example.test", "groups": ["staff"]}})
        await CROWD.ask(session, OPEN)
        await CROWD.end(session, ENDED, first=OPEN)
        await _link(session)
        readers = [*(f"voter{n:03}" for n in range(0, GROUPS * MEMBERS, 7)), "warden"]
        tokens.extend([await issue_token(session, kind="api", person=one, label="b", scopes=("read",), lifetime=3_600) for one in readers])

    hub = Countersign(services, fill=fill)
    try:
        addresses = await hub.start()
        require_durable(addresses.database_urls)
        await _looked(addresses)
        await _unlimited(addresses)
        numbers = iter(range(OPEN))

        async def sample() -> Mapping[str, float]:
            return await _sample(services, addresses, [next(numbers) for _ in range(CLICKS_A_ROUND)], tokens)

        await _click(services, addresses, [next(numbers) for _ in range(WARMING)])
        return await interleaved({OURS: sample}, rounds=options.rounds)
    finally:
        await hub.stop()


async def _sample(services: Services, hub: HubAddresses, numbers: Sequence[int], tokens: Sequence[str]) -> Mapping[str, float]:
    clicks, edited, missing = await _click(services, hub, numbers)
    asked = [tokens[n % len(tokens)] for n in range(READS_A_ROUND)]
    reads = await spaced(hub.slack_url, inbox_reads(asked, hub=hub))
    return {
        P50: percentile(clicks.latencies, 50) * 1000,
        P99: percentile(clicks.latencies, 99) * 1000,
        INBOX_P50: reads.p50_ms,
        INBOX_P99: reads.p99_ms,
        EDITED: percentile(edited, 95),
        NOT_OK: clicks.not_ok + reads.not_ok + missing,
    }


async def _click(services: Services, hub: HubAddresses, numbers: Sequence[int]) -> tuple[Load, list[float], int]:
    """The clicks, seconds from each decision's commit until the last card of its run was edited, and how many cards never were."""
    chosen = [(number, voters_of(number)[0], messages_of(number)[0]) for number in numbers]
    requests = signed_clicks(chosen, hub=hub, response_url=services.sink.response_url)
    load = await spaced(hub.slack_url, requests, pause=SPACING_SECONDS)
    shown = [one for number in numbers for one in messages_of(number)]
    deadline = time.monotonic() + EDIT_SECONDS
    while missing := sum(one not in services.sink.edits for one in shown):
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.05)
    edited = []
    for number, asked, latency in zip(numbers, load.asked_at, load.latencies, strict=True):
        last = max(services.sink.edits.get(one, deadline) for one in messages_of(number))
        edited.append(last - (asked + latency))
    return load, edited, missing


async def _link(session: WriteSession) -> None:
    """Everybody has a Slack account, as after their first click."""
    accounts = [{"account": account_of(name), "person": name} for name in CROWD.people]
    await session.execute(
        text(
            "INSERT INTO chat_accounts (platform, team, account, person, linked_by)"
            " SELECT 'slack', :team, account, person, 'bench' FROM jsonb_to_recordset(:accounts) AS n(account text, person text)"
        ),
        {"team": TEAM, "accounts": Jsonb(accounts)},
    )


async def _looked(hub: HubAddresses) -> None:
    """Returns when the housekeeper has looked at all requests for the first time, which it does once in their life."""
    engine = open_engine(hub.database_urls[0], name="bench", pool=1, door=False)
    deadline = time.monotonic() + LOOKED_SECONDS
    try:
        async with reading(engine) as session:
            waiting = text("SELECT count(*) FROM approval_requests WHERE state = 'open' AND voters IS NULL")
            while (await session.execute(waiting)).scalar_one():
                if time.monotonic() > deadline:
                    raise BenchmarkError("The housekeeper has not looked at all requests.")
                await asyncio.sleep(0.2)
    finally:
        await engine.dispose()


async def _unlimited(hub: HubAddresses) -> None:
    """Ten clicks a second are sixty edits, for which Slack gives an app a minute: its limit is not what is measured here."""
    engine = open_engine(hub.database_urls[1], name="bench", pool=1, door=False)
    try:
        async with transaction(engine) as session:
            await keep_budgets(session, dict.fromkeys(BUDGETS, (0.001, 1_000)))
    finally:
        await engine.dispose()


if __name__ == "__main__":
    programs.main(measure)
