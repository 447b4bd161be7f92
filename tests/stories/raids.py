"""Somebody with the web process's database role, its secrets and its doors, and all that the honest have signed; without their keys."""

import json
from collections.abc import Awaitable, Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from automations.executing import execute_runs
from automations.planning import plan_runs
from commands.proofs import request_options
from commands.signing import to_sign
from commands.sites import Site
from countersign.invocations import Door, Invocation, Place
from store.approvals import find_request
from store.databases import by_itself, reading
from store.passkeys import find_passkeys
from store.people import find_person
from tests.fakes.authenticators import Authenticator
from tests.holders import Lodge
from tests.hubs import until

Proof = Mapping[str, Any]
SITE = Site.of("http://127.0.0.1:8000")
REFUSED = ("42501", "23505")  # insufficient privilege, unique violation; anything else is a mistake of the story


@dataclass
class Mark:
    """A run under attack: it waits for its holders. `where` is the file that its step would write."""

    id: str
    number: int
    digest: str
    request: UUID
    where: str


@dataclass
class Raid:
    """The raider's hands, and what each attempt has left behind."""

    lodge: Lodge
    web: AsyncEngine
    dice: Random
    own: Authenticator = field(default_factory=Authenticator)
    loot: dict[str, Any] = field(default_factory=dict)
    refused: int = 0

    async def sql(self, statement: str, **values: Any) -> None:
        """One statement as the web role; what Postgres refuses is counted, for that is a trace, too."""
        try:
            async with by_itself(self.web).connect() as connection:
                await connection.execute(text(statement), values)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) not in REFUSED:
                raise
            self.refused += 1

    async def change(self, mark: Mark, **columns: Any) -> None:
        """The run's row, as the raider wants it."""
        await self._change("runs", UUID(mark.id), columns)

    async def change_request(self, mark: Mark, **columns: Any) -> None:
        await self._change("approval_requests", mark.request, columns)

    async def _change(self, table: str, row: UUID, columns: Mapping[str, Any]) -> None:
        given = {name: Jsonb(one) if isinstance(one, dict | list) else one for name, one in columns.items()}
        wanted = ", ".join(f"{name} = {'cast(:' + name + ' AS jsonb)' if isinstance(given[name], Jsonb) else ':' + name}" for name in given)
        await self.sql(f"UPDATE {table} SET {wanted} WHERE id = :row", row=row, **given)  # noqa: S608

    async def vote(self, mark: Mark, person: str, proof: object = None, *, verdict: str = "approve", **more: Any) -> None:
        """A decision row of somebody's, with whatever proof there is."""
        row = {
            "id": uuid4(),
            "request_id": mark.request,
            "run_id": UUID(mark.id),
            "person": person,
            "verdict": verdict,
            "reason": "",
            "digest": mark.digest,
            "door": "api",
            "policy": "p",
            "proof": None if proof is None else Jsonb(proof),
        } | more
        names = ", ".join(row)
        values = ", ".join("cast(:proof AS jsonb)" if name == "proof" else f":{name}" for name in row)
        await self.sql(f"INSERT INTO decisions ({names}) VALUES ({values})", **row)  # noqa: S608

    async def push(self, mark: Mark, status: str = "queued") -> None:
        """Says that the run may begin, and closes its request as approved."""
        await self.change_request(mark, state="approved")
        await self.sql(
            "UPDATE runs SET status = :status, due_at = countersign_now() - interval '1 second', worker = NULL, lease_until = NULL"
            " WHERE id = :id",
            status=status,
            id=UUID(mark.id),
        )

    async def hint(self, mark: Mark, times: int = 1) -> None:
        """What a forged message in Redis comes to: a worker looks at the run."""
        for _ in range(times):
            await plan_runs(self.lodge.services, [UUID(mark.id)])
            await execute_runs(self.lodge.services, [UUID(mark.id)])

    async def signed(self, mark: Mark, name: str, verdict: str = "approve", *, by: Authenticator | None = None, **wrong: Any) -> Proof:
        """What somebody's authenticator signs for this run as it is now, rightly or (on another site, for instance) wrongly."""
        holder = await self.lodge.holder(name)
        return deepcopy((by or holder.authenticator).sign(await self.options(mark, name, verdict), **wrong))

    async def options(self, mark: Mark, name: str, verdict: str = "approve") -> dict[str, Any]:
        """What there is to sign, without asking anybody's door for it."""
        async with reading(self.web) as session:
            found = await find_request(session, UUID(mark.id))
            assert found is not None
            signed = await to_sign(session, found, person=name, verdict=verdict)
            known = await find_passkeys(session, [name])
        return request_options(SITE, challenge=signed.challenge, known=known)

    async def asked(self, command: str, asker: str, **arguments: Any) -> Mark | None:
        """A request in anybody's name; None when no approval is asked for."""
        async with reading(self.web) as session:
            person = await find_person(session, asker)
        assert person is not None
        one = Invocation(key=str(uuid4()), door=Door.api, place=Place("api"), command=command, arguments=arguments)
        answer = await self.lodge.web.hub.submit(person, one)
        if answer.run_id is None:
            return None
        run = answer.run_id
        await plan_runs(self.lodge.services, [run])

        async def planned() -> bool:
            return (await self.one("SELECT status FROM runs WHERE id = :id", id=run)).status not in ("submitted", "planning")

        await until(planned, what="another lane plans it")
        return await self.mark(run, str(arguments.get("where", "")))

    async def mark(self, run: UUID, where: str) -> Mark | None:
        return next(iter(await self.marks({run: where})), None)

    async def marks(self, runs: Mapping[UUID, str]) -> list[Mark]:
        """Those of these runs for which approval is asked, in their order; each with the file that its step would write."""
        query = (
            "SELECT DISTINCT ON (r.id) r.id AS run, r.number, r.digest, a.id FROM runs r JOIN approval_requests a ON a.run_id = r.id"
            " WHERE r.id = ANY(:ids) ORDER BY r.id, a.revision DESC"
        )
        async with reading(self.web) as session:
            found = {row.run: row for row in (await session.execute(text(query), {"ids": list(runs)})).all()}
        rows = [(found[run], where) for run, where in runs.items() if run in found]
        return [Mark(str(row.run), row.number, row.digest, row.id, where) for row, where in rows]

    async def events(self, mark: Mark) -> int:
        """How much the record holds about a run."""
        return int((await self.one("SELECT count(*) AS events FROM audit_events WHERE run_id = :id", id=UUID(mark.id))).events)

    async def one(self, statement: str, **values: Any) -> Any:
        async with reading(self.web) as session:
            return (await session.execute(text(statement), values)).first()


Attempt = Callable[[Raid, Mark], Awaitable[None]]


def garbage(dice: Random) -> object:
    """Something where a proof should be."""
    return dice.choice(
        [
            {},
            [],
            "approve",
            7,
            True,
            {"response": None},
            {"id": 1, "rawId": 1, "type": "public-key", "response": {}},
            {
                "id": "AA",
                "rawId": "AA",
                "type": "public-key",
                "response": {"clientDataJSON": "e30", "authenticatorData": "AA", "signature": "AA"},
            },
            json.loads("[" * 20 + "]" * 20),
            {"id": "A" * 5_000, "response": {"clientDataJSON": "A" * 5_000}},
        ]
    )


def spoiled(proof: Proof, dice: Random) -> dict[str, Any]:
    """A proof with one character of one part changed."""
    part = dice.choice(["clientDataJSON", "authenticatorData", "signature"])
    value = list(proof["response"][part])
    place = dice.randrange(len(value) - 1)
    value[place] = dice.choice([one for one in "ABCDwxyz019-_" if one != value[place]])
    return {**proof, "response": {**proof["response"], part: "".join(value)}}
