"""Thousands of requests with their runs, votes and messages, written in bulk as planning, deciding and sending leave them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import text

from commands.audiences import Audience
from countersign.approvals import Approval, Stage, Voters
from store.audiences import keep_audiences
from store.databases import WriteSession
from store.people import save_people

GROUPS: Final = 20
MEMBERS: Final = 10
DIRECT: Final = 5
CHANNELS: Final = 40
ASKERS: Final = 50


@dataclass(frozen=True)
class Crowd:
    """Who is there: `asker0` … ask, `voter000` … are in one group each, `warden` is in all; a request waits for two of one group."""

    command: str
    plan: Mapping[str, Any]
    platform: str = "room"
    team: str = ""

    @property
    def people(self) -> dict[str, dict[str, Any]]:
        """As policy names them."""
        groups = {f"voter{n:03}": [f"team{n % GROUPS}"] for n in range(GROUPS * MEMBERS)} | {f"asker{n}": ["askers"] for n in range(ASKERS)}
        everywhere = {"warden": [f"team{n}" for n in range(GROUPS)]}
        return {name: {"email": f"{name}@example.test", "groups": ours} for name, ours in (groups | everywhere).items()}

    async def settle(self, session: WriteSession, more: Mapping[str, Mapping[str, Any]]) -> None:
        """Puts them into the database, beside those whom the policy names."""
        await save_people(session, {**self.people, **more})
        await keep_audiences(session, {one.id: one.as_json() for one in self._audiences})

    async def ask(self, session: WriteSession, count: int, *, first: int = 0) -> None:
        """So many requests that are open, each with a card and direct messages shown."""
        await self._add(session, first, count, _OPEN, direct=DIRECT)

    async def end(self, session: WriteSession, count: int, *, first: int) -> None:
        """So many that have ended: approved and done, denied or expired."""
        await self._add(session, first, count, _ENDED, direct=1)
        await session.execute(_VOTES, {"first": first, "last": first + count - 1, "teams": GROUPS, "members": MEMBERS})
        await session.execute(_EVENTS, {"first": first, "last": first + count - 1})

    @property
    def _audiences(self) -> Sequence[Audience]:
        return [Audience(self.command, rule.steps) for rule in self._rules]

    @property
    def _rules(self) -> Sequence[Approval]:
        return [Approval(stages=(Stage((Voters((f"group:team{n}",), 2),)),)) for n in range(GROUPS)]

    async def _add(self, session: WriteSession, first: int, count: int, state: str, *, direct: int) -> None:
        values = {
            "first": first,
            "last": first + count - 1,
            "command": self.command,
            "plan": Jsonb(dict(self.plan)),
            "askers": ASKERS,
            "teams": GROUPS,
            "members": MEMBERS,
            "rules": Jsonb([one.as_json() for one in self._rules]),
            "audiences": [one.id for one in self._audiences],
            "platform": self.platform,
            "team": self.team,
            "channels": CHANNELS,
            "direct": direct,
        }
        for statement in _ADD:
            await session.execute(text(statement.replace("{state}", state)), values)


def run_id(number: int) -> UUID:
    """The id of the run that was added as this one."""
    return UUID(int=0x0190_0000_0000_7000_8000_0000_0000_0000 + number)


def messages_of(number: int) -> list[tuple[str, str]]:
    """Channel and ts of all that shows it."""
    card = (f"C{number % CHANNELS}", f"{number}.000000")
    return [card, *((f"D{name}", f"{number}.{n:06}") for n, name in enumerate(voters_of(number)[:DIRECT], start=1))]


def digest_of(number: int) -> str:
    """The digest of its plan."""
    return f"{number:064x}"


def voters_of(number: int) -> list[str]:
    """Who may decide on it."""
    return [f"voter{n:03}" for n in range(number % GROUPS, GROUPS * MEMBERS, GROUPS)]


def _voter(member: str) -> str:
    """The name of a member of the n-th request's team, in SQL."""
    return f"'voter' || lpad((n % :teams + ({member}) * :teams)::text, 3, '0')"


