"""The people of a storm: Ada asks until she is answered, sometimes twice at once, and Lin decides whatever waits for her."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import httpx
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from benchmarks.chaos.grounds import Ground
from benchmarks.chaos.sizes import Size

ASKERS: Final = 6
DECIDERS: Final = 3
AGAIN_SECONDS: Final = 0.1
# A client that gives up so soon often does so although its request was carried out: the reply is lost on the wire.
IMPATIENT_SECONDS: Final = (0.002, 0.05)
_WAITING: Final = text("""
SELECT r.id, q.digest, r.arguments->>'name' AS name FROM runs r JOIN approval_requests q ON q.run_id = r.id AND q.revision = r.revision
WHERE r.status = 'awaiting_approval' AND r.arguments->>'name' NOT LIKE 'keep-%' LIMIT 200
""")


def name_of(n: int) -> str:
    """Of each twenty payments one is denied and one is never decided on."""
    return f"{'deny' if n % 20 == 1 else 'keep' if n % 20 == 3 else 'run'}-{n}"


@dataclass
class People:
    """What they asked, by run, and how often something unusual happened to them."""

    ground: Ground
    size: Size
    dice: random.Random
    asked: dict[UUID, str] = field(default_factory=dict)
    happened: Counter[str] = field(default_factory=Counter)

    async def ask_all(self) -> None:
        """All runs, spread evenly over the time."""
        numbers, began = iter(range(self.size.runs)), time.monotonic()
        await asyncio.gather(*(self._ask(numbers, began) for _ in range(ASKERS)))

    async def decide(self) -> None:
        """Approves, denies the `deny-…`, leaves the `keep-…` alone, until cancelled: what was asked for last is planned later."""
        while True:
            with contextlib.suppress(SQLAlchemyError, OSError):
                async with self.ground.engine.connect() as connection:
                    waiting = [(row.id, row.digest, row.name) for row in await connection.execute(_WAITING)]
                cards = iter(waiting)
                await asyncio.gather(*(self._decide(cards) for _ in range(DECIDERS)))
            await asyncio.sleep(0.1)

    async def _decide(self, cards: Iterator[tuple[UUID, str, str]]) -> None:
        for run_id, digest, name in cards:
            verdict = "deny" if name.startswith("deny") else "approve"
            await self._answered("lin", f"/runs/{run_id}/decisions", {"verdict": verdict, "digest": digest})

    async def _ask(self, numbers: Iterator[int], began: float) -> None:
        for n in numbers:
            await asyncio.sleep(max(0.0, began + self.size.seconds * n / self.size.runs - time.monotonic()))
            body = {"command": "pay" if n % 2 else "book", "arguments": {"name": name_of(n)}, "idempotency_key": f"chaos-{n}"}
            answers = await asyncio.gather(*(self._answered("ada", "/runs", body) for _ in range(2 if self.dice.random() < 0.2 else 1)))
            ids = {answer["id"] for answer in answers}
            self.happened["asked twice at once"] += len(answers) - 1
            self.happened["one request, two runs"] += len(ids) - 1
            self.asked |= {UUID(one): name_of(n) for one in ids}

    async def _answered(self, who: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Repeats it at either host until one of them answers; the key, and the digest, make that safe."""
        while True:
            client = self.dice.choice(self.ground.clients[who])
            patience = self.dice.uniform(*IMPATIENT_SECONDS) if self.dice.random() < 0.05 else 10.0
            try:
                answer = await client.post(path, json=body, timeout=patience)
            except httpx.TransportError:
                self.happened["requests without an answer"] += 1
            else:
                if answer.status_code < 500:
                    return dict(answer.json())
                self.happened["requests refused with 5xx"] += 1
            await asyncio.sleep(AGAIN_SECONDS)
