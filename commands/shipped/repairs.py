"""undo and resume: a run that has ended is taken back, or gone on with, by a run of its own under the approvals of the first."""

from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from commands.authorizing import Refused, Request, authorize, required_approval
from commands.policies import USE
from commands.repairs import REST, Past, was_begun
from commands.voting import may_see
from countersign import Context, Plan, PlanningContext, PlanRefused, StepFailed, command, step
from countersign.approvals import Approval
from countersign.commands import Command
from countersign.invocations import Door, Place
from countersign.permissions import Risk
from countersign.replies import Field
from countersign.runs import RunStatus
from store.databases import ReadSession
from store.journals import find_steps
from store.people import Person, find_person
from store.provings import prove_undo
from store.repairs import claim_repair, find_repairs
from store.runs import RunRow, find_by_reference
from store.secrets import find_secrets

_UNDOABLE: Final = (RunStatus.succeeded, RunStatus.failed, RunStatus.cancelled)
_RESUMABLE: Final = (RunStatus.failed, RunStatus.cancelled)


@step(reads=True)
async def claim_run(ctx: Context, run: str, kind: str) -> None:
    """Makes sure that only one run ever undoes this one, or goes on with it; outside of the record it changes nothing."""
    async with ctx.services.transaction() as session:
        first = await claim_repair(session, UUID(run), kind=kind, by_run=UUID(ctx.key.partition(":")[0]))
    if first is not None:
        raise StepFailed(f"#{first} was first")


@step(reads=True)
async def note_proofs(ctx: Context, command: str, undos: list[list[str]]) -> None:
    """Writes down that these undos of a command have worked now, for who approves it next; outside of the record it changes nothing."""
    async with ctx.services.transaction() as session:
        for name, undo in undos:
            await prove_undo(session, command=command, step=name, undo=undo, run_id=UUID(ctx.key.partition(":")[0]))


@command("undo", permission=USE, risk="low", quiet=True)
async def undo(ctx: PlanningContext, number: str) -> Plan:
    """Take back a run that has ended: its undos in reverse, as a run of its own, approved as the first was."""
    async with ctx.services.transaction() as session:
        run, wanted = await _repaired(ctx, session, number, _UNDOABLE, "undo")
        past = await _past(ctx, session, run)
    parts = past.undos()
    if not parts:
        raise PlanRefused(f"Nothing that #{run.number} did can be undone.")
    stays = past.stays()
    return Plan(
        f"undoes #{run.number} {run.command}: {(run.plan or {}).get('summary', '')}",
        claim_run(str(run.id), "undo"),
        *parts,
        note_proofs(run.command, past.proofs()),
        watched={"undoes": run.digest},
        fields=(Field(label="Undoes", value=f"#{run.number} of {run.asker}"),),
        warning=f"It stays: {', '.join(stays)}." if stays else "",
        approval=wanted,
    )


@command("resume", permission=USE, risk="low", quiet=True)
async def resume(ctx: PlanningContext, number: str, step: int = 0) -> Plan:
    """Go on with a run that failed or was stopped, from its first step that was not done, or from STEP (the first is 1).

    The results of the steps before are kept. It is a run of its own, approved as the first was; the approvals of the first hold,
    if the same person goes on with all that is left before they expire.
    """
    async with ctx.services.transaction() as session:
        run, wanted = await _repaired(ctx, session, number, _RESUMABLE, "resume")
        past = await _past(ctx, session, run)
        if (await find_repairs(session, run.id)).get("undo"):
            raise PlanRefused(f"#{run.number} was undone, so there is nothing to go on from; ask for it anew.")
    start = step - 1 if step else past.first_left()
    if not 0 <= start <= past.first_left():
        raise PlanRefused(f"step: should be from 1 to {past.first_left() + 1}, the first that was not done.")
    parts = past.rest(start)
    if not parts:
        raise PlanRefused(f"All steps of #{run.number} were done.")
    kept = sorted(one for one in past.results if one < start)
    return Plan(
        f"goes on with #{run.number} {run.command} from step {start + 1}: {(run.plan or {}).get('summary', '')}",
        claim_run(str(run.id), "resume"),
        *parts,
        watched={"resumes": run.digest, "from": start, REST: start == past.first_left()},
        fields=(Field(label="Goes on with", value=f"#{run.number} of {run.asker}, {len(kept)} steps kept"),),
        warning=f"What #{run.number} has done is not undone with this; that takes: undo {run.number}" if kept else "",
        approval=wanted,
    )


async def _repaired(
    ctx: PlanningContext, session: ReadSession, number: str, statuses: tuple[RunStatus, ...], kind: str
) -> tuple[RunRow, Approval | None]:
    """The run meant and the approval its command asks for now; raises PlanRefused where this person may not, or there is no need."""
    rulebook = ctx.services.rulebook
    person = await find_person(session, ctx.asker.name)
    run = await find_by_reference(session, number)
    if person is None or run is None or not may_see(rulebook, person, run, None):
        raise PlanRefused("There is no such run.")
    if run.visibility == "private":
        raise PlanRefused(f"#{run.number} is private and a run of {kind} is not; ask for the command itself.")
    if run.status not in statuses or run.dry_run:
        state = "a dry run" if run.dry_run else run.status.replace("_", " ")
        raise PlanRefused(f"#{run.number} is {state}; {kind} is for runs that are {', '.join(statuses)}.")
    if first := (await find_repairs(session, run.id)).get(kind):
        raise PlanRefused(f"#{first[1]} does that, and is {first[2].replace('_', ' ')}; where it has failed: resume {first[1]}")
    found = rulebook.registry.find(run.command)
    if found is None:
        raise PlanRefused(f"There is no command {run.command} any more.")
    if not await was_begun(session, run):
        raise PlanRefused(f"No worker began #{run.number} as it is written down now, so there is nothing to {kind}.")
    return run, _approval(rulebook, person, run, found)


def _approval(rulebook: Any, person: Person, run: RunRow, found: Command) -> Approval | None:
    """What the first run's command would need if this person asked for it now; raises PlanRefused if they may not."""
    request = Request(found.permission, Door(run.door), Place(**run.place), found, run.arguments, run.reason, rulebook.now())
    answer = authorize(rulebook.policy, person, request)
    if isinstance(answer, Refused):
        raise PlanRefused(answer.sentence)
    rule, _ = required_approval(rulebook.policy, person, request, alone=rulebook.alone)
    return replace(rule, step_up="passkey") if rule is not None and found.risk is Risk.critical else rule


async def _past(ctx: PlanningContext, session: ReadSession, run: RunRow) -> Past:
    secrets = await find_secrets(session, run.id, ctx.services.opener)
    rows = await find_steps(session, run.id, revision=run.revision)
    return Past(run.plan or {"steps": []}, rows, ctx.services.registry.steps, secrets)