# What becomes of the n-th: {state} is an expression over n.
_OPEN: Final = "'open'"
_ENDED: Final = "(ARRAY['approved', 'denied', 'expired'])[1 + n % 3]"
_RUN: Final = "('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid"
_REQUEST: Final = "('01900000-0000-7000-9000-' || lpad(to_hex(n), 12, '0'))::uuid"
_RUNS: Final = f"""
INSERT INTO runs (id, command, code_version, status, risk, visibility, asker, door, place, arguments, origins, policy, trace, plan, digest,
                  revision, created_at, moved_at)
SELECT {_RUN}, :command, 'c1', CASE {{state}} WHEN 'open' THEN 'awaiting_approval' WHEN 'approved' THEN 'succeeded' ELSE {{state}} END, 2,
       'staff', 'asker' || n % :askers, 'slack',
       jsonb_build_object('platform', cast(:platform AS text), 'team', cast(:team AS text), 'channel', 'C' || n % :channels, 'thread', '',
                          'shared', false),
       jsonb_build_object('what', 'thing ' || n), '{{}}', 'p', 't', :plan, lpad(to_hex(n), 64, '0'), 1,
       countersign_now() - interval '1 hour', countersign_now() - interval '1 hour'
FROM generate_series(cast(:first AS int), cast(:last AS int)) n
"""  # noqa: S608  built from constants
_REQUESTS: Final = f"""
INSERT INTO approval_requests (id, run_id, revision, digest, rule, policy, state, opened_at, expires_at, next_due, closed_at, audience,
                               counted)
SELECT {_REQUEST}, {_RUN}, 1, lpad(to_hex(n), 64, '0'), cast(:rules AS jsonb) -> (n % :teams), 'p', {{state}},
       countersign_now() - interval '1 hour', countersign_now() + (20 + n % 97) * interval '10 minutes',
       CASE WHEN {{state}} = 'open' THEN countersign_now() + (20 + n % 97) * interval '10 minutes' END,
       CASE WHEN {{state}} <> 'open' THEN countersign_now() - interval '10 minutes' END,
       (cast(:audiences AS uuid[]))[1 + n % :teams], {{state}} <> 'open'
FROM generate_series(cast(:first AS int), cast(:last AS int)) n
"""  # noqa: S608  built from constants
_MESSAGES: Final = f"""
INSERT INTO messages (id, run_id, kind, platform, team, channel, person, wanted, shown, remote_channel, remote_id, card, edited_at)
SELECT gen_random_uuid(), {_RUN}, CASE m WHEN 0 THEN 'card' ELSE 'direct' END, :platform, :team,
       CASE m WHEN 0 THEN 'C' || n % :channels ELSE '' END,
       CASE m WHEN 0 THEN '' ELSE {_voter("m - 1")} END, 1, 1,
       CASE m WHEN 0 THEN 'C' || n % :channels ELSE 'D' || {_voter("m - 1")} END, n || '.' || lpad(m::text, 6, '0'),
       '{{}}',
       countersign_now() - interval '1 hour'
FROM generate_series(cast(:first AS int), cast(:last AS int)) n, generate_series(0, cast(:direct AS int)) m
"""  # noqa: S608  built from constants
_ADD: Final = (_RUNS, _REQUESTS, _MESSAGES)
_VOTES: Final = text(f"""
INSERT INTO decisions (id, request_id, run_id, person, verdict, reason, digest, door, policy)
SELECT gen_random_uuid(), {_REQUEST}, {_RUN}, {_voter("m")}, CASE n % 3 WHEN 1 THEN 'deny' ELSE 'approve' END, '',
       lpad(to_hex(n), 64, '0'), 'slack', 'p'
FROM generate_series(cast(:first AS int), cast(:last AS int)) n, generate_series(0, 1) m WHERE n % 3 <> 2
""")  # noqa: S608  built from constants
_EVENTS: Final = text(f"""
INSERT INTO audit_events (id, canonical)
SELECT gen_random_uuid(),
       json_build_object('kind', 'run:succeeded', 'actor', 'countersign', 'run', {_RUN}, 'detail', json_build_object())::text
FROM generate_series(cast(:first AS int), cast(:last AS int), 10) n
""")  # noqa: S608  built from constants
