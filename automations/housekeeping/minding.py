"""minding: what time does to tasks: reminders, the escalation of what is overdue, and the end of waiting for an answer."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text

from automations.services import Services
from commands.decide import refresh_cards
from commands.taskcards import names_of
from commands.tasks import tell_assignees
from store.audits import AuditEvent, record
from store.conversations import NewLine, say
from store.databases import WriteSession
from store.runs import RunRow, lock_run
from store.tasks import TaskRow, close_ended_tasks, find_due_tasks, lock_task
from store.waits import wake

BATCH = 50
_UNDER_WAY = ("running", "waiting")


async def mind_tasks(services: Services) -> int:
    """Does what is due to open tasks, each in its own transaction; returns how many there were."""
    async with services.reading() as session:
        due = await find_due_tasks(session, limit=BATCH)
    for task_id, run_id in due:
        async with services.transaction() as session:
            await _mind_one(services, session, task_id, run_id)
    return len(due)


async def _mind_one(services: Services, session: WriteSession, task_id: UUID, run_id: UUID) -> None:
    """The run is locked first, as everybody does, and what another housekeeper did meanwhile is not done again."""
    run, task = await lock_run(session, run_id), await lock_task(session, task_id)
    now: datetime = (await session.execute(text("SELECT countersign_now()"))).scalar_one()
    if run is None or task is None or task.state != "open" or not task.next_due or task.next_due > now:
        return
    if run.status not in _UNDER_WAY or run.revision != task.revision:
        task.state, task.next_due = "closed", None
    else:
        await _mind(services, session, task, run, now)
    await session.flush()


async def close_old_tasks(services: Services) -> None:
    """Closes what runs that have ended still asked."""
    async with services.transaction() as session:
        await close_ended_tasks(session)


async def _mind(services: Services, session: WriteSession, task: TaskRow, run: RunRow, now: datetime) -> None:
    if task.give_up_at and task.give_up_at <= now:
        task.state, task.next_due = "given_up", None
        await session.flush()
        await _record(session, task, "given_up")
        await wake(session, [run.id], because="nobody answered")
    else:
        await _tell_again(services, session, task, run, now)
    await refresh_cards(session, run.id)


async def _tell_again(services: Services, session: WriteSession, task: TaskRow, run: RunRow, now: datetime) -> None:
    """Escalates what is overdue, once; else it is a reminder."""
    rulebook = await services.current_rulebook(session)
    overdue = bool(task.due_at and task.due_at <= now)
    if overdue and task.escalated_at is None:
        task.escalated_at = now
        more = [one for one in task.escalate_to if one not in task.assignees]
        task.assignees = [*task.assignees, *more]
        if more:
            await say(session, NewLine(run.id, "task", run.asker, f"asks {names_of(more)} as well: {task.asked['title']} (overdue)"))
        await wake(session, [run.id], because="overdue")
    task.reminded_at = now
    task.next_due = next_due(task, now)
    await session.flush()
    told = await tell_assignees(session, rulebook, task, run, because="This is overdue" if overdue else "A reminder")
    await _record(session, task, "escalated" if overdue and task.escalated_at == now else "reminded", told=told)


def next_due(task: TaskRow, now: datetime) -> datetime | None:
    """The next instant at which time alone does something to it."""
    again = (task.reminded_at or task.opened_at) + timedelta(seconds=task.remind) if task.remind else None
    clocks = (again, task.due_at if task.escalated_at is None else None, task.give_up_at)
    return min((one for one in clocks if one and one > now), default=None)


async def _record(session: WriteSession, task: TaskRow, what: str, **more: object) -> None:
    detail = {"task": str(task.id), "title": task.asked["title"], "assignees": list(task.assignees), **more}
    await record(session, [AuditEvent(f"task:{what}", "countersign", task.run_id, detail)])
