"""A run as JSON, for whoever may see it: what was asked, the plan, the decisions, the steps and the card."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

from bot.hubs import Hub
from commands.rulebooks import Rulebook
from commands.stories import card_of, read_facts
from commands.voting import readable_by
from countersign.invocations import Door
from countersign.permissions import Risk
from countersign.schemas import SECRET_KEY
from store.audits import AuditEvent
from store.conversations import Line, find_lines
from store.databases import ReadSession
from store.people import Person
from store.runs import RunRow, find_by_reference

from .problems import Problem

DOTS: Final = "••••••"
NO_SUCH_RUN: Final = "There is no such run."
HIDDEN: Final = "not_found_or_foreign"
T = TypeVar("T")


async def read_visible(
    hub: Hub, person: Person, reference: str, work: Callable[[ReadSession, RunRow], Awaitable[T]], *, door: Door, trace: str
) -> T:
    """What `work` reads about the run meant; a try on one that may not be seen is recorded, and raises Problem 404."""
    rulebook = await hub.rulebook()

    async def find(session: ReadSession) -> T:
        return await work(session, await find_visible(session, rulebook, person, reference))

    try:
        return await hub.read(find)
    except Problem as problem:
        if problem.reason == HIDDEN:
            await hub.record([hidden(person, reference, door=door, trace=trace)])
        raise


def hidden(person: Person, reference: str, *, door: Door, trace: str) -> AuditEvent:
    """That somebody tried to reach a run which is not there for them."""
    return AuditEvent(
        "request:refused", person.name, None, {"reason": HIDDEN, "door": door.value, "trace": trace, "target": reference[:40]}
    )


async def find_visible(session: ReadSession, rulebook: Rulebook, person: Person, reference: str) -> RunRow:
    """The run meant by an id or a number; raises the same Problem 404 for unknown and hidden ones."""
    run = await find_by_reference(session, reference)
    if run is None or not await readable_by(session, rulebook, person, [run]):
        raise Problem(404, HIDDEN, NO_SUCH_RUN)
    return run


def summary_of(run: RunRow) -> dict[str, Any]:
    """What a list of runs says about each."""
    return {
        "id": str(run.id),
        "number": run.number,
        "command": run.command,
        "arguments": without_secrets(run.arguments),
        "status": run.status,
        "risk": Risk(run.risk).name,
        "asker": run.asker,
        "source": run.source,
        "door": run.door,
        "place": run.place,
        "reason": run.reason,
        "dry_run": run.dry_run,
        "summary": (run.plan or {}).get("summary", ""),
        "outcome": run.outcome,
        "start_at": run.start_at.isoformat() if run.start_at else None,
        "due_at": run.due_at.isoformat() if run.due_at else None,
        "created_at": run.created_at.isoformat(),
        "moved_at": run.moved_at.isoformat(),
    }


async def tell(session: ReadSession, rulebook: Rulebook, run: RunRow) -> dict[str, Any]:
    """Everything about one run."""
    facts = await read_facts(session, run, lines=20, rulebook=rulebook, files=True)
    request = facts.request
    decisions = [
        {"person": one.person, "verdict": one.verdict, "reason": one.reason, "door": one.door, "at": one.decided_at.isoformat()}
        | {"stage": one.stage, "on_behalf": one.on_behalf, "signed": one.proof is not None}
        for one in facts.decisions
    ]
    steps = [
        {"position": one.position, "phase": one.phase, "name": one.name, "state": one.state, "error": one.error, "progress": one.progress}
        for one in facts.steps
    ]
    approval = request and {
        "id": str(request.id),
        "step_up": facts.step_up,
        "state": request.state,
        "rule": request.rule,
        "digest": request.digest,
        "expires_at": request.expires_at.isoformat(),
        "decisions": decisions,
    }
    return summary_of(run) | {
        "origins": run.origins,
        "edited_by": run.edited_by,
        "handed_to": run.handed_to,
        "plan": without_secrets(run.plan),
        "digest": run.digest,
        "revision": run.revision,
        "code_version": run.code_version,
        "policy": run.policy,
        "trace": run.trace,
        "result": without_secrets(run.result),
        "approval": approval,
        "steps": steps,
        "conversation": [line_of(one) for one in await find_lines(session, run.id)],
        "card": card_of(facts).model_dump(mode="json"),
    }


def line_of(line: Line) -> dict[str, Any]:
    """One line of what was said about a run; `said` goes on after the person's name."""
    about = str(line.about) if line.about else None
    return {"id": str(line.id), "kind": line.kind, "person": line.person, "said": line.said, "at": line.at.isoformat(), "about": about}


def without_secrets(data: Any) -> Any:
    """JSON data with the mark of every secret as dots: a mark says whether two secrets are equal, which nobody has to know."""
    if isinstance(data, Mapping):
        return DOTS if SECRET_KEY in data else {name: without_secrets(one) for name, one in data.items()}
    if isinstance(data, list):
        return [without_secrets(one) for one in data]
    return data
