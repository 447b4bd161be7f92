"""Whether a run that was carried out was agreed to: what the audit says of it and what the model knows of people, put before the oracle."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from store.audits import AuditRow, find_trail
from store.databases import ReadSession, reading
from store.runs import RunRow, find_run
from tests.machines.casts import MODELS
from tests.machines.oracles import Said, Someone, StandIn, agreed


async def check_run(engine: AsyncEngine, run_id: UUID, people: Mapping[str, Someone]) -> None:
    """Raises AssertionError when nobody may have carried this out."""
    async with reading(engine) as session:
        run = await find_run(session, run_id)
        assert run is not None
        trail = await find_trail(session, run_id)
        begun = [one for one in trail if one.kind == "run:running"]
        assert len(begun) == 1, "it began once"
        queued = [one for one in trail if one.kind == "run:queued"][-1]
        assert people[run.asker].active, "whoever asked is still here"
        broken = [one for one in trail if one.kind == "break-glass:broken"]
        if run.badge:
            _check_broken(queued, broken, people)
        elif "standing" in queued.detail:
            await _check_standing(session, UUID(str(queued.detail["standing"])), run, people)
        else:
            _check_approvals(run, trail, people, await _stand_ins(session))


def _check_broken(queued: AuditRow, broken: Sequence[AuditRow], people: Mapping[str, Someone]) -> None:
    assert broken, "the badge is the audit's"
    assert queued.actor == broken[-1].actor, "whoever broke the glass has started it"
    assert people[queued.actor].active


def _check_approvals(run: RunRow, trail: Sequence[AuditRow], people: Mapping[str, Someone], stand_ins: Sequence[StandIn]) -> None:
    model, approvals = MODELS[run.command], _approvals(trail, run.digest or "")
    assert agreed(model, approvals, people, stand_ins, never=_never(run), ordered=True), f"{run.command}: {approvals} {people}"
    denials = {one.actor for one in trail if one.kind == "decision:deny" and one.detail["digest"] == run.digest}
    assert len(denials) < model.deny, "enough people denied it"


async def _check_standing(session: ReadSession, standing: UUID, run: RunRow, people: Mapping[str, Someone]) -> None:
    row = (
        await session.execute(
            text(
                "SELECT s.*, countersign_now() AS now, (SELECT count(*) FROM standing_uses u WHERE u.standing_id = s.id) AS used"
                " FROM standings s WHERE s.id = :id"
            ),
            {"id": standing},
        )
    ).one()
    made = await find_run(session, row.run_id)
    assert made is not None
    assert row.command == run.command
    assert row.used <= row.uses, "used more often than was agreed to"
    assert row.until > row.now
    approvals = _approvals(await find_trail(session, row.run_id), made.digest or "")
    never = _never(run) | _never(made)
    fits = agreed(MODELS[run.command], approvals, people, await _stand_ins(session), never=never, ordered=False)
    assert fits, f"standing {run.command}: {approvals}"


def _never(run: RunRow) -> set[str]:
    return {name for name in (run.asker, run.edited_by, run.handed_to) if name}


async def _stand_ins(session: ReadSession) -> list[StandIn]:
    rows = await session.execute(
        text("SELECT person, delegate, starts_at, least(until, coalesce(ended_at, until)) AS ends FROM delegations")
    )
    return [StandIn(row.person, row.delegate, row.starts_at, row.ends) for row in rows]


def _approvals(trail: Sequence[AuditRow], digest: str) -> list[Said]:
    """Who approved this digest, which they were shown, and has not taken it back."""
    said: dict[str, Said] = {}
    for one in trail:
        if one.kind == "decision:approve" and one.detail["digest"] == digest == one.detail["shown"]:
            said[one.actor] = Said(one.actor, one.detail.get("on_behalf", ""), int(one.detail.get("stage", 0)), one.at)
        elif one.kind == "takeback:made":
            said.pop(one.actor, None)
    return list(said.values())
