"""Redis is a hint: who can write to it can waste a worker's time and do nothing else."""

import asyncio
import json
import random
import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from dramatiq.asyncio import get_event_loop_thread

from automations.brokers import EXECUTING, MOST_IDS, PLANNING, WAKE_SECONDS, WakingBroker, WrongRedis, check_redis, open_broker
from countersign.invocations import Place
from countersign.runs import RunStatus
from store.approvals import NewRequest, open_requests
from store.databases import reading, transaction
from store.runs import Move, NewRun, create, find_run, move
from tests.automations.carts import write_cart
from tests.hubs import World, disposing, until

FORGERIES = 10_000
SPACE = "countersign"


@pytest.fixture
def broker(redis_url: str) -> Iterator[WakingBroker]:
    """A broker on an empty Redis, which is emptied again afterwards."""
    made = open_broker(redis_url)
    made.client.flushdb()
    yield made
    made.client.flushdb()
    made.close()
    made.client.close()


def test_hints_are_small(broker: WakingBroker) -> None:
    ids = [uuid4() for _ in range(MOST_IDS * 3 + 1)]
    broker.hint(PLANNING, ids)
    messages = [json.loads(one) for one in broker.client.hvals(f"{SPACE}:{PLANNING}.msgs")]
    assert sorted(len(one["args"][0]) for one in messages) == [1, *[MOST_IDS] * 3]
    assert sorted(one for message in messages for one in message["args"][0]) == sorted(map(str, ids))


def test_a_consumer_that_waits_is_woken_by_a_hint_and_leaves_none_behind(broker: WakingBroker) -> None:
    wanted = uuid4()
    hinting = threading.Timer(0.05, broker.hint, (PLANNING, [wanted]))
    waiting = broker.consume(PLANNING, prefetch=4, timeout=1_000)
    hinting.start()
    started = time.monotonic()
    message = next(waiting)
    hinting.join()
    assert message is not None
    assert message.args == ([str(wanted)],)
    assert time.monotonic() - started < WAKE_SECONDS
    waiting.ack(message)
    assert broker.client.llen(f"{SPACE}:{PLANNING}") == 0


def test_a_script_may_write_to_its_outputs_by_their_names(broker: WakingBroker) -> None:
    """The loop of a worker gives it pipes; with uvloop's sockets /dev/stderr could not be opened."""

    async def told() -> tuple[bytes, bytes]:
        script = "cat /dev/stdin > /dev/stdout; echo told | tee /dev/stderr >/dev/null"
        pipes: Any = dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.PIPE)
        return await (await asyncio.create_subprocess_exec("sh", "-ec", script, **pipes)).communicate(b"fed")

    broker.emit_before("worker_boot", None)
    try:
        thread: Any = get_event_loop_thread()
        assert thread.run_coroutine(told()) == (b"fed", b"told\n")
    finally:
        broker.emit_after("worker_shutdown", None)


def test_an_idle_consumer_gives_nothing_within_its_second(broker: WakingBroker) -> None:
    assert next(broker.consume(PLANNING, prefetch=4, timeout=1_000)) is None


def test_a_redis_that_forgets_is_refused(broker: WakingBroker) -> None:
    check_redis(broker)
    broker.client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(WrongRedis, match="COUNTERSIGN_REDIS_URL: maxmemory-policy is 'allkeys-lru'; set it to 'noeviction'"):
            check_redis(broker)
    finally:
        broker.client.config_set("maxmemory-policy", "noeviction")


