"""The steps that give, extend and end granted roles. Each can be repeated, and each looks itself whether others have approved."""

from datetime import datetime
from uuid import NAMESPACE_URL, UUID, uuid5

from commands.ending import ended_reply, tell_holders
from commands.lastadmins import keeping_an_admin
from commands.voting import read_ballot
from countersign import Context, Duration, StepFailed, step
from store.approvals import find_request
from store.audits import AuditEvent, record
from store.databases import WriteSession
from store.grants import Grant, How, end, extend, find_grant, find_grants, give, is_extended, shorten
from store.runs import find_run


@step(idempotent=True, timeout="30s")
async def give_role(ctx: Context, person: str, role: str, duration: str) -> None:
    """Gives it from now on; an empty duration means until it is revoked."""
    grant, length = uuid5(NAMESPACE_URL, ctx.key), Duration.parse(duration) if duration else None
    async with ctx.services.transaction() as session:
        if await find_grant(session, grant):
            return  # given by an attempt whose worker died before it could say so
        approvers = await _approvers(session, ctx, beneficiary=person)
        await give(session, grant=grant, subject=person, role=role, length=length, run=run_of(ctx), approved_by=approvers)
        await _note(session, ctx, "grant:given", grant, {"for": duration, "approved_by": approvers})


@step(idempotent=True, timeout="30s")
async def take_back(ctx: Context, person: str, role: str) -> None:
    """Ends what this run gave."""
    await _end(ctx, [one.id for one in await _live(ctx, person, role) if one.run_id == run_of(ctx)], How.undone)


@step(idempotent=True, timeout="30s")
async def extend_grant(ctx: Context, grant: str, was: str, duration: str) -> None:
    """Moves exactly the end that people have seen."""
    extension, length, before = uuid5(NAMESPACE_URL, ctx.key), Duration.parse(duration), datetime.fromisoformat(was)
    async with ctx.services.transaction() as session:
        if await is_extended(session, extension):
            return
        approvers = await _approvers(session, ctx, beneficiary=ctx.asker.name)
        moved = await extend(
            session, extension=extension, grant=UUID(grant), was=before, length=length, run=run_of(ctx), approved_by=approvers
        )
        if not moved:
            raise StepFailed("It has ended meanwhile, or was extended by another request; nothing was extended")
        await _note(session, ctx, "grant:extended", UUID(grant), {"for": duration, "approved_by": approvers})


@step(idempotent=True, timeout="30s")
async def shorten_grant(ctx: Context) -> None:
    """Takes back by how much this run extended."""
    async with ctx.services.transaction() as session:
        for one in await shorten(session, run_of(ctx)):
            await _note(session, ctx, "grant:shortened", one, {})


@step(idempotent=True, timeout="30s")
async def end_grant(ctx: Context, grant: str) -> None:
    """Ends it at once; the holder is told when somebody else did."""
    await _end(ctx, [UUID(grant)], How.returned)


@step(idempotent=True, timeout="30s")
async def end_role(ctx: Context, person: str, role: str) -> None:
    """Ends every live grant of the role to the person. To give it again takes an approval, so there is no undo."""
    await _end(ctx, [one.id for one in await _live(ctx, person, role)], How.revoked)


def run_of(ctx: Context) -> UUID:
    """The run a step belongs to."""
    return UUID(ctx.key.partition(":")[0])


async def _approvers(session: WriteSession, ctx: Context, *, beneficiary: str) -> list[str]:
    """Who has approved this run, counted now. Raises StepFailed when nobody but the one who gains by it stands behind it."""
    run, request = await find_run(session, run_of(ctx)), await find_request(session, run_of(ctx))
    ballot = await read_ballot(session, ctx.services.rulebook, request, run) if run and request else None
    approvers = list(ballot.tally().approvers) if ballot else []
    if not {*approvers, ctx.asker.name} - {beneficiary}:
        raise StepFailed("Nobody else approved this, and nobody grants to themselves; nothing was given")
    return approvers


async def _live(ctx: Context, person: str, role: str) -> list[Grant]:
    async with ctx.services.reading() as session:
        found: list[Grant] = await find_grants(session, subject=person, role=role)
    return found


async def _end(ctx: Context, ids: list[UUID], how: How) -> None:
    by = ctx.asker.name
    async with ctx.services.transaction() as session:
        async with keeping_an_admin(session, ctx.services.rulebook.policy):
            ended = await end(session, ids, by=by, how=how)
        for one in ended:
            await _note(session, ctx, "grant:ended", one, {"how": how.value})
        grants = [found for one in ended if (found := await find_grant(session, one))]
        others = [(one, ended_reply(one, by=by)) for one in grants if one.subject != by]
        await tell_holders(session, others, chat="slack" if ctx.services.settings.has_slack else "room")


async def _note(session: WriteSession, ctx: Context, kind: str, grant: UUID, detail: dict[str, object]) -> None:
    found: Grant | None = await find_grant(session, grant)
    if found:
        detail = {"grant": found.name, "subject": found.subject, "role": found.role, **detail}
    await record(session, [AuditEvent(kind, ctx.asker.name, run_of(ctx), detail)])
