"""tasks: what a step asks people to do; whoever is asked, at that moment, answers or passes it on, and their answer goes to the step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from countersign.errors import BadArgument
from countersign.invocations import Door
from countersign.replies import Form, Input
from countersign.tasks import Asked
from store.audits import AuditEvent, record
from store.conversations import NewLine, say
from store.databases import ReadSession, WriteSession
from store.people import Person, find_all_people, find_person
from store.runs import RunRow, find_run, find_runs, lock_run
from store.tasks import TaskRow, answer_task, assign_task, find_open_tasks, find_task, lock_task
from store.waits import wake

from .authorizing import INACTIVE, Refused, is_admin
from .decide import refresh_cards
from .lines import tell_directly
from .rulebooks import Rulebook
from .taskcards import ANSWER, ASSIGN, direct_answer, names_of, reply_of_task
from .voting import readable_by

MOST_TOLD: Final = 5
_UNKNOWN: Final = Refused("There is no such run.", "not_found_or_foreign")
_UNDER_WAY: Final = ("running", "waiting")


@dataclass(frozen=True)
class Done:
    """What became of it."""

    sentence: str


@dataclass(frozen=True)
class Misfit:
    """The answer to `about` does not fit; the form comes again."""

    sentence: str
    about: str
    form: Form


@dataclass(frozen=True)
class Task:
    """A task with its run, as one person finds it: whether it is asked of them, and whether they may know of it at all."""

    row: TaskRow
    run: RunRow
    person: Person
    theirs: bool
    seen: bool
    admin: bool

    @property
    def asked(self) -> Asked:
        return Asked.of_json(self.row.asked)

    @property
    def open(self) -> bool:
        return self.row.state == "open" and self.run.status in _UNDER_WAY and self.row.revision == self.run.revision

    def refused(self) -> Refused | None:
        """Why this person may not answer it now."""
        if not self.person.active:
            return INACTIVE
        if not (self.theirs or self.seen):
            return _UNKNOWN
        if self.person.name in self.asked.apart_from:
            return Refused("This is about yourself, so somebody else has to answer it.", "self_approval")
        if not self.theirs:
            return Refused(f"This is asked of {names_of(self.row.assignees)}; you may not answer it.", "not_asked")
        if not self.open:
            return self.late()
        return None

    def late(self) -> Refused:
        """That it is not asked any more."""
        if self.row.state == "answered":
            return Refused(f"{self.row.answered_by} has answered this already.", "late_click")
        return Refused(f"This is not asked any more: run #{self.run.number} is {self.run.status.replace('_', ' ')}.", "late_click")


async def read_task(session: ReadSession, rulebook: Rulebook, person: Person, row: TaskRow, run: RunRow) -> Task:
    """The task as this person, who is as the database knows them now, finds it."""
    seen = bool(await readable_by(session, rulebook, person, [run]))
    return _task(rulebook, person, row, run, seen=seen)


def _task(rulebook: Rulebook, person: Person, row: TaskRow, run: RunRow, *, seen: bool) -> Task:
    theirs = is_asked(rulebook, person, row.assignees, row.asked)
    return Task(row, run, person, theirs, seen, is_admin(rulebook.policy, person))


def is_asked(rulebook: Rulebook, person: Person, assignees: Sequence[str], asked: Mapping[str, Any]) -> bool:
    """Whether a task is for this person, by name or by a group they are in at this moment, and is not about themselves."""
    named = {person.name, *(f"@{one}" for one in rulebook.policy.groups_of(person))} & set(assignees)
    return person.active and bool(named) and person.name not in asked.get("apart_from", ())


def asked_among(rulebook: Rulebook, people: Sequence[Person], assignees: Sequence[str], asked: Mapping[str, Any]) -> list[Person]:
    """Those of these people whom it is for, who are named before who are in a group."""
    able = (one for one in people if is_asked(rulebook, one, assignees, asked))
    return sorted(able, key=lambda one: (one.name not in assignees, one.name))


async def tasks_for(session: ReadSession, rulebook: Rulebook, person: Person, *, limit: int = 20) -> list[Task]:
    """The open tasks that are asked of this person now, the most urgent first."""
    current = await find_person(session, person.name) or person
    if not current.active:
        return []
    names = [current.name, *(f"@{one}" for one in sorted(rulebook.policy.groups_of(current)))]
    rows = [one for one in await find_open_tasks(session, names, limit=limit) if is_asked(rulebook, current, names, one.asked)]
    runs = await find_runs(session, [one.run_id for one in rows]) if rows else {}
    seen = {one.id for one in await readable_by(session, rulebook, current, list(runs.values()))}
    return [_task(rulebook, current, one, runs[one.run_id], seen=one.run_id in seen) for one in rows if one.run_id in runs]


async def read_one(session: ReadSession, rulebook: Rulebook, person: Person, task_id: UUID) -> Task | None:
    """The task as this person finds it; None when there is none."""
    row = await find_task(session, task_id)
    run = await find_run(session, row.run_id) if row else None
    current = await find_person(session, person.name) or person
    return await read_task(session, rulebook, current, row, run) if row and run else None


async def answer(
    session: WriteSession, rulebook: Rulebook, person: Person, task_id: UUID, *, answers: Mapping[str, Any], door: Door
) -> Done | Misfit | Refused:
    """Takes the answer of somebody who is asked, and lets the run go on; one `task:*` audit event is recorded either way."""
    task = await _locked(session, rulebook, person, task_id)
    said = _UNKNOWN if task is None else task.refused() or await _answered(session, task, answers)
    await _record(session, person, task, "answered", said, door)
    return said


async def assign(
    session: WriteSession, rulebook: Rulebook, person: Person, task_id: UUID, *, to: Sequence[str], door: Door
) -> Done | Refused:
    """Asks others instead, by who is asked, who holds the run, or an admin; one `task:*` audit event is recorded either way."""
    task = await _locked(session, rulebook, person, task_id)
    said = _UNKNOWN if task is None else _unassignable(task) or await _assigned(session, rulebook, task, to)
    await _record(session, person, task, "assigned", said, door, to=list(to))
    return said


async def task_form(session: WriteSession, rulebook: Rulebook, person: Person, task_id: UUID, *, door: Door) -> Form | Refused:
    """The form that asks for the answer; a refusal is recorded."""
    task = await _locked(session, rulebook, person, task_id)
    if task is None or (refused := task.refused()):
        said = refused if task is not None else _UNKNOWN
        await _record(session, person, task, "answered", said or _UNKNOWN, door)
        return said or _UNKNOWN
    return form_of_task(task)


async def direct_answers(session: ReadSession, task_id: UUID, pressed: str) -> dict[str, str] | None:
    """The answers that the button which was pressed stands for; None when it opens the form."""
    row = await find_task(session, task_id) if pressed else None
    return direct_answer(Asked.of_json(row.asked), pressed) if row else None


async def assign_form(session: WriteSession, rulebook: Rulebook, person: Person, task_id: UUID, *, door: Door) -> Form | Refused:
    """Asks who is to be asked instead; a refusal is recorded."""
    task = await _locked(session, rulebook, person, task_id)
    if refused := _UNKNOWN if task is None else _unassignable(task):
        await _record(session, person, task, "assigned", refused, door)
        return refused
    who = Input(name="text", label="Person, or @group", hint="Several with commas between them: lin, @support")
    return Form(title="Ask somebody else", intent=ASSIGN, target=str(task_id), inputs=(who,), submit_label="Ask them")


def form_of_task(task: Task, *, problems: Mapping[str, str] | None = None, given: Mapping[str, Any] | None = None) -> Form:
    """Asks for the answer; what was given before stands in it."""
    inputs = [one.model_copy(update={"initial": str((given or {}).get(one.name, one.initial))}) for one in task.asked.questions]
    title = f"#{task.run.number} {task.asked.title}"[:24]
    hinted = (
        [inputs[0].model_copy(update={"hint": task.asked.text[:1_900]}), *inputs[1:]] if task.asked.text and not inputs[0].hint else inputs
    )
    target = str(task.row.id)
    return Form(title=title, intent=ANSWER, target=target, inputs=tuple(hinted), submit_label="Send", problems=dict(problems or {}))


async def tell_assignees(session: WriteSession, rulebook: Rulebook, row: TaskRow, run: RunRow, *, because: str = "") -> list[str]:
    """A direct message to at most five of those who are asked; returns whom it went to."""
    people = asked_among(rulebook, await find_all_people(session), row.assignees, row.asked)[:MOST_TOLD]
    reply = reply_of_task(row, run, because=because)
    await tell_directly(session, run, {one.name: reply for one in people if not one.service})
    return [one.name for one in people]


async def _locked(session: WriteSession, rulebook: Rulebook, person: Person, task_id: UUID) -> Task | None:
    """Locks the run first, as everybody does, then the task."""
    row = await find_task(session, task_id)
    run = await lock_run(session, row.run_id) if row else None
    row = await lock_task(session, task_id) if run else None
    current = await find_person(session, person.name) or person
    return await read_task(session, rulebook, current, row, run) if row and run else None


async def _answered(session: WriteSession, task: Task, answers: Mapping[str, Any]) -> Done | Misfit | Refused:
    try:
        result = task.asked.result(answers, by=task.person.name)
    except BadArgument as error:
        known = {one.name for one in task.asked.questions}
        problems = {error.argument: error.problem} if error.argument in known else {}
        return Misfit(str(error), error.argument, form_of_task(task, problems=problems, given=answers))
    if not await answer_task(session, task.row.id, by=task.person.name, answer=result):
        return Refused("This was answered already.", "late_click")
    await say(session, NewLine(task.run.id, "task", task.person.name, f"answers “{task.asked.title}”: {_summary(task.asked, result)}"))
    await wake(session, [task.run.id], by=task.person.name, because=f"{task.person.name} answered")
    await refresh_cards(session, task.run.id)
    return Done(f"Thank you. Run #{task.run.number} goes on with it.")


async def _assigned(session: WriteSession, rulebook: Rulebook, task: Task, to: Sequence[str]) -> Done | Refused:
    people = asked_among(rulebook, await find_all_people(session), to, task.row.asked)
    if not to or not people:
        return Refused(f"There is nobody who is {names_of(to) or 'meant'}; name a person, or a group as in @support.", "unknown_person")
    before = names_of(task.row.assignees)
    await assign_task(session, task.row.id, to=to, by=task.person.name)
    row = await find_task(session, task.row.id)
    assert row is not None  # noqa: S101  it is locked
    await say(session, NewLine(task.run.id, "task", task.person.name, f"asks {names_of(to)} instead: {task.asked.title}"))
    await tell_assignees(session, rulebook, row, task.run, because=f"{task.person.name} asks you instead of {before}")
    await wake(session, [task.run.id], because="asked of others")
    await refresh_cards(session, task.run.id)
    return Done(f"{names_of(to)} {'is' if len(to) == 1 else 'are'} asked now.")


def _unassignable(task: Task) -> Refused | None:
    """Whoever is asked may pass it on, and so may those who hold the run, and admins."""
    holds = task.person.active and task.seen and (task.admin or task.person.name in (task.run.asker, task.run.handed_to))
    return (None if task.open else task.late()) if holds else task.refused()


def _summary(asked: Asked, result: Mapping[str, Any]) -> str:
    """What stands beneath the card."""
    if asked.kind == "review":
        return f"{len(result['accepted'])} accepted, {len(result['rejected'])} rejected"
    if asked.kind == "form":
        return ", ".join(f"{name}: {' '.join(value.split())[:80]}" for name, value in result["answers"].items() if value)[:400] or "nothing"
    return " ".join(str(result.get("choice") or result.get("note") or "done").split())[:400]


async def _record(
    session: WriteSession, person: Person, task: Task | None, what: str, said: Done | Misfit | Refused, door: Door, **more: Any
) -> None:
    """The answer itself is the step's result; the record says who gave it."""
    refused = said.reason if isinstance(said, Refused) else "does_not_fit" if isinstance(said, Misfit) else ""
    about = {"task": str(task.row.id), "position": task.row.position, "title": task.asked.title} if task else {}
    detail = {"door": door.value, **about, **more} | ({"refused": refused} if refused else {})
    kind = "task:refused" if refused else f"task:{what}"
    await record(session, [AuditEvent(kind, person.name, task.run.id if task else None, detail)])
