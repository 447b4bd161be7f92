"""The least that a hand-over through Redis can take: a process that is blocked in BLMOVE, and one LPUSH.

Run as a program with BENCH_REDIS_URL set, this is the process that waits; `Blmove` starts it and pushes.
"""

import os
import sys
import time
from pathlib import Path
from uuid import uuid4

from redis import Redis

from benchmarks.errors import BenchmarkError
from benchmarks.processes import Child

WAITING, TAKEN, STARTED = "bench:waiting", "bench:taken", "bench:started"
ANSWER_SECONDS = 10


class Blmove:
    """The hand-over floor: nothing is stored, checked or recovered."""

    name = "bare BLMOVE"

    def __init__(self, redis_url: str, folder: Path) -> None:
        self._redis_url = redis_url
        self._folder = folder
        self._redis = Redis.from_url(redis_url, socket_timeout=None)
        self._child: Child | None = None

    async def start(self) -> None:
        """Start the process that waits, and push once so that both ends are connected."""
        environment = {"BENCH_REDIS_URL": self._redis_url}
        self._child = Child([sys.executable, "-m", "benchmarks.sides.blmove"], environment=environment, log=self._folder / "blmove.log")
        await self._child.said("waiting")
        await self.hand_over()

    async def stop(self) -> None:
        """End the process that waits."""
        if self._child:
            self._child.stop()
        self._redis.close()

    async def hand_over(self) -> float:
        """Seconds from the push being sent to the first line of the handler. Blocks this process, which has nothing else to do."""
        sent = time.monotonic()
        self._redis.lpush(WAITING, uuid4().hex)
        answer = self._redis.blpop([STARTED], timeout=ANSWER_SECONDS)
        if answer is None:
            raise BenchmarkError(f"The process blocked in BLMOVE did not start within {ANSWER_SECONDS} s of the push.")
        return float(answer[1]) - sent

    def worker_pids(self) -> list[int]:
        """The process that waits."""
        return [self._child.pid] if self._child else []


def wait_for_work() -> None:
    """Take one job after the other, for ever; what a job does is to say when it started."""
    client = Redis.from_url(os.environ["BENCH_REDIS_URL"], decode_responses=True, socket_timeout=None)
    print("waiting", flush=True)
    while True:
        job = client.blmove(WAITING, TAKEN, 0, "RIGHT", "LEFT")
        started = time.monotonic()
        client.rpush(STARTED, repr(started))
        client.lrem(TAKEN, 1, str(job))


if __name__ == "__main__":
    wait_for_work()