def forged(chance: random.Random, known: list[UUID]) -> bytes:
    """Something that stands where Dramatiq looks for a message."""
    good: dict[str, Any] = {
        "queue_name": chance.choice([PLANNING, EXECUTING]),
        "actor_name": chance.choice([PLANNING, EXECUTING]),
        "args": [[str(chance.choice(known)) for _ in range(chance.randrange(4))]],
        "kwargs": {},
        "options": {},
        "message_id": str(uuid4()),
        "message_timestamp": 1,
    }
    odd: list[Any] = [None, 7, "x", [], {}, [[7]], [[None]], [["no uuid"]], [[["deep"]]], ["a", "b"], "\0", [{"$secret": "x"}], -1e9]
    way = chance.randrange(8)
    if way == 0:
        return chance.randbytes(chance.randrange(200))
    if way == 1:
        return json.dumps(chance.choice(odd)).encode()
    if way == 2:
        del good[chance.choice(list(good))]
    elif way in (3, 4):
        good[chance.choice(list(good))] = chance.choice(odd)
    elif way == 5:
        good["actor_name"] = chance.choice(["os.system", "execute_runs", "", "planning\n"])
    elif way == 6:
        good["options"] = {"redis_message_id": "x", "eta": chance.choice(odd), "retries": chance.choice(odd), "pipe_target": dict(good)}
    return json.dumps(good).encode()


def flood(client: Any, known: list[UUID], seed: int) -> None:
    chance = random.Random(seed)
    pipeline = client.pipeline(transaction=False)
    for number in range(FORGERIES):
        queue, key = chance.choice([PLANNING, EXECUTING]), str(uuid4())
        if number % 50:
            pipeline.hset(f"{SPACE}:{queue}.msgs", key, forged(chance, known))
        pipeline.rpush(f"{SPACE}:{queue}", key if number % 17 else chance.randbytes(8))
    pipeline.execute()


async def unapproved(world: World) -> dict[UUID, str]:
    """A run that waits for an approval, one that was denied and one that was refused: none of them may ever be executed."""
    runs = [
        NewRun(str(uuid4()), "cart", "c", 2, "staff", "ada", "api", Place("api").as_json(), {"how": "all well"}, {}, "p", status=status)
        for status in (RunStatus.submitted, RunStatus.submitted, RunStatus.refused)
    ]
    plan = {"summary": "s", "steps": [], "watched": {}}
    async with disposing(world.engine()) as engine, transaction(engine) as session:
        await create(session, runs)
        for one in runs[:2]:
            await move(session, [Move(one.id, RunStatus.planning, by="x")])
            await move(session, [Move(one.id, RunStatus.awaiting_approval, by="x", plan=plan, digest="d", revision=1)])
            await open_requests(session, [NewRequest(uuid4(), one.id, 1, "d", {"by": "a:b"}, "p", 600)])
        await move(session, [Move(runs[1].id, RunStatus.denied, by="lin")])
    return dict(zip([one.id for one in runs], ["awaiting_approval", "denied", "refused"], strict=True))


async def test_ten_thousand_forged_messages_execute_nothing_and_stop_nobody(world: World, broker: WakingBroker) -> None:
    trace = write_cart(world.folder)
    world.extra["COUNTERSIGN_COMMANDS"] = str(world.folder / "commands")
    before = await unapproved(world)
    with world.workers() as workers:
        flood(broker.client, [*before, uuid4()], seed=20_261_123)

        async def drained() -> bool:
            return not any(broker.client.llen(f"{SPACE}:{queue}") for queue in (PLANNING, EXECUTING))

        await until(drained, seconds=60, what="the forged messages are gone")
        async with disposing(world.engine()) as engine:
            async with reading(engine) as session:
                assert {run: row.status for run in before if (row := await find_run(session, run))} == before
            assert trace.read_text() == ""
            asked = NewRun(str(uuid4()), "cart", "c", 2, "staff", "max", "api", Place("api").as_json(), {"how": "all well"}, {}, "p")
            async with transaction(engine) as session:
                await create(session, [asked])

            async def ended() -> bool:
                async with reading(engine) as session:
                    row = await find_run(session, asked.id)
                return row is not None and row.status == "succeeded"

            await until(ended, seconds=90, what="an honest run after them")
        assert trace.read_text().split() == ["+a", "+b"]
        assert workers.poll() is None
    log = (world.folder / "workers.log").read_text()
    assert "is started again" not in log
    assert "forged or damaged hints were dropped" in log
    assert "Restarting consumer" not in log
    assert "Traceback" not in log
