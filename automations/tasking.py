"""tasking: a step that people do is opened as a task; its run waits, holding no worker, until somebody answers."""

from collections.abc import Mapping
from typing import Any

from commands.taskcards import names_of
from commands.tasks import asked_among, tell_assignees
from countersign.arguments import Duration
from countersign.errors import StepFailed
from countersign.plans import resolved
from countersign.tasks import Asked
from store.audits import AuditEvent, record
from store.conversations import NewLine, say
from store.databases import WriteSession
from store.journals import LostClaim, StepKey
from store.people import find_all_people
from store.runs import lock_run
from store.tasks import NewTask, TaskRow, find_step_task, open_task
from store.waits import Waiting, WaitKind

from .calling import Ended, Outcome, Work


async def take_task(work: Work, key: StepKey, step: Mapping[str, Any], results: Mapping[int, Any]) -> Outcome:
    """The answer if there is one, else what the run has to wait for; opens the task when nobody has been asked yet."""
    try:
        asked = resolved(step["arguments"], results)
        Asked.of_json(asked)
        async with work.services.transaction() as session:
            task = await _task(work, session, key, asked)
    except (StepFailed, KeyError, IndexError, TypeError) as error:
        said = str(error) if isinstance(error, StepFailed) else "the earlier result has no such part"
        return Outcome(Ended.failed, error=said)
    return _outcome(task)


async def _task(work: Work, session: WriteSession, key: StepKey, asked: dict[str, Any]) -> TaskRow:
    task = await find_step_task(session, key.run_id, revision=key.revision, position=key.position)
    if task is not None:
        return task
    run = await lock_run(session, key.run_id)
    if run is None or run.attempt != key.attempt or run.worker is None:
        raise LostClaim
    rulebook = await work.services.current_rulebook(session)
    if not asked_among(rulebook, await find_all_people(session), asked["who"], asked):
        raise StepFailed(f"there is nobody who could do this: {names_of(asked['who'])}")
    await open_task(session, _new_task(key, work.services.redactor.clean_data(work.redactor.clean_data(asked))))
    task = await find_step_task(session, key.run_id, revision=key.revision, position=key.position)
    assert task is not None  # noqa: S101  opened here, under the run's lock
    told = await tell_assignees(session, rulebook, task, run)
    await say(session, NewLine(run.id, "task", run.asker, f"asks {names_of(task.assignees)}: {asked['title']}"))
    detail = {"task": str(task.id), "position": key.position, "title": asked["title"], "assignees": list(task.assignees), "told": told}
    await record(session, [AuditEvent("task:opened", "countersign", run.id, detail)])
    return task


def _new_task(key: StepKey, asked: dict[str, Any]) -> NewTask:
    return NewTask(
        key.run_id,
        key.revision,
        key.position,
        asked,
        assignees=asked["who"],
        escalate_to=asked["escalate_to"],
        due=_seconds(asked, "due"),
        remind=_seconds(asked, "remind"),
        give_up=_seconds(asked, "give_up"),
    )


def _seconds(asked: Mapping[str, Any], name: str) -> float | None:
    return Duration.parse(asked[name]).total_seconds() if asked.get(name) else None


def _outcome(task: TaskRow) -> Outcome:
    asked = Asked.of_json(task.asked)
    if task.state == "open":
        due = f", due {task.due_at:%Y-%m-%d %H:%M} UTC" if task.due_at else ""
        detail = f"{names_of(task.assignees)} to answer “{asked.title}”{due}"
        return Outcome(Ended.parked, waits=(Waiting(WaitKind.task, detail, subject=str(task.id), since=task.opened_at),))
    if task.state != "answered" or task.answer is None:
        return Outcome(Ended.failed, error=f"nobody answered: {names_of(task.assignees)}")
    return Outcome(Ended.done, result=task.answer)
